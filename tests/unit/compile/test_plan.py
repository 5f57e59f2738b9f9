"""Which backends serve a rule, in which order, by which clusters."""

import re

import pytest
from compile_given import backend, clusters, compiled, ref, rule, walk

from moltbot_operator.compile import Files
from moltbot_operator.compile.envoy.retry import up_to

AGAIN_B = "x_b|59750000|/v1"
"""b by the inner tier, before it is asked again: may be silent for 59.75 s, less than the route waits."""


def test_each_candidate_has_its_own_order():
    result = compiled([rule("r", {"a": 5, "b": 3, "c": 2}, ["f"])], [backend(name) for name in "abcf"])
    found = clusters(result)
    assert found["chain_0"] == ["up_a", "x_b", "x_c", "x_f"]
    assert found["chain_1"] == ["up_b", "x_c", "x_a", "x_f"]
    assert found["chain_2"] == ["up_c", "x_a", "x_b", "x_f"]
    draw = next(each["draw"] for each in walk(result.envoy) if "draw" in each)
    assert draw["upto"] == [5, 8, 10]
    assert draw["to"] == ["r/0", "r/1", "r/2"]


def test_the_last_entry_takes_the_attempts_that_are_left():
    found = clusters(
        compiled([rule("r", ["a"], ["b"], failover={"maxRetries": 4})], [backend("a"), backend("b")])
    )
    assert found["chain_0"] == ["up_a", *[AGAIN_B] * 4]


def test_a_weight_of_zero_takes_further_attempts_only():
    found = clusters(compiled([rule("r", {"a": 1, "b": 0})], [backend("a"), backend("b")]))
    assert {name: members for name, members in found.items() if members} == {
        "chain_0": ["up_a", *[AGAIN_B] * 3]
    }


def test_equal_chains_are_shared_and_others_are_as_long_as_their_attempts():
    rules = [
        rule("one", ["a"], ["b"], failover={"maxRetries": 1}),
        rule("same", ["a"], ["b"], failover={"maxRetries": 0}, matches=[{"model": ["s"]}]),
        rule("two", ["a"], ["b"], failover={"maxRetries": 5}, matches=[{"model": ["m"]}]),
    ]
    found = clusters(compiled(rules, [backend("a"), backend("b")]))
    assert [len(members) for members in found.values() if members] == [2, 6]


def test_a_backend_with_a_rate_is_asked_by_the_inner_tier_and_costs_no_attempt():
    given = [backend("a", limits={"requestsPerSecond": 5}), backend("b"), backend("c")]
    result = compiled([rule("r", ["a"], ["b", "c"], failover={"maxRetries": 1})], given)
    assert clusters(result)["chain_0"] == ["x_a", "x_b", "x_c"]
    assert [each["num_retries"] for each in walk(result.envoy) if "retriable_headers" in each][-1:] == [2]
    buckets = [each["token_bucket"] for each in walk(result.envoy) if "token_bucket" in each]
    assert buckets == [{"max_tokens": 5, "tokens_per_fill": 5, "fill_interval": "1s"}]


@pytest.mark.parametrize("longest", [0, 1, 2, 9, 10, 19, 20, 47, 99, 100, 305, 600])
def test_a_wait_fits_up_to_the_longest_pause(longest):
    expression = re.compile(up_to(longest))
    fitting = {number for number in range(2000) if expression.fullmatch(str(number))}
    assert fitting == set(range(longest + 1))
    assert not [text for text in ("", "01", "-1", "1.5", "x") if expression.fullmatch(text)]


def test_a_single_backend_needs_no_chain_and_no_script():
    result = compiled([rule("r", ["a"])], [backend("a")])
    assert list(clusters(result)) == ["up_a"]
    listeners = [each["name"] for each in result.envoy["static_resources"]["listeners"]]
    assert listeners == ["public", "ready", "probe"]
    asleep = [
        each for each in walk(result.envoy) if each.get("filter_context", {}) not in ({}, {"act": "model"})
    ]
    assert not asleep
    assert not [each for each in walk(result.envoy) if "draw" in each]


def test_only_used_backends_are_configured():
    assert list(clusters(compiled([rule("r", ["a"])], [backend("a"), backend("b")]))) == ["up_a"]


def test_what_cannot_be_used_is_left_out_and_reported():
    rules = [rule("r", {"a": 1, "gone": 1}, ["ill"]), rule("none", ["gone"], matches=[{"model": ["m"]}])]
    result = compiled(rules, [backend("a"), backend("ill", "SecretNotFound")])
    assert list(clusters(result)) == ["up_a"]
    first, second = result.rules
    assert (first.serving, first.problem.reason) == (True, "BackendNotFound")
    assert "default/gone" in first.problem.message
    assert "ill has a problem" in first.problem.message
    assert (second.serving, second.problem.reason) == (False, "BackendNotFound")
    reports = {str(each.ref): each for each in result.backends}
    assert reports["default/a"].problem is None
    assert reports["default/ill"].problem.reason == "SecretNotFound"
    assert [reports[name].weight for name in ("default/a", "default/gone", "default/ill")] == [1, 2, 0]


def test_candidates_without_weight_serve_when_the_others_are_missing():
    result = compiled([rule("r", {"gone": 1, "a": 0}, ["b"])], [backend("a"), backend("b")])
    assert clusters(result)["chain_0"][:2] == ["up_a", AGAIN_B]


def test_backends_of_other_namespaces_have_their_own_names():
    given = [rule("r", ["a", "models/a"], failover={"maxRetries": 1})]
    result = compiled(given, [backend("a"), backend("models/a")])
    assert {"up_a", "up_models/a", "x_a", "x_models/a"} <= set(clusters(result))
    assert result.agent.clusters == {"up_a": "default/a", "up_models/a": "models/a"}


def test_the_first_attempt_takes_the_inner_tier_where_another_keeps_the_clients_model():
    found = clusters(compiled([rule("r", ["a"], ["b"])], [backend("a", model="m"), backend("b")]))
    assert found["chain_0"][:2] == ["x_a", AGAIN_B]


def test_the_first_attempt_takes_the_inner_tier_where_another_may_wait_longer():
    given = [backend("a", timeouts={"firstByte": "1s"}), backend("b")]
    assert clusters(compiled([rule("r", ["a"], ["b"])], given))["chain_0"][0] == "x_a"
    limited = [rule("r", ["a"], ["b"], failover={"perTryTimeout": "2s"})]
    assert clusters(compiled(limited, given))["chain_0"][0] == "up_a"


def test_a_rule_whose_every_match_is_bad_takes_nothing():
    bad = rule("bad", ["a"], matches=[{"path": {"type": "Regex", "value": "("}}])
    result = compiled([bad, rule("rest", ["a"])], [backend("a")])
    assert (result.rules[0].serving, result.rules[0].problem.reason) == (False, "InvalidRegex")
    assert not [each for each in walk(result.envoy) if each.get("name") == "bad"]


def test_limits_lead_to_what_comes_next():
    given = [backend("a", limits={"maxConnections": 3, "maxPendingRequests": 2}), backend("b"), backend("c")]
    rules = [
        rule("three", ["a"], ["b", "c"]),
        rule("two", ["a"], ["b"], matches=[{"model": ["2"]}]),
        rule("one", ["a"], matches=[{"model": ["1"]}]),
    ]
    result = compiled(rules, given)
    public, _, probe, _ = result.envoy["static_resources"]["listeners"]
    scripts, again = (
        [each["source_code"]["inline_string"] for each in walk(listener) if "source_code" in each]
        for listener in (public, probe)
    )
    assert scripts == again
    assert all("< 5 " in text for text in scripts)
    assert [text.split('"')[1::2][1:] for text in scripts] == [
        ["chain_0", "spill_0"],
        ["up_a", "full"],  # of the rules for stored objects, and of the last rule
        ["chain_2", "spill_2"],
    ]
    assert clusters(result)["spill_0"] == ["x_b", *["x_c|59750000|/v1"] * 3]
    assert clusters(result)["spill_2"] == [AGAIN_B] * 4


def test_reports_keep_the_order_of_the_spec():
    names = ["z", "a", "m"]
    result = compiled([rule(name, ["a"], matches=[{"model": [name]}]) for name in names], [backend("a")])
    assert [each.name for each in result.rules] == names
    assert [each.ref for each in result.backends] == [ref("a")]


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1", "127.1", "0x7f000001", "2130706433", "0.0.0.0", "169.254.169.254"),
        *("localhost", "a.localhost", "[::1]", "[::ffff:127.0.0.1]", "[::]"),
    ],
)
def test_a_backend_cannot_be_the_gateways_own_pod_or_node(host):
    given = backend("a", endpoint={"url": f"http://{host}:9901/"})
    result = compiled([rule("one", ["a"])], [given])
    (report,) = result.rules
    assert not report.serving
    assert report.problem is not None
    assert (report.problem.reason, "gateway's own pod or node" in report.problem.message) == ("Loop", True)


def test_on_one_machine_a_backend_may_be_beside_the_gateway():
    given = backend("a", endpoint={"url": "http://127.0.0.1:9000/v1"})
    assert compiled([rule("one", ["a"])], [given], files=Files(loopback=True)).rules[0].serving


@pytest.mark.parametrize("host", ["10.0.0.1", "example.com", "localhost.example", "1.2.3.4"])
def test_other_hosts_are_not_taken_for_the_pod(host):
    assert (
        compiled([rule("one", ["a"])], [backend("a", endpoint={"url": f"http://{host}/v1"})]).rules[0].serving
    )
