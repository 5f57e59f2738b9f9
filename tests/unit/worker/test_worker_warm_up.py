import contextlib
import json

import pytest
from listener_bed import chat, config, serving, until
from redis_bed import RedisBed

from moltbot_worker.config import WarmUp
from moltbot_worker.process import running
from moltbot_worker.warming import templates

COUNT = 60


def written(folder, lines, name="templates.jsonl"):
    path = folder / "warm"
    path.mkdir(exist_ok=True)
    (path / name).write_text("\n".join(each if isinstance(each, str) else json.dumps(each) for each in lines))
    return {"files": [str(path)]}


def warm(settings, **more):
    return {"cache": {"warm_up": {**settings, **more}}}


async def ready(bed):
    await until(lambda: bed.worker.why_not_ready() is None, "a ready worker", 60)


async def test_the_first_request_of_every_consumer_is_a_hit(tmp_path):
    vectors = {"path": "/v1/embeddings", "body": {"model": "m", "input": "a"}}
    claude = {"path": "/v1/messages", "headers": {"Anthropic-Version": "2023-06-01"}, "body": chat("three")}
    lines = [chat("one"), chat("two", stream=True), vectors, claude]
    async with serving(tmp_path, warm(written(tmp_path, lines))) as bed:
        await ready(bed)
        assert bed.calls() == 4
        for consumer in ("web", "other"):
            for document in lines[:2]:
                _, headers, body = await bed.ask(document, consumer=consumer)
                assert headers["x-moltbot-cache"] == "hit"
                assert b"one-model" in body
            _, headers, _ = await bed.ask(lines[2]["body"], path="/v1/embeddings", consumer=consumer)
            assert headers["x-moltbot-cache"] == "hit"
            version = {"anthropic-version": "2023-06-01"}
            _, headers, _ = await bed.ask(chat("three"), path="/v1/messages", consumer=consumer, **version)
            assert headers["x-moltbot-cache"] == "hit"
        assert bed.calls() == 4
        assert await bed.metric('moltbot_worker_warm_up_total{outcome="warm"}') == 4
        assert {told["x-mb-consumer"] for told, _ in bed.listener.seen} == {"moltbot-warm-up"}


async def test_a_worker_is_not_ready_before_it_is_warm(tmp_path):
    settings = warm(written(tmp_path, [chat("one")]))
    async with serving(tmp_path, settings, provider={"delay": 1.0}) as bed:
        assert bed.worker.why_not_ready() == "warming up"
        url = f"http://127.0.0.1:{bed.worker.metrics_port}/readyz"
        async with bed.session.get(url) as response:
            assert response.status == 503
        await ready(bed)


async def test_warm_up_keeps_to_its_concurrency(tmp_path):
    settings = warm(written(tmp_path, [chat(f"t{n}") for n in range(COUNT)]), concurrency=4)
    async with serving(tmp_path, settings, provider={"delay": 0.02}) as bed:
        await ready(bed)
        assert bed.calls() == COUNT
        assert bed.providers["one"].requests.max_in_flight <= 4


async def test_warm_up_keeps_to_its_number_of_requests(tmp_path):
    settings = warm(written(tmp_path, [chat(f"t{n}") for n in range(10)]), max_requests=3)
    async with serving(tmp_path, settings) as bed:
        await ready(bed)
        assert bed.calls() == 3
        assert await bed.metric('moltbot_worker_warm_up_total{outcome="left_out"}') == 7


async def test_warm_up_ends_at_its_time(tmp_path):
    settings = warm(written(tmp_path, [chat("one")]), timeout=0.5)
    async with serving(tmp_path, settings, provider={"delay": 30}) as bed:
        await ready(bed)
        await until(lambda: not bed.providers["one"].requests.in_flight, "the end of the call")


async def test_what_fails_makes_it_less_warm_and_not_unready(tmp_path):
    lines = ["{broken", "[]", "", chat("good"), {"model": "m", "messages": [], "temperature": 1}]
    async with serving(tmp_path, warm(written(tmp_path, lines))) as bed:
        await ready(bed)
        assert (await bed.ask(chat("good")))[1]["x-moltbot-cache"] == "hit"
        assert await bed.metric('moltbot_worker_warm_up_total{outcome="left_out"}') == 1
    settings = config(tmp_path, "http://127.0.0.1:1", warm(written(tmp_path, lines)))
    async with running(settings) as worker:
        await until(lambda: worker.why_not_ready() is None, "a ready worker")
        assert worker.why_unhealthy() is None


async def test_a_missing_file_makes_no_worker_unready(tmp_path):
    async with serving(tmp_path, warm({"files": [str(tmp_path / "absent")]})) as bed:
        await ready(bed)
        assert bed.calls() == 0


async def test_of_all_pods_of_a_revision_one_warms_the_shared_store(tmp_path):
    redis = RedisBed(tmp_path).start()
    store = {"type": "Redis", "url": redis.url, "password": str(redis.password_file)}
    settings = warm(written(tmp_path, [chat(f"t{n}") for n in range(5)]))
    try:
        async with serving(tmp_path, dict(settings), store=store, provider={"delay": 0.1}) as bed:
            given = bed.worker.config
            async with contextlib.AsyncExitStack() as stack:
                others = [await stack.enter_async_context(running(given)) for _ in range(3)]
                await ready(bed)
                await until(lambda: all(not each.why_not_ready() for each in others), "all pods ready")
                assert bed.calls() == 5
            later = given.model_copy(update={"revision": "r2"})
            async with running(later) as worker:
                await until(lambda: not worker.why_not_ready(), "the next revision")
                assert bed.calls() == 5  # what is still fresh is not asked for again
    finally:
        redis.kill()


async def test_without_its_store_a_worker_is_ready_and_cold(tmp_path):
    store = {"type": "Redis", "url": "redis://127.0.0.1:1/0"}
    async with serving(tmp_path, warm(written(tmp_path, [chat("one")])), store=store) as bed:
        await ready(bed)
        assert (await bed.ask(chat("one")))[0] == 200


@pytest.mark.parametrize("line", ['{"path": "/x", "body": {}}', '{"path": 1, "body": {}}', "7", "{"])
def test_a_line_that_is_no_request_is_left_out(tmp_path, line):
    settings = WarmUp(**written(tmp_path, [line, chat("one")]))
    rule = config(tmp_path, "http://g", {}).rules[0]
    assert len(list(templates(settings, rule))) == 1


def test_hidden_files_of_a_mounted_config_map_do_not_count(tmp_path):
    settings = WarmUp(**written(tmp_path, [chat("one")]))
    written(tmp_path, [chat("two")], name="..data")
    rule = config(tmp_path, "http://g", {}).rules[0]
    assert len(list(templates(settings, rule))) == 1


async def test_a_thousand_templates_stay_within_their_bounds(tmp_path):
    settings = warm(written(tmp_path, [chat(f"t{n}") for n in range(1100)]), concurrency=16)
    async with serving(tmp_path, settings) as bed:
        await until(lambda: bed.worker.why_not_ready() is None, "a ready worker", 70)  # its limit is 60 s
        assert bed.calls() == 1000
        assert bed.providers["one"].requests.max_in_flight <= 16
        assert await bed.metric('moltbot_worker_warm_up_total{outcome="warm"}') == 1000
        assert await bed.metric('moltbot_worker_warm_up_total{outcome="left_out"}') == 100
        for number in (0, 500, 999):
            assert (await bed.ask(chat(f"t{number}"), consumer="other"))[1]["x-moltbot-cache"] == "hit"
        assert (await bed.ask(chat("t1000")))[1]["x-moltbot-cache"] == "miss"
