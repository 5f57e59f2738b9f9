"""Limits of consumers."""

import asyncio
import time
from collections import Counter

import pytest
from gateway_bed import ANYONE, backend, keyed, route, rule, secret, serving, until
from moltbot_provider import Provider
from raw_http import raw


def limited(consumer, rate, burst=None):
    return {**consumer, "limits": {"requestsPerSecond": rate, **({"burst": burst} if burst else {})}}


def objects(a, consumers):
    return [
        route(rule("plain", ["a"], path="^/plain/"), rule("drawn", {"a": 1, "b": 1}), consumers=consumers),
        *backend("a", a.url),
        *backend("b", a.url, model="b-v1"),
        *(secret(f"{each['name']}-keys", key=each["name"]) for each in consumers),
    ]


async def burst(bed, count, path="/v1/chat/completions", **headers):
    answers = await asyncio.gather(*(bed.chat(path, **headers) for _ in range(count)))
    return answers, Counter(answer.status_code for answer in answers)


async def test_each_consumer_has_a_bucket_of_its_own(tmp_path):
    consumers = [
        limited(keyed("small", "a", "b"), 1, 5),
        limited(keyed("large", "a", "b"), 1, 20),
        keyed("free", "a", "b"),
    ]
    async with Provider(name="a") as a, serving(*objects(a, consumers), folder=tmp_path) as bed:
        for path in ("/plain/v1/chat/completions", "/v1/chat/completions"):
            began = time.monotonic()
            answers, small = await burst(bed, 30, path, authorization="Bearer small")
            assert small[200] <= 5 + 1 + (time.monotonic() - began), "the burst of 5, and one a second"
            assert small[429] >= 1
            assert small[200] + small[429] == 30
        large = (await burst(bed, 30, authorization="Bearer large"))[1]
        assert 20 <= large[200] < 30
        assert (await burst(bed, 30, authorization="Bearer free"))[1] == {200: 30}
        assert (await burst(bed, 30, authorization="Bearer wrong"))[1] == {401: 30}
        refused = next(answer for answer in answers if answer.status_code == 429)
        calls = await bed.records(5 * 30)
        records = [record for record in calls if record["status"] == 429]
        reached = len(a.requests)
        served = sum(record["status"] == 200 for record in calls)
    assert refused.headers["retry-after"] == "1"
    assert refused.headers["content-type"] == "application/json"
    assert refused.headers["x-request-id"]
    assert refused.json()["error"]["type"] == "requests"
    assert refused.json()["error"]["code"] == "rate_limit_exceeded"
    assert {record["consumer"] for record in records} == {"small", "large"}
    assert reached == served, "no refused request reached the backend"


async def test_everybody_can_have_a_limit(tmp_path):
    anyone = limited({"name": ANYONE, "auth": {"anonymous": {}}, "backends": ["a", "b"]}, 2)
    async with Provider(name="a") as a, serving(*objects(a, [anyone]), folder=tmp_path) as bed:
        statuses = (await burst(bed, 20))[1]
    assert statuses[200] >= 2
    assert statuses[429] >= 10


@pytest.mark.parametrize(("rate", "most"), [(20, 5), (5, 20)])
async def test_a_bucket_fills_at_the_rate_whether_larger_or_smaller(tmp_path, rate, most):
    """A burst below the rate must not become the rate."""
    consumers = [limited(keyed("web", "a", "b"), rate, most)]
    async with Provider(name="a") as a, serving(*objects(a, consumers), folder=tmp_path) as bed:
        began, served = time.monotonic(), 0
        while time.monotonic() - began < 3:
            served += (await bed.chat(authorization="Bearer web")).status_code == 200
            await asyncio.sleep(0.01)
        took = time.monotonic() - began
    assert served <= most + rate * took + 1
    assert served >= rate * 1.5, "half of what the rate gives in three seconds: this machine may be slow"


async def test_retry_after_is_true(tmp_path):
    consumers = [limited(keyed("web", "a", "b"), 1)]
    async with Provider(name="a") as a, serving(*objects(a, consumers), folder=tmp_path) as bed:
        await burst(bed, 5, authorization="Bearer web")
        await asyncio.sleep(1.1)
        assert (await bed.chat(authorization="Bearer web")).status_code == 200


async def test_a_request_above_the_limit_is_refused_before_its_body_came(tmp_path):
    """The body never comes: an answer shows that nobody waited for it."""
    consumers = [limited(keyed("web", "a", "b"), 1)]
    request = (
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer web\r\n"
        b"content-type: application/json\r\ncontent-length: 1000\r\n\r\n"
    )
    async with Provider(name="a") as a, serving(*objects(a, consumers), folder=tmp_path) as bed:

        async def refused():
            await burst(bed, 5, authorization="Bearer web")
            try:
                return (await raw(bed.running.url, request, seconds=1)).status == 429
            except TimeoutError:
                return False

        await until(refused)
