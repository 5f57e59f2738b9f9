"""What is said of a request. That Envoy does the same is tested in tests/gateway/test_explain_agrees.py."""

import json
from fractions import Fraction

import pytest
from compile_given import backend, rule, sources

from moltbot_operator.compile.plan import plan
from moltbot_operator.errors import InvalidInput
from moltbot_operator.explain import Fault, Request, chat_body, course, explain
from moltbot_operator.explain.document import document
from moltbot_operator.explain.text import text

TECH = [{"path": {"type": "Regex", "value": "^/tech/"}}]
CODE = [
    {"model": ["code*"], "path": {"value": "/a"}},
    {"headers": [{"name": "X-Team", "value": "blue"}, {"name": "x-n", "type": "Regex", "value": "[0-9]+"}]},
    {"task": "Code"},
]
LIMITS = {"maxConnections": 5, "requestsPerSecond": 9}


def gateway(rules=None, consumers=None, backends=None):
    given = rules or [
        rule("tech", {"pro": 70, "max": 30}, ["spare"], matches=TECH),
        rule("code", ["coder"], matches=CODE),
    ]
    known = backends or [
        backend("pro", model="pro-1", secret="keys"),
        backend("max", model="max-1"),
        backend("spare", limits=LIMITS, circuitBreaker={"errorRatePercent": 50}),
        backend("coder", capabilities=["Code"]),
    ]
    return plan(sources(given, known, consumers)).gateway


def asked(path="/v1/chat/completions", model="m", **more):
    return Request(path, body=chat_body(model), **more)


def test_the_first_rule_that_takes_it_and_its_chances():
    found = explain(gateway(), asked("/tech/v1/chat/completions"))
    assert (found.rule.name, found.match, found.answered) == ("tech", 0, None)
    assert [(each.choice.chain.first.label, each.chance) for each in found.options] == [
        ("pro", Fraction(7, 10)),
        ("max", Fraction(3, 10)),
    ]


def test_what_earlier_rules_lack():
    found = explain(gateway(), asked("/b/v1/chat/completions", headers={"x-n": "x"}))
    assert [each.rule for each in found.passed] == ["tech", "code"]
    assert found.passed[0].because == ("the path is not beginning with /tech/",)
    assert found.passed[1].because == (
        "the path is not /a or below it and model m is not code*",
        "there is no header x-team and header x-n is x and does not match [0-9]+",
        "the task is Dialog and not Code",
    )
    assert (found.answered.status, found.answered.code) == (404, "model_not_found")


@pytest.mark.parametrize(
    ("request_", "match"),
    [
        (asked("/a/v1/chat/completions", "codex"), 0),
        (asked(headers={"X-Team": "blue", "x-n": "12"}), 1),
        (asked(headers={"x-moltbot-task": "code"}), 2),
        (asked(model="coder"), 2),
    ],
)
def test_which_match(request_, match):
    found = explain(gateway(), request_)
    assert (found.rule.name, found.match) == ("code", match)


@pytest.mark.parametrize(
    ("request_", "status", "code"),
    [
        (asked(method="OPTIONS"), 405, "method_not_allowed"),
        (asked("/nothing"), 404, "unknown_url"),
        (Request("/v1/models", "GET"), 200, None),
        (Request("/v1/models/pro-1", "GET"), 200, None),
        (Request("/v1/models/other", "GET"), 404, "model_not_found"),
        (Request(body="{"), 400, None),
        (asked(headers={"x-moltbot-task": "x"}), 400, None),
        (Request(), 404, "no_matching_rule"),
    ],
)
def test_what_the_gateway_answers_itself(request_, status, code):
    found = explain(gateway(), request_).answered
    assert (found.status, found.code) == (status, code)


def test_consumers():
    auth = {"apiKey": {"secretRef": {"name": "k"}}}
    consumers = [
        {"name": "all", "auth": auth, "backends": ["pro", "max", "spare", "coder"]},
        {"name": "few", "auth": auth, "backends": ["coder"], "limits": {"requestsPerSecond": 5}},
    ]
    made = gateway(consumers=consumers)
    tech = "/tech/v1/chat/completions"
    assert explain(made, asked(tech)).answered.code == "invalid_api_key"
    assert explain(made, asked(tech, consumer="few")).answered.code == "out_of_scope"
    assert explain(made, asked(tech, consumer="all")).answered is None
    assert "pro-1" not in explain(made, Request("/v1/models", "GET", consumer="few")).answered.message
    told = document(made, explain(made, asked(model="coder", consumer="few")))
    assert told["consumerLimit"] == {"requestsPerSecond": 5, "burst": 5}
    assert "5 requests a second" in text(told)
    with pytest.raises(InvalidInput, match="no consumer nobody: choose one of its own \\(all, few\\)"):
        explain(made, asked(consumer="nobody"))
    assert explain(gateway(consumers=[]), asked()).answered.code == "no_consumers"


def test_a_rule_without_a_usable_backend():
    made = gateway(
        [rule("gone", ["nowhere"]), rule("bad", ["pro"], matches=[{"path": {"type": "Regex", "value": "("}}])]
    )
    found = explain(made, asked())
    assert (found.answered.status, found.answered.code) == (503, "no_usable_backend")
    made = gateway([rule("bad", ["pro"], matches=[{"path": {"type": "Regex", "value": "("}}])])
    assert explain(made, asked()).passed[0].because == ("none of its matches can be used",)


def test_a_body_that_the_script_can_not_write_a_model_into():
    made = gateway([rule("all", ["pro"])])
    assert explain(made, Request(body="[")).answered.status == 400


def test_auto_without_a_model_to_take():
    made = gateway([rule("any", ["bare"], matches=[{"model": ["auto"]}])], backends=[backend("bare")])
    assert explain(made, asked(model="auto")).answered.status == 400


def test_operations_on_stored_objects_stay_with_one_backend():
    found = explain(gateway(), Request("/tech/v1/files/f1", "GET"))
    assert [each.choice.chain.first.label for each in found.options] == ["pro"]
    assert len(found.options[0].choice.chain.backends) == 1


def test_the_document_and_the_text():
    made = gateway()
    told = document(made, explain(made, asked("/tech/v1/chat/completions")))
    assert json.loads(json.dumps(told)) == told
    assert told["candidates"][0]["attempts"] == ["pro", "max", "spare", "spare"]
    assert told["backends"][0]["credential"]["secret"] == "default/keys"
    said = text(told)
    for part in (
        "rule tech takes it",
        "70 %",
        "max → spare (2 times)",
        "Secret default/keys (token)",
        "50 % errors",
    ):
        assert part in said
    fastest = gateway([rule("all", ["pro", "max"], selection="LowestLatency")])
    assert "by latency" in text(document(fastest, explain(fastest, asked())))
    refused = document(made, explain(made, Request("/nothing")))
    assert "answers 404 unknown_url" in text(refused)


def chain_of(candidates, **failover):
    made = gateway([rule("all", candidates, failover=failover)]).rules[0]
    return made.choices[0].chain, made.retry


@pytest.mark.parametrize(
    ("fault", "on", "tries"),
    [
        (Fault.REFUSED, ["ConnectFailure"], 2),
        (Fault.REFUSED, ["Reset"], 2),
        (Fault.RESET, ["ConnectFailure"], 1),
        (Fault.STATUS_429, ["429"], 2),
        (Fault.STATUS_429, ["5xx"], 1),
        (Fault.STATUS_500, ["5xx"], 2),
        (Fault.STATUS_401, ["401"], 2),
        (Fault.SILENT, ["PerTryTimeout"], 2),
        (Fault.SILENT, ["ConnectFailure"], 1),
    ],
)
def test_the_next_backend_is_asked_if_the_rule_says_so(fault, on, tries):
    chain, retry = chain_of(["pro", "max"], maxRetries=1, retryOn=on)
    assert len(course(chain, retry, {"pro": fault}).tries) == tries


@pytest.mark.parametrize(
    ("fault", "tries"),
    [
        (Fault.STATUS_500, 5),
        (Fault.STATUS_429, 5),
        (Fault.STATUS_429_LONG, 2),
        (Fault.STATUS_401, 2),
        (Fault.REFUSED, 5),
        (Fault.SILENT, 2),
    ],
)
def test_the_last_backend_is_asked_again_where_that_may_help(fault, tries):
    on = ["ConnectFailure", "Reset", "5xx", "429", "401", "PerTryTimeout"]
    chain, retry = chain_of(["pro", "max"], maxRetries=4, retryOn=on)
    came = course(chain, retry, {"pro": fault, "max": fault})
    assert (len(came.tries), came.status, came.served) == (tries, fault.status, False)


def test_a_body_that_the_inner_tier_can_not_write_a_model_into():
    chain, retry = chain_of(["coder", "max"], maxRetries=1)
    came = course(chain, retry, {"coder": Fault.STATUS_500}, unreadable=400)
    assert came == type(came)(("coder", "max"), 400)
