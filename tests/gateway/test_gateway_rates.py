"""Rates of backends: what is above goes to the next backend, and only where none is left to the client."""

import asyncio
from collections import Counter

import pytest
from gateway_bed import backend, route, rule, serving, until
from moltbot_provider import Provider

QUICK = {"perTryTimeout": "20s", "backoff": {"base": "1ms", "max": "5ms"}}
ONE = {"limits": {"requestsPerSecond": 1, "burst": 5}}


async def test_what_is_above_the_rate_spills_to_the_next_backend(tmp_path):
    async with Provider(name="a") as a, Provider(name="b") as b:
        objects = [
            route(rule("all", {"a": 1, "b": 0}, failover=QUICK)),
            *backend("a", a.url, key="key-a", model="a-v1", **ONE),
            *backend("b", b.url, key="key-b", model="b-v1"),
        ]
        async with serving(*objects, folder=tmp_path) as bed:
            answers = await asyncio.gather(*(bed.chat() for _ in range(40)))
    assert {answer.status_code for answer in answers} == {200}
    assert 5 <= len(a.requests) <= 20
    assert len(b.requests) == 40 - len(a.requests)
    for provider in (a, b):
        wanted = {"authorization": [f"Bearer key-{provider.name}"]}
        assert all(record.credentials == wanted for record in provider.requests)
        assert all(f'"{provider.name}-v1"'.encode() in record.body for record in provider.requests)


@pytest.mark.parametrize("retries", [0, 1])
async def test_spilling_takes_no_attempt_from_the_request(tmp_path, retries):
    """With one retry the second attempt at c is still made after a spilled and b failed."""
    async with Provider(name="a") as a, Provider(name="b") as b, Provider(name="c") as c:
        objects = [
            route(rule("all", ["a"], ["b", "c"], failover={**QUICK, "maxRetries": retries})),
            *backend("a", a.url, **ONE),
            *backend("b", b.url),
            *backend("c", c.url),
        ]
        async with serving(*objects, folder=tmp_path) as bed:
            if retries:
                await b.fault("status", status=500)
            answers = await asyncio.gather(*(bed.chat() for _ in range(30)))
            assert {answer.status_code for answer in answers} == {200}
            served = Counter(answer.headers["x-moltbot-backend"] for answer in answers)
            assert served["c" if retries else "b"] >= 10
            if not retries:
                await a.fault("status", status=500)

                async def filled():
                    return (await bed.chat()).status_code == 500  # and not tried again, as maxRetries: 0 says

                await until(filled)


async def test_a_fallback_above_its_rate_is_passed_over(tmp_path):
    async with Provider(name="a") as a, Provider(name="b") as b, Provider(name="c") as c:
        objects = [
            route(rule("all", ["a"], ["b", "c"], failover={**QUICK, "retryOn": ["429"]})),
            *backend("a", a.url),
            *backend("b", b.url, **ONE),
            *backend("c", c.url),
        ]
        async with serving(*objects, folder=tmp_path) as bed:
            await a.fault("status", status=429)
            answers = await asyncio.gather(*(bed.chat() for _ in range(40)))
    assert {answer.status_code for answer in answers} == {200}
    served = Counter(answer.headers["x-moltbot-backend"] for answer in answers)
    assert served["b"] + served["c"] == 40
    assert 5 <= served["b"] <= 20


@pytest.mark.parametrize("limits", [{"requestsPerSecond": 1}, {"requestsPerSecond": 1, "maxConnections": 50}])
async def test_without_another_backend_the_client_is_told_when_to_come_back(tmp_path, limits):
    async with Provider(name="a") as a:
        objects = [route(rule("all", ["a"], failover=QUICK)), *backend("a", a.url, limits=limits)]
        async with serving(*objects, folder=tmp_path) as bed:
            answers = await asyncio.gather(*(bed.chat() for _ in range(20)))
            records = await bed.records(len(answers))
    codes = Counter(answer.status_code for answer in answers)
    assert set(codes) == {200, 429}
    assert codes[200] == len(a.requests) <= 10
    refused = next(answer for answer in answers if answer.status_code == 429)
    assert (refused.headers["retry-after"], refused.headers["x-moltbot-attempts"]) == ("1", "1")
    assert refused.json()["error"]["code"] == "rate_limit_exceeded"
    assert not [key for key in refused.headers if key.startswith("x-mb-")]
    assert Counter(record["status"] for record in records) == codes


async def test_rules_share_a_backends_rate_and_others_are_not_touched(tmp_path):
    async with Provider(name="a") as a, Provider(name="b") as b:
        objects = [
            route(
                rule("one", ["a"], path="^/one/", failover=QUICK),
                rule("two", ["b"], ["a"], path="^/two/", failover=QUICK),
                rule("other", ["b"], failover=QUICK),
            ),
            *backend("a", f"{a.url}/other/prefix", limits={"requestsPerSecond": 1, "burst": 6}),
            *backend("b", b.url),
        ]
        async with serving(*objects, folder=tmp_path) as bed:
            one = await asyncio.gather(*(bed.chat("/one/v1/chat/completions") for _ in range(20)))
            await b.fault("status", status=503, count=20)
            two = await asyncio.gather(*(bed.chat("/two/v1/chat/completions") for _ in range(20)))
            await b.clear()
            other = await asyncio.gather(*(bed.chat() for _ in range(50)))
    taken = sum(answer.status_code == 200 for answer in one)
    assert 6 <= taken <= 12
    assert sum(answer.status_code == 200 for answer in two) <= 6
    assert {answer.status_code for answer in other} == {200}
    assert len(a.requests) <= 16
