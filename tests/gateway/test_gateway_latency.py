"""`selection: LowestLatency`: a slow backend loses its share and gets it back."""

import asyncio
import contextlib
from collections import Counter

import pytest
from gateway_bed import backend, route, rule, serving, until
from moltbot_provider import Provider

FAILOVER = {"maxRetries": 1, "backoff": {"base": "5ms", "max": "10ms"}}


async def shares(bed, count, at_once=4):
    """Who served `count` requests; a few at a time."""
    served = Counter()

    async def ask(number):
        for _ in range(number):
            answer = await bed.chat()
            assert answer.status_code == 200, answer.text
            served[answer.headers["x-moltbot-backend"]] += 1

    await asyncio.gather(*(ask(count // at_once) for _ in range(at_once)))
    return served


@contextlib.asynccontextmanager
async def three(folder, **more):
    async with Provider(name="a") as a, Provider(name="b") as b, Provider(name="c") as c:
        given = rule("all", ["a", "b", "c"], selection="LowestLatency", failover=FAILOVER, **more)
        objects = [*backend("a", a.url), *backend("b", b.url), *backend("c", c.url)]
        async with serving(route(given), objects, folder=folder) as bed:
            yield bed, a


async def test_equal_backends_share_about_evenly(tmp_path):
    async with three(tmp_path) as (bed, _):
        served = await shares(bed, 600)
    assert all(served[name] > 600 / 3 / 2 for name in "abc"), served


async def test_a_slow_backend_loses_its_share_and_gets_it_back(tmp_path):
    async with three(tmp_path) as (bed, a):
        await shares(bed, 60)
        await a.fault("delay", seconds=0.2)
        await shares(bed, 100)  # a second or so, in which it is seen
        slowed = await shares(bed, 400)
        assert slowed["a"] < 40, slowed
        await a.clear()

        async def recovered():
            return (await shares(bed, 120))["a"] > 20

        await until(recovered, 90)


@pytest.mark.parametrize("fault", ["reset_before_headers", "status"])
async def test_a_backend_that_fails_at_once_is_not_taken_for_a_fast_one(tmp_path, fault):
    async with three(tmp_path) as (bed, a):
        await a.fault(fault)
        await shares(bed, 40)
        before = len(a.requests)
        await shares(bed, 400)
        assert len(a.requests) - before < 40


async def test_a_backend_at_its_limit_gives_way(tmp_path):
    async with Provider(name="a") as a, Provider(name="b") as b:
        given = rule("all", ["a", "b"], selection="LowestLatency", failover=FAILOVER)
        objects = [*backend("a", a.url, limits={"maxConnections": 1}), *backend("b", b.url)]
        async with serving(route(given), objects, folder=tmp_path) as bed:
            served = await shares(bed, 200, at_once=8)
    assert sum(served.values()) == 200
    assert served["b"] > served["a"]


async def test_weights_count_among_equals(tmp_path):
    async with Provider(name="a") as a, Provider(name="b") as b:
        given = rule("all", {"a": 3, "b": 1}, selection="LowestLatency")
        async with serving(route(given), backend("a", a.url), backend("b", b.url), folder=tmp_path) as bed:
            served = await shares(bed, 400)
    assert served["a"] > served["b"] > 20, served
