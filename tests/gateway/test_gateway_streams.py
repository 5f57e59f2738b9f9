"""Streams: chunks one by one, no buffering, no clean end of a broken one."""

import time

import httpx
import pytest
from gateway_bed import BODY, CHAT, backend, route, rule, serving, until
from moltbot_provider import Provider

STREAM = {**BODY, "stream": True, "max_tokens": 6}
GAP = 0.15


def objects(*providers, **failover):
    first, *others = providers
    return [
        route(
            rule(
                "all",
                [first.name],
                [other.name for other in others],
                failover={"backoff": {"base": "1ms", "max": "1ms"}, **failover},
            )
        ),
        *[
            each
            for provider in providers
            for each in backend(
                provider.name,
                provider.url,
                model=f"{provider.name}-v1",
                timeouts={"idle": "2s", "firstByte": "2s"},
            )
        ],
    ]


async def events(bed):
    """Each event with the time of its arrival in seconds."""
    async with bed.client.stream("POST", CHAT, json=STREAM) as answer:
        assert answer.status_code == 200
        lines = [(time.monotonic(), line) async for line in answer.aiter_lines()]
    return [(at, line[6:]) for at, line in lines if line.startswith("data: ")]


@pytest.mark.parametrize("attempts", [1, 2])
async def test_events_arrive_one_by_one(tmp_path, attempts):
    async with (
        Provider(name="a", event_gap=GAP) as a,
        Provider(name="b", event_gap=GAP) as b,
        serving(*objects(a, b), folder=tmp_path) as bed,
    ):
        if attempts == 2:
            await a.fault("status", status=503)
        found = await events(bed)
    assert found[-1][1] == "[DONE]"
    assert len(found) >= 6
    assert found[-2][0] - found[0][0] > GAP * (len(found) - 2) / 2


async def test_a_stream_longer_than_the_attempt_timeout_is_not_cut(tmp_path):
    async with (
        Provider(name="a", event_gap=0.4) as a,
        serving(*objects(a, perTryTimeout="1500ms"), folder=tmp_path) as bed,
    ):
        found = await events(bed)
    assert found[-1][1] == "[DONE]"
    assert found[-1][0] - found[0][0] > 1.6


async def test_failover_happens_before_the_first_byte_only(tmp_path):
    async with (
        Provider(name="a") as a,
        Provider(name="b") as b,
        serving(*objects(a, b), folder=tmp_path) as bed,
    ):
        await a.fault("hang")
        assert "b-v1" in (await events(bed))[0][1]
        await a.fault("stream_cut", after=2)
        with pytest.raises(httpx.RemoteProtocolError):
            await events(bed)
        seen = len(b.requests)
        await a.fault("stream_stall", after=2)
        begin = time.monotonic()
        with pytest.raises(httpx.RemoteProtocolError):
            await events(bed)
        assert 1.5 < time.monotonic() - begin < 25
        assert len(b.requests) == seen


async def test_a_client_that_leaves_ends_the_upstream_call(tmp_path):
    async with (
        Provider(name="a", event_gap=GAP, words=1000) as a,
        serving(*objects(a), folder=tmp_path) as bed,
    ):
        body = {**STREAM, "max_tokens": 1000}
        async with bed.client.stream("POST", CHAT, json=body) as answer:
            async for _ in answer.aiter_lines():
                break

        async def left():
            return a.requests[0].outcome == "client left"

        await until(left)
