"""Tests of a preview and its fault drill, against a real gateway."""

import math
from datetime import timedelta
from urllib.parse import urlsplit

import pytest
from gateway_bed import backend, keyed, route, rule, secret, serving
from moltbot_provider import Provider

from moltbot_operator.api import Testing
from moltbot_operator.providers.outbound import Outbound
from moltbot_operator.providers.preview import PreviewTester
from moltbot_operator.rollout.ports import EffectError, Target

QUICK = {"backoff": {"base": "1ms", "max": "5ms"}}
BODY = '{"model": "m", "messages": [{"role": "user", "content": "hi"}]}'
CHAT = {"path": "/v1/chat/completions", "body": BODY}
SECOND = timedelta(seconds=1)
APP = keyed("app", "a", "b", "c")


@pytest.fixture
async def providers():
    async with Provider(name="a") as a, Provider(name="b") as b, Provider(name="c") as c:
        yield {"a": a, "b": b, "c": c}


@pytest.fixture
def serve(providers, tmp_path):
    def serve(*rules):
        given = route(*rules, consumers=[APP], rollout={"testing": {"faultDrill": True}})
        backends = [each for name, one in providers.items() for each in backend(name, one.url)]
        return serving(given, secret("app-keys", one="key-of-app"), *backends, folder=tmp_path)

    return serve


@pytest.fixture
async def outbound():
    async with Outbound(loopback=True) as client:
        yield client


def target(bed, token=None, pods=("127.0.0.1",)):
    given = (bed.running.folder / "evidence" / "token").read_text() if token is None else token
    return Target("default", "assistant", bed.running.compiled.revision, bed.running.url, pods, given)


def sender(outbound, bed):
    return PreviewTester(outbound, port=urlsplit(bed.running.probe_url).port)


async def tried(outbound, bed, *requests, drill=False, **more):
    testing = Testing.model_validate({"requests": requests, "faultDrill": drill})
    return await sender(outbound, bed).test(target(bed, **more), testing, "e-1")


async def test_requests_pass_that_are_answered_as_expected(serve, outbound):
    async with serve(rule("all", ["a"])) as bed:
        outcome = await tried(
            outbound,
            bed,
            {**CHAT, "expect": {"contains": '"choices"'}},
            {"path": "/v1/models"},
            {"path": "/nothing", "expect": {"status": 404}},
        )
        records = await bed.records(3)
    assert outcome.passed, outcome.message
    assert outcome.message == "3 tests passed"
    assert outcome.figures[0].startswith("POST /v1/chat/completions at 127.0.0.1: 200 from a in ")
    assert outcome.figures[1].startswith("GET /v1/models at 127.0.0.1: 200 in ")
    assert {record["consumer"] for record in records} == {"(probe)"}


@pytest.mark.parametrize(
    ("request_", "says"),
    [
        ({**CHAT, "expect": {"status": 201}}, "201 was expected"),
        ({**CHAT, "expect": {"contains": "rabbit"}}, "the body does not contain 'rabbit'"),
        ({"path": "/nothing"}, "200 was expected: "),
    ],
)
async def test_a_failure_says_which_request_and_what_was_expected(serve, outbound, request_, says):
    async with serve(rule("all", ["a"])) as bed:
        outcome = await tried(outbound, bed, request_, CHAT)
    assert not outcome.passed
    assert request_["path"] in outcome.message
    assert says in outcome.message
    assert len(outcome.figures) == 2  # what comes after is tried as well


async def test_several_failures_are_counted(serve, outbound):
    async with serve(rule("all", ["a"])) as bed:
        outcome = await tried(outbound, bed, {"path": "/x"}, {"path": "/y"}, CHAT)
    assert "GET /x" in outcome.message
    assert "(and 1 more of 3 tests failed)" in outcome.message


async def test_every_pod_is_tested(serve, outbound):
    async with serve(rule("all", ["a"])) as bed:
        outcome = await tried(outbound, bed, CHAT, pods=("127.0.0.1", "localhost"))
    assert outcome.passed
    assert [line.split(": ")[0].split(" at ")[1] for line in outcome.figures] == ["127.0.0.1", "localhost"]


async def test_a_silent_model_is_a_failure(serve, outbound, providers):
    await providers["a"].fault("hang")
    async with serve(rule("all", ["a"])) as bed:
        testing = Testing.model_validate({"requests": [CHAT]})
        short = PreviewTester(outbound, port=urlsplit(bed.running.probe_url).port, timeout=SECOND)
        outcome = await short.test(target(bed), testing, "e-1")
    assert not outcome.passed
    assert "no answer within 1 s" in outcome.message


async def test_what_is_no_verdict_is_none(serve, outbound):
    async with serve(rule("all", ["a"])) as bed:
        with pytest.raises(EffectError, match="does not know the key"):
            await tried(outbound, bed, CHAT, token="another")
        with pytest.raises(EffectError, match="no ready pod"):
            await tried(outbound, bed, CHAT, pods=())
    with pytest.raises(EffectError, match="can't be connected to"):
        await tried(outbound, bed, CHAT, token="t")


async def test_the_drill_says_who_served_instead(serve, outbound):
    async with serve(rule("r", ["a", "b"], ["c"], failover=QUICK), rule("s", ["a"])) as bed:
        outcome = await tried(outbound, bed, drill=True)
    assert outcome.passed, outcome.message
    assert [line.split(" in ")[0] for line in outcome.figures] == [
        "fault drill: rule r without a: 200 from b",
        "fault drill: rule r without b: 200 from a",
        "fault drill: rule r without a and b: 200 from c",
    ]


async def test_the_drill_finds_a_fallback_that_never_serves(serve, outbound):
    async with serve(rule("r", ["a"], ["c"], failover={**QUICK, "retryOn": ["429"]})) as bed:
        outcome = await tried(outbound, bed, drill=True)
    assert not outcome.passed
    assert "fault drill: rule r without a: 503" in outcome.message
    assert "c should have served: The backend of rule r did not answer" in outcome.message


async def test_the_drill_finds_a_fallback_that_is_broken(serve, outbound, providers):
    await providers["c"].fault("status", status=500)
    async with serve(rule("r", ["a"], ["c"], failover={**QUICK, "maxRetries": 1})) as bed:
        outcome = await tried(outbound, bed, drill=True)
    assert not outcome.passed
    assert "fault drill: rule r without a: 500 from c" in outcome.message


async def test_a_route_without_any_fallback_has_nothing_to_drill(serve, outbound):
    async with serve(rule("s", ["a"])) as bed:
        outcome = await tried(outbound, bed, drill=True)
    assert outcome.passed
    assert outcome.figures == ("fault drill: no rule has another backend to fall back on",)


async def test_samples_are_what_clients_would_see(serve, outbound, providers):
    await providers["a"].fault("status", status=500, count=3)
    async with serve(rule("all", ["a"], failover={"maxRetries": 0})) as bed:
        testing = Testing.model_validate({"requests": [CHAT]})
        counts = await sender(outbound, bed).probe(target(bed), testing, 20, "e-1")
    assert (counts.ended, counts.well, counts.unanswered) == (20, 17, 0)
    assert counts.buckets[-1] == (math.inf, 20)
    assert counts.percentile(50) < 10


async def test_samples_from_a_pod_that_does_not_know_the_key_are_no_figures(serve, outbound):
    async with serve(rule("all", ["a"])) as bed:
        testing = Testing.model_validate({"requests": [CHAT]})
        with pytest.raises(EffectError, match="does not know the key"):
            await sender(outbound, bed).probe(target(bed, token="x"), testing, 5, "e-1")
