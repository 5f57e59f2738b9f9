"""When the same backend is asked again within a request, and when it must not be."""

import asyncio
import contextlib
import itertools

import httpx
import pytest
from aiohttp import web
from gateway_bed import BODY, CHAT, answering, backend, route, rule, serving, until
from moltbot_provider import Provider
from moltbot_provider.faults import Fault

WAITING = {"perTryTimeout": "20s", "backoff": {"base": "1ms", "max": "2s"}}


def objects(*providers, failover, **spec):
    first, *others = providers
    return [
        route(rule("all", [first.name], [other.name for other in others], failover=failover)),
        *[each for provider in providers for each in backend(provider.name, provider.url, **spec)],
    ]


def pauses(provider):
    times = [record.at for record in provider.requests]
    return [later - earlier for earlier, later in itertools.pairwise(times)]


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("asked", ["1", "2"])
async def test_the_only_backend_is_waited_for_as_long_as_it_asks(tmp_path, status, asked):
    async with Provider(name="a") as a, serving(*objects(a, failover=WAITING), folder=tmp_path) as bed:
        await a.fault("status", status=status, retry_after=asked, count=1)
        answer = await bed.chat()
    assert (answer.status_code, answer.headers["x-moltbot-attempts"]) == (200, "2")
    assert int(asked) <= pauses(a)[0] < 2 * int(asked) + 2


@pytest.mark.parametrize("asked", ["3", "7", "3600", "Wed, 21 Oct 2099 07:28:00 GMT"])
async def test_a_longer_wait_is_the_clients_to_take(tmp_path, asked):
    async with Provider(name="a") as a, serving(*objects(a, failover=WAITING), folder=tmp_path) as bed:
        await a.fault("status", status=429, retry_after=asked)
        answer = await bed.chat()
    assert (answer.status_code, answer.headers["retry-after"]) == (429, asked)
    assert len(a.requests) == 1


async def test_a_wait_is_never_cut_down_to_the_backoff(tmp_path):
    """Envoy by itself would go on with its backoff where the wait is longer than its limit."""
    quick = {**WAITING, "backoff": {"base": "1ms", "max": "5ms"}}
    async with Provider(name="a") as a, serving(*objects(a, failover=quick), folder=tmp_path) as bed:
        await a.fault("status", status=503, retry_after="1")
        answer = await bed.chat()
        assert (answer.status_code, len(a.requests)) == (503, 1)
        await a.fault("status", status=503)
        answer = await bed.chat()
    assert (answer.status_code, len(a.requests)) == (503, 1 + 4)


@pytest.mark.parametrize("asked", ["1", "3600"])
async def test_another_backend_is_asked_at_once(tmp_path, asked):
    async with (
        Provider(name="a") as a,
        Provider(name="b") as b,
        serving(*objects(a, b, failover=WAITING), folder=tmp_path) as bed,
    ):
        await a.fault("status", status=429, retry_after=asked)
        answers = [await bed.chat() for _ in range(5)]
    assert {answer.headers["x-moltbot-backend"] for answer in answers} == {"b"}
    assert len(a.requests) == 5
    waits = [second.at - first.at for first, second in zip(a.requests, b.requests, strict=True)]
    assert min(waits) < 0.5


async def test_the_last_backend_is_waited_for_too_and_only_where_it_fits(tmp_path):
    async with (
        Provider(name="a") as a,
        Provider(name="b") as b,
        serving(*objects(a, b, failover=WAITING), folder=tmp_path) as bed,
    ):
        await a.fault("status", status=429, retry_after="3600")
        await b.fault("status", status=429, retry_after="1", count=1)
        answer = await bed.chat()
        assert (answer.status_code, answer.headers["x-moltbot-attempts"]) == (200, "3")
        assert 1 <= pauses(b)[0] < 4
        await b.fault("status", status=503, retry_after="30")
        answer = await bed.chat()
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "30")
    assert (len(a.requests), len(b.requests)) == (2, 3)


async def test_silence_is_not_waited_for_twice(tmp_path):
    failover = {"perTryTimeout": "400ms", "maxRetries": 5, "backoff": {"base": "1ms", "max": "1ms"}}
    async with (
        Provider(name="a") as a,
        Provider(name="b") as b,
        serving(*objects(a, b, failover=failover), folder=tmp_path) as bed,
    ):
        assert (await bed.chat()).status_code == 200
        for provider in (a, b):
            await provider.fault("hang")
            provider.requests.clear()
        answer = await bed.chat()
    assert (answer.status_code, answer.json()["error"]["code"]) == (504, "backend_unavailable")
    assert (len(a.requests), len(b.requests)) == (1, 1)


async def test_silence_is_not_waited_for_twice_by_the_backends_own_limit(tmp_path):
    spec = {"timeouts": {"firstByte": "400ms"}}
    failover = {"maxRetries": 5, "backoff": {"base": "1ms", "max": "1ms"}}
    async with (
        Provider(name="a") as a,
        Provider(name="b") as b,
        serving(*objects(a, b, failover=failover, **spec), folder=tmp_path) as bed,
    ):
        await a.fault("hang")
        await b.fault("hang")
        answer = await bed.chat()
    assert answer.status_code == 504
    assert (len(a.requests), len(b.requests)) == (1, 1)


@pytest.mark.parametrize("kind", ["status", "reset_before_headers", "refuse"])
async def test_what_may_pass_is_tried_again_at_the_last_backend(tmp_path, kind):
    async with (
        Provider(name="a") as a,
        Provider(name="b") as b,
        serving(*objects(a, b, failover=WAITING), folder=tmp_path) as bed,
    ):
        assert (await bed.chat()).status_code == 200
        await a.fault("status", status=500)
        b.requests.clear()
        await b.set_faults([Fault(kind, **({} if kind == "refuse" else {"count": 2}))])
        task = asyncio.create_task(bed.chat())
        if kind == "refuse":
            await asyncio.sleep(0)
        answer = await task
    if kind == "refuse":
        assert (answer.status_code, answer.headers["x-moltbot-attempts"]) == (503, "4")
    else:
        assert (answer.status_code, answer.headers["x-moltbot-attempts"]) == (200, "4")
        assert len(b.requests) == 3


async def test_a_refused_credential_is_not_shown_again_to_the_same_backend(tmp_path):
    failover = {**WAITING, "retryOn": ["401", "403"]}
    async with (
        Provider(name="a") as a,
        Provider(name="b") as b,
        serving(*objects(a, b, failover=failover), folder=tmp_path) as bed,
    ):
        await a.fault("status", status=401)
        await b.fault("status", status=403)
        answer = await bed.chat()
    assert (answer.status_code, len(a.requests), len(b.requests)) == (403, 1, 1)


async def test_an_outage_of_the_only_backend_makes_a_bounded_number_of_further_attempts(tmp_path):
    """Without a budget each request would make all its attempts."""
    slow = {"perTryTimeout": "20s", "maxRetries": 10, "backoff": {"base": "10s", "max": "10s"}}
    async with (
        Provider(name="a") as a,
        serving(*objects(a, failover=slow), folder=tmp_path) as bed,
        httpx.AsyncClient(base_url=bed.running.url, limits=httpx.Limits(), timeout=60) as client,
    ):
        await a.fault("status", status=503)
        asked = [asyncio.create_task(client.post(CHAT, json=BODY)) for _ in range(300)]

        async def refused_at_once():
            return sum(task.done() for task in asked) >= 150  # their pauses go on for 5 seconds on average

        await until(refused_at_once)
        done = [task.result() for task in asked if task.done()]
        for task in asked:
            task.cancel()
        await asyncio.gather(*asked, return_exceptions=True)
    assert {answer.status_code for answer in done} == {503}


async def test_an_outage_of_the_first_backend_loses_nothing_under_load(tmp_path):
    async with (
        Provider(name="a") as a,
        Provider(name="b") as b,
        serving(*objects(a, b, failover={**WAITING, "maxRetries": 1}), folder=tmp_path) as bed,
    ):
        await a.fault("refuse")
        answers = [each for _ in range(5) for each in await asyncio.gather(*(bed.chat() for _ in range(100)))]
    assert {answer.status_code for answer in answers} == {200}
    assert {answer.headers["x-moltbot-attempts"] for answer in answers} == {"2"}


@contextlib.asynccontextmanager
async def feigning(said):
    """A provider that answers well, and writes the gateway's own header into its answer."""
    asked = []

    async def answer(request):
        asked.append(request.path)
        return web.json_response({"choices": []}, headers={"x-mb-said": said})

    async with answering(answer) as url:
        yield url, asked


@pytest.mark.parametrize("said", ["503///", "503//1/1/", "503/UF//", ""])
@pytest.mark.parametrize("alone", [True, False])
async def test_a_good_answer_is_never_tried_again_whatever_its_own_headers_ask_for(tmp_path, said, alone):
    async with feigning(said) as (url, asked), Provider(name="b") as b:
        rules = rule("all", ["a"], [] if alone else ["b"], failover=WAITING)
        named = [*backend("a", url), *backend("b", b.url)]
        async with serving(route(rules), *named, folder=tmp_path) as bed:
            answer = await bed.chat()
    assert (answer.status_code, answer.headers["x-moltbot-attempts"]) == (200, "1")
    assert "x-mb-said" not in answer.headers
    assert (len(asked), len(b.requests)) == (1, 0)
