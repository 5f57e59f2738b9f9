"""What is said of a change. That gateways do so is tested in tests/gateway/test_plan_agrees.py."""

import json

import pytest
from compile_given import backend, rule, sources

from moltbot_operator.api import MoltBotRouteSpec
from moltbot_operator.compare.document import compare, text
from moltbot_operator.compare.settings import settings
from moltbot_operator.compile import compile_route
from moltbot_operator.compile.plan import plan

PREFIX = [{"path": {"value": "/a"}}]
KEY = {"apiKey": {"secretRef": {"name": "k"}}}


def backends(**more):
    return [backend("pro", model="m", **more), backend("max"), backend("spare")]


def compared(before, after):
    """Both as (rules, backends, more)."""
    given = [sources(rules, known, **more) for rules, known, more in (before, after)]
    return compare(
        *(plan(each).gateway for each in given), tuple(compile_route(each).revision for each in given)
    )


def side(*rules, known=None, **more):
    return list(rules), backends() if known is None else known, more


ALL = rule("all", {"pro": 70, "max": 30}, ["spare"])


def said(found):
    return {
        (each["of"], each["name"], each["respect"]): (each["before"], each["after"])
        for each in found["changes"]
    }


def test_nothing_changes():
    found = compared(side(ALL), side(ALL))
    assert (found["changed"], found["changes"], found["requests"]) == (False, [], [])
    assert "nothing changes" in text(found)


def test_chances():
    found = compared(side(ALL), side(rule("all", {"pro": 50, "max": 50}, ["spare"])))
    assert said(found) == {("rule", "all", "first attempts"): ("pro 70 %, max 30 %", "pro 50 %, max 50 %")}
    (group,) = found["requests"]
    assert group["before"]["attempts"][0] == {"chance": 0.7, "backends": ["pro", "max", "spare"]}
    assert "~ rule all: first attempts: pro 70 %, max 30 % → pro 50 %, max 50 %" in text(found)
    assert json.loads(json.dumps(found)) == found


def test_weights_in_the_same_proportion():
    found = compared(side(ALL), side(rule("all", {"pro": 7, "max": 3}, ["spare"])))
    assert said(found) == {("rule", "all", "weights"): ("pro 70, max 30", "pro 7, max 3")}
    assert found["requests"] == []
    assert "none of" in text(found)


@pytest.mark.parametrize(
    ("after", "respect", "values"),
    [
        (rule("all", {"pro": 70, "max": 30}), "further attempts", "max (4 attempts)"),
        (rule("all", {"pro": 70, "max": 30}, ["spare"], failover={"maxRetries": 1}), "retries", "1"),
        (rule("all", {"pro": 70, "max": 30}, ["spare"], failover={"retryOn": ["5xx"]}), "retryOn", "5xx"),
        (
            rule("all", {"pro": 70, "max": 30}, ["spare"], failover={"perTryTimeout": "3s"}),
            "perTryTimeout",
            "3s",
        ),
        (
            rule("all", {"pro": 70, "max": 30}, ["spare"], selection="LowestLatency"),
            "first attempts",
            "by latency",
        ),
        (rule("all", {"pro": 70, "max": 30}, ["spare"], matches=PREFIX), "matches", "path /a or below it"),
        (rule("all", {"gone": 70}), "serves", "no, 503"),
    ],
)
def test_a_rule(after, respect, values):
    before, shown = said(compared(side(ALL), side(after)))["rule", "all", respect]
    assert before != shown
    assert values in shown


def test_rules_come_go_move_and_hide_each_other():
    tech = rule("tech", ["pro"], matches=PREFIX)
    found = said(compared(side(tech, ALL), side(ALL, tech)))
    assert found["route", "assistant", "order of rules"] == ("tech, all", "all, tech")
    assert found["rule", "tech", "reached"][1] == "never: rule all before it takes every request"
    found = compared(side(tech, ALL), side(ALL))
    assert said(found)["rule", "tech", "presence"] == ("path /a or below it: pro", None)
    assert "- rule tech" in text(found)
    moved = next(each for each in found["requests"] if each["example"]["path"] == "/a/v1/chat/completions")
    assert (moved["before"]["rule"], moved["after"]["rule"]) == ("tech", "all")
    assert "+ rule tech" in text(compared(side(ALL), side(tech, ALL)))


@pytest.mark.parametrize(
    ("more", "respect"),
    [
        ({"endpoint": {"url": "https://elsewhere.example/v1"}}, "endpoint"),
        ({"secret": "other"}, "credential"),
        ({"limits": {"maxConnections": 5}}, "maxConnections"),
        ({"limits": {"requestsPerSecond": 5}}, "rate"),
        ({"circuitBreaker": {"errorRatePercent": 50}}, "circuitBreaker"),
        ({"timeouts": {"firstByte": "3s"}}, "timeouts"),
    ],
)
def test_a_backend(more, respect):
    found = compared(side(ALL), side(ALL, known=backends(**more)))
    assert ("backend", "pro", respect) in said(found)


def test_consumers():
    web = {"name": "web", "auth": KEY, "backends": ["pro", "max", "spare"]}
    limited = {**web, "limits": {"requestsPerSecond": 5}}
    narrow = {**web, "backends": ["pro"]}
    token = {**web, "auth": {"jwt": {"issuer": "i", "jwks": {"url": "https://i.example/k"}}}}
    found = said(compared(side(ALL, consumers=[web]), side(ALL, consumers=[limited])))
    assert found == {("consumer", "web", "limit"): ("none", "5 a second, 5 at once")}
    found = compared(side(ALL, consumers=[web]), side(ALL, consumers=[narrow]))
    assert said(found)["consumer", "web", "may use rules"] == ("all", "none")
    assert "answers 403 out_of_scope" in text(found)
    found = said(compared(side(ALL, consumers=[web]), side(ALL, consumers=[token])))
    assert "a token of i" in found["consumer", "web", "known by"][1]
    found = compared(side(ALL, consumers=[web]), side(ALL, consumers=[{**web, "name": "other"}]))
    assert said(found)["consumer", "web", "presence"] == ("may call", None)
    assert "there is no such consumer" in text(found)


def test_a_route_that_comes_or_goes():
    gateway = plan(sources([ALL], backends())).gateway
    assert "+ route assistant" in text(compare(None, gateway, (None, "b")))
    assert "revision a ends" in text(compare(gateway, None, ("a", None)))


def test_what_has_no_words_of_its_own_is_not_passed_over():
    gateway = plan(sources([ALL], backends())).gateway
    found = compare(gateway, gateway, ("a", "b"))
    assert [each["respect"] for each in found["changes"]] == ["configuration"]


def test_pods_and_rollout():
    def spec(**more):
        return MoltBotRouteSpec.model_validate({"rules": [ALL], **more})

    found = settings("r", spec(), spec(gateway={"replicas": 5, "service": {"port": 8080}}))
    assert {(each.respect, each.after) for each in found} == {
        ("spec.gateway.replicas", "5"),
        ("spec.gateway.service.port", "8080"),
    }
    assert settings("r", None, spec()) == []
    assert settings("r", spec(), spec(worker={}))[0].before == "absent"


def test_what_a_rule_asks_of_workers():
    before = rule("all", ["pro"], cache={"ttl": "10m"}, coalesce=True)
    after = rule("all", ["pro"], cache={"ttl": "20m"})
    assert said(compared(side(before), side(after))) == {
        ("rule", "all", "cache"): (
            '{"ttl":"10m","scope":"Consumer"}',
            '{"ttl":"20m","scope":"Consumer"}',
        ),
        ("rule", "all", "coalesce"): ("true", "no"),
    }


def test_a_backend_that_speaks_another_api():
    plain, other = backends(), [backend("pro", model="m", schema="Anthropic"), *backends()[1:]]
    found = said(compared(side(rule("all", ["pro"]), known=plain), side(rule("all", ["pro"]), known=other)))
    assert found["rule", "all", "translation"] == ("no", "for clients of OpenAI")
