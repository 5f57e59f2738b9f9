import asyncio

import pytest
from listener_bed import chat, serving, until

MANY = 1000


@pytest.mark.parametrize("stream", [False, True])
async def test_a_thousand_identical_requests_are_one_call(tmp_path, stream):
    async with serving(tmp_path, {"coalesce": True}, limits={"in_flight": 2 * MANY}) as bed:
        bed.listener.gate.clear()
        asked = [asyncio.create_task(bed.ask(chat(stream=stream))) for _ in range(MANY)]
        await until(lambda: bed.worker.app.in_flight == MANY, "all of them", 60)
        bed.listener.gate.set()
        found = [await task for task in asked]
        assert len({body for _, _, body in found}) == 1
        assert [status for status, _, _ in found] == [200] * MANY
        assert sum("x-moltbot-coalesced" in headers for _, headers, _ in found) == MANY - 1
        assert bed.calls() == 1


@pytest.fixture
async def bed(tmp_path):
    async with serving(tmp_path, {"coalesce": True}) as made:
        yield made


async def held(bed, count=3, **more):
    """Requests that share a call which does not end."""
    await bed.providers["one"].fault("stream_stall", after=2)
    tasks = []
    for number in range(count):
        tasks.append(asyncio.create_task(bed.ask(chat(stream=True), **more)))
        await until(lambda number=number: bed.worker.app.in_flight == number + 1, "a rider")
    return tasks


async def test_a_client_that_leaves_takes_nobodys_answer_away(bed):
    bed.listener.gate.clear()
    first, *others = [asyncio.create_task(bed.ask(chat())) for _ in range(3)]
    await until(lambda: bed.worker.app.in_flight == 3, "three riders")
    first.cancel()
    await until(lambda: bed.worker.app.in_flight == 2, "one left")
    bed.listener.gate.set()
    for task in others:
        assert (await task)[0] == 200
    assert bed.calls() == 1


async def test_the_call_ends_when_the_last_one_has_left(bed):
    tasks = await held(bed)
    for task in tasks:
        task.cancel()
    await until(lambda: bed.providers["one"].requests.in_flight == 0, "the end of the call")
    await bed.providers["one"].clear()
    assert (await bed.ask(chat(stream=True)))[0] == 200


async def test_other_consumers_and_other_requests_share_nothing(bed):
    bed.listener.gate.clear()
    asked = [bed.ask(chat()), bed.ask(chat(), consumer="other"), bed.ask(chat("else"))]
    tasks = [asyncio.create_task(each) for each in asked]
    await until(lambda: bed.worker.app.in_flight == 3, "three requests")
    bed.listener.gate.set()
    await asyncio.gather(*tasks)
    assert bed.calls() == 3


async def test_who_comes_late_gets_the_stream_from_its_beginning(bed):
    provider = bed.providers["one"]
    provider.event_gap = 0.1
    async with bed.post(chat(stream=True)) as first:
        begun = await first.content.readany()
        assert begun
        _, headers, late = await bed.ask(chat(stream=True))
        assert headers["x-moltbot-coalesced"] == "true"
        assert late == begun + await first.read()
    assert bed.calls() == 1


async def test_all_riders_are_told_of_a_cut(bed):
    await bed.providers["one"].fault("stream_cut", after=2)
    found = await asyncio.gather(*(bed.ask(chat(stream=True)) for _ in range(3)), return_exceptions=True)
    assert all(isinstance(each, Exception) for each in found)
    await bed.providers["one"].clear()
    assert (await bed.ask(chat(stream=True)))[0] == 200


async def test_with_the_cache_one_call_serves_all_and_is_kept(tmp_path):
    async with serving(tmp_path, {"coalesce": True, "cache": {}}) as bed:
        found = await asyncio.gather(*(bed.ask(chat()) for _ in range(20)))
        assert {headers["x-moltbot-cache"] for _, headers, _ in found} <= {"miss", "hit"}
        assert (await bed.ask(chat()))[1]["x-moltbot-cache"] == "hit"
        assert bed.calls() == 1
