"""Weighted candidates, and what happens when they fail."""

import asyncio
import math
from collections import Counter

import pytest
from gateway_bed import backend, route, rule, serving, until
from moltbot_provider import Provider

KEYS = {"pro": "key-pro", "max": "key-max", "code": "key-code"}
QUICK = {"perTryTimeout": "20s", "backoff": {"base": "1ms", "max": "5ms"}}


@pytest.fixture
async def providers():
    async with (
        Provider(name="pro", expect={"authorization": "Bearer key-pro"}) as pro,
        Provider(name="max", expect={"x-api-key": "key-max"}) as maximum,
        Provider(name="code", expect={"authorization": "Bearer key-code"}) as code,
    ):
        yield {"pro": pro, "max": maximum, "code": code}


def sample(providers, **failover):
    """The product's sample: 70 to 30, with a fallback, each with its own prefix, model and credential."""
    return [
        route(
            rule(
                "tech",
                {"pro": 70, "max": 30},
                ["code"],
                path="^/tech/",
                failover={**QUICK, **failover},
            )
        ),
        *backend("pro", providers["pro"].url, key="key-pro", model="pro-v1"),
        *backend(
            "max",
            f"{providers['max'].url}/api/v4",
            key="key-max",
            model="max-v2",
            apiKey={"header": "x-api-key"},
        ),
        *backend("code", f"{providers['code'].url}/", key="key-code", model="code-v3"),
    ]


def assert_no_foreign_credentials(providers):
    """On every attempt of the test."""
    own = {
        "pro": {"authorization": ["Bearer key-pro"]},
        "max": {"x-api-key": ["key-max"]},
        "code": {"authorization": ["Bearer key-code"]},
    }
    for name, provider in providers.items():
        for record in provider.requests:
            assert record.credentials == own[name]
            assert not [key for key, _ in record.headers if key.lower().startswith(("x-mb-", "x-envoy-"))]


async def send(bed, count, **headers):
    answers = []
    for _ in range(0, count, 20):
        answers += await asyncio.gather(
            *(bed.chat("/tech/v1/chat/completions", **headers) for _ in range(min(20, count)))
        )
    return answers


async def test_shares_follow_the_weights(providers, tmp_path):
    async with serving(*sample(providers), folder=tmp_path) as bed:
        answers = await send(bed, 2000, authorization="Bearer consumer")
    assert {answer.status_code for answer in answers} == {200}
    served = Counter(answer.headers["x-moltbot-backend"] for answer in answers)
    bound = 4 * math.sqrt(2000 * 0.7 * 0.3)  # 4 sigma: fails by chance once in 16,000 runs
    assert abs(served["pro"] - 1400) < bound
    assert served["pro"] + served["max"] == 2000
    assert len(providers["pro"].requests) == served["pro"]
    assert_no_foreign_credentials(providers)


@pytest.mark.parametrize("fault", ["refuse", "status", "hang", "reset_before_headers"])
async def test_fallback_serves_everything_while_both_candidates_are_down(providers, tmp_path, fault):
    limit = {"perTryTimeout": "2s"} if fault == "hang" else {}  # enough for the healthy one on a busy machine
    async with serving(*sample(providers, **limit), folder=tmp_path) as bed:
        assert (await bed.chat("/tech/v1/chat/completions")).status_code == 200
        for name in ("pro", "max"):
            await providers[name].fault(fault)
        answers = await send(bed, 20 if fault == "hang" else 60)
        assert {answer.status_code for answer in answers} == {200}
        assert {answer.headers["x-moltbot-backend"] for answer in answers} == {"code"}
        assert {answer.headers["x-moltbot-attempts"] for answer in answers} == {"3"}
        assert {answer.headers["x-moltbot-rule"] for answer in answers} == {"tech"}
        assert {answer.json()["model"] for answer in answers} == {"code-v3"}
        assert {record.path for record in providers["code"].requests} == {"/chat/completions"}
        last = (await bed.records(1 + len(answers)))[-1]
    assert (last["backend"], last["attempts"], last["rule"], last["status"]) == ("code", 3, "tech", 200)
    assert (last["consumer"], last["route"], last["model"]) == ("anyone", "default/assistant", "gpt-4o")
    assert_no_foreign_credentials(providers)


async def test_each_backend_gets_its_own_path_and_model(providers, tmp_path):
    for name in ("pro", "max"):
        await providers[name].fault("status", status=429)
    async with serving(*sample(providers), folder=tmp_path) as bed:
        answer = await bed.chat("/tech/v1/chat/completions?x=/v1/%2F&y=ä".encode().decode())
    assert answer.json()["model"] == "code-v3"
    paths = {name: provider.requests[0].path for name, provider in providers.items()}
    assert paths == {
        "pro": "/v1/chat/completions?x=/v1/%2F&y=%C3%A4",
        "max": "/api/v4/chat/completions?x=/v1/%2F&y=%C3%A4",
        "code": "/chat/completions?x=/v1/%2F&y=%C3%A4",
    }
    asked = {name: provider.requests[0].body for name, provider in providers.items()}
    assert [b'"pro-v1"' in asked["pro"], b'"max-v2"' in asked["max"], b'"code-v3"' in asked["code"]] == [
        True
    ] * 3


async def test_everything_down_is_an_error_that_sdks_read(providers, tmp_path):
    for provider in providers.values():
        await provider.fault("refuse")
    async with serving(*sample(providers), folder=tmp_path) as bed:
        answer = await bed.chat("/tech/v1/chat/completions")
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "1"
    assert answer.headers["x-request-id"]
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-moltbot-attempts"] == "4"
    assert "x-mb-fault" not in answer.headers
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
    assert answer.json()["error"]["code"] == "backend_unavailable"


async def test_the_last_answer_of_a_provider_is_passed_on(providers, tmp_path):
    for provider in providers.values():
        await provider.fault("status", status=429, retry_after="7")
    async with serving(*sample(providers), folder=tmp_path) as bed:
        answer = await bed.chat("/tech/v1/chat/completions")
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "7")


async def test_what_is_not_in_retry_on_is_not_tried_again(providers, tmp_path):
    await providers["pro"].fault("status", status=500)
    await providers["max"].fault("status", status=500)
    async with serving(*sample(providers, retryOn=["429"]), folder=tmp_path) as bed:
        answer = await bed.chat("/tech/v1/chat/completions")
    assert (answer.status_code, answer.headers["x-moltbot-attempts"]) == (500, "1")
    assert not providers["code"].requests


@pytest.mark.parametrize(("condition", "status"), [("401", 401), ("403", 403)])
async def test_refused_credentials_are_tried_elsewhere_if_asked(providers, tmp_path, condition, status):
    await providers["pro"].fault("status", status=status)
    await providers["max"].fault("status", status=status)
    async with serving(*sample(providers, retryOn=[condition]), folder=tmp_path) as bed:
        answer = await bed.chat("/tech/v1/chat/completions")
    assert (answer.status_code, answer.headers["x-moltbot-backend"]) == (200, "code")


async def test_connect_failures_alone_fail_over_through_the_inner_tier_too(providers, tmp_path):
    """The inner tier answers for a refused connection with a 503 of its own, which must count as one."""
    for name in ("pro", "max"):
        await providers[name].fault("refuse")
    async with serving(*sample(providers, retryOn=["ConnectFailure"]), folder=tmp_path) as bed:
        answers = await send(bed, 20)
    assert {answer.headers["x-moltbot-backend"] for answer in answers} == {"code"}


async def test_a_failing_backend_is_left_out_and_comes_back(tmp_path):
    breaker = {"errorRatePercent": 50, "minimumRequests": 3, "interval": "500ms", "ejectionTime": "1s"}
    async with Provider(name="a") as a, Provider(name="b") as b:
        objects = [
            route(rule("all", {"a": 1, "b": 0}, failover=QUICK)),
            *backend("a", a.url, circuitBreaker=breaker),
            *backend("b", b.url),
        ]
        async with serving(*objects, folder=tmp_path) as bed:
            await a.fault("status", status=503)

            async def first_try():
                return (await bed.chat()).headers["x-moltbot-attempts"] == "1"

            await until(first_try)  # ejected: b serves without a retry
            hits = len(a.requests)
            answer = await bed.chat()
            assert (answer.headers["x-moltbot-backend"], answer.headers["x-moltbot-attempts"]) == ("b", "1")
            assert len(a.requests) == hits
            await a.clear()

            async def back():
                return (await bed.chat()).headers["x-moltbot-backend"] == "a"

            await until(back)
            assert (await bed.chat()).status_code == 200


async def test_a_full_backend_spills_to_the_next_and_loses_nothing(tmp_path):
    limits = {"maxConnections": 4}
    async with Provider(name="a", delay=0.3) as a, Provider(name="b", delay=0.3) as b:
        objects = [
            route(rule("all", {"a": 1, "b": 0}, failover=QUICK)),
            *backend("a", a.url, limits=limits),
            *backend("b", b.url),
        ]
        async with serving(*objects, folder=tmp_path) as bed:
            answers = await asyncio.gather(*(bed.chat() for _ in range(40)))
    assert {answer.status_code for answer in answers} == {200}
    served = Counter(answer.headers["x-moltbot-backend"] for answer in answers)
    assert served["a"] >= 4
    assert served["b"] >= 30
    assert {answer.headers["x-moltbot-attempts"] for answer in answers} == {"1"}


async def test_a_full_backend_without_another_is_a_503_at_once(tmp_path):
    async with Provider(name="a", delay=0.5) as a:
        objects = [
            route(rule("all", ["a"], failover={"maxRetries": 0})),
            *backend("a", a.url, limits={"maxConnections": 1, "maxPendingRequests": 1}),
        ]
        async with serving(*objects, folder=tmp_path) as bed:
            answers = await asyncio.gather(*(bed.chat() for _ in range(10)))
    assert Counter(answer.status_code for answer in answers) == {200: 2, 503: 8}
    refused = next(answer for answer in answers if answer.status_code == 503)
    assert refused.headers["retry-after"] == "1"


async def test_a_full_fallback_is_passed_over(tmp_path):
    async with Provider(name="a") as a, Provider(name="b", delay=0.5) as b, Provider(name="c") as c:
        objects = [
            route(rule("all", ["a"], ["b", "c"], failover=QUICK | {"retryOn": ["429"]})),
            *backend("a", a.url),
            *backend("b", b.url, limits={"maxConnections": 1}),
            *backend("c", c.url),
        ]
        async with serving(*objects, folder=tmp_path) as bed:
            await a.fault("status", status=429)
            answers = await asyncio.gather(*(bed.chat() for _ in range(8)))
    assert {answer.status_code for answer in answers} == {200}
    assert Counter(answer.headers["x-moltbot-backend"] for answer in answers) == {"b": 1, "c": 7}


async def test_a_backend_that_keeps_the_clients_model_gets_it_after_one_that_does_not(tmp_path):
    async with Provider(name="a") as a, Provider(name="b") as b:
        objects = [
            route(rule("all", ["a"], ["b"], failover=QUICK)),
            *backend("a", a.url, model="a-v1"),
            *backend("b", b.url),
        ]
        async with serving(*objects, folder=tmp_path) as bed:
            assert (await bed.chat()).json()["model"] == "a-v1"
            await a.fault("status", status=503)
            answer = await bed.chat()
    assert (answer.json()["model"], answer.headers["x-moltbot-backend"]) == ("gpt-4o", "b")


async def test_the_longer_wait_of_a_fallback_is_its_own(tmp_path):
    async with Provider(name="a") as a, Provider(name="b", delay=0.6) as b:
        objects = [
            route(rule("all", ["a"], ["b"], failover={"backoff": {"base": "1ms", "max": "2ms"}})),
            *backend("a", a.url, timeouts={"firstByte": "200ms"}),
            *backend("b", b.url, timeouts={"firstByte": "20s"}),
        ]
        async with serving(*objects, folder=tmp_path) as bed:
            await a.fault("hang")
            answer = await bed.chat()
    assert (answer.status_code, answer.headers["x-moltbot-attempts"]) == (200, "2")
    assert answer.elapsed.total_seconds() < 5


async def test_a_plain_answer_that_breaks_is_an_error_where_bodies_are_read(tmp_path):
    async with Provider(name="a") as a:
        objects = [route(rule("all", ["a"], failover=QUICK)), *backend("a", a.url, model="a-v1")]
        async with serving(*objects, folder=tmp_path) as bed:
            await a.fault("reset_after_headers")
            answer = await bed.chat()
    assert answer.status_code == 502
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
    assert len(a.requests) == 1
