"""Whatever is wrong with one rule or backend is named, and the rest serves as if it were not there."""

import pytest
from compile_given import backend, compiled, rule
from envoy_check import dangling, refusal

from moltbot_operator.conditions import Reason

GOOD = rule("good", ["a"], ["b"], matches=[{"path": {"type": "Prefix", "value": "/good"}}])
SOUND = [backend("a"), backend("b")]
HERE = [{"path": {"type": "Prefix", "value": "/bad"}}]
REASONS = (
    Reason.BACKEND_NOT_ACCEPTED,
    Reason.NOT_ALLOWED,
    Reason.LOOP,
    Reason.SECRET_NOT_FOUND,
    Reason.SECRET_KEY_NOT_FOUND,
    Reason.SECRET_VALUE_UNUSABLE,
    Reason.CONFIG_MAP_NOT_FOUND,
    Reason.CONFIG_MAP_KEY_NOT_FOUND,
)


def regex(value):
    return [{"path": {"type": "Regex", "value": value}}]


BAD = {
    "missing backend": (rule("bad", ["gone"], matches=HERE), [], "BackendNotFound", "default/gone"),
    **{
        f"backend with {reason}": (
            rule("bad", ["x"], matches=HERE),
            [backend("x", str(reason))],
            str(reason),
            "x has a problem",
        )
        for reason in REASONS
    },
    "backend in the pod itself": (
        rule("bad", ["x"], matches=HERE),
        [backend("x", endpoint={"url": "http://127.0.0.1:9901"})],
        "Loop",
        "default/x",
    ),
    "all backends missing": (
        rule("bad", ["x", "y"], ["z"], matches=HERE),
        [],
        "BackendNotFound",
        "default/z",
    ),
    "path expression": (rule("bad", ["a"], matches=regex("(")), [], "InvalidRegex", "matches[0]"),
    "lookaround": (rule("bad", ["a"], matches=regex("^/bad(?=x)")), [], "InvalidRegex", "matches[0]"),
    "an expression too large": (rule("bad", ["a"], matches=regex("(a{1000}){1000}")), [], "InvalidRegex", ""),
    "header expression": (
        rule("bad", ["a"], matches=[{"headers": [{"name": "x-a", "type": "Regex", "value": "[z-a]"}]}]),
        [],
        "InvalidRegex",
        "x-a",
    ),
}


def served(result, name):
    """Everything of Envoy's routes that carries the rule's name."""
    found = []

    def walk(node):
        if isinstance(node, dict):
            if node.get("name") == name and "match" in node:
                found.append(node)
            for value in node.values():
                walk(value)
        elif isinstance(node, list):
            for value in node:
                walk(value)

    walk(result.envoy["static_resources"]["listeners"])
    return found


@pytest.mark.parametrize("kind", BAD)
@pytest.mark.parametrize("first", [True, False])
def test_a_bad_rule_is_named_and_the_others_serve(kind, first, tmp_path):
    bad, more, reason, named = BAD[kind]
    rules = [bad, GOOD] if first else [GOOD, bad]
    result = compiled(rules, [*SOUND, *more])
    reports = {report.name: report for report in result.rules}
    assert not reports["bad"].serving
    assert reports["bad"].problem.reason == reason
    assert reports["bad"].problem.message.startswith("rule bad: ")
    assert named in reports["bad"].problem.message
    assert reports["good"].serving
    assert reports["good"].problem is None
    alone = served(compiled([GOOD], SOUND), "good")
    assert alone
    assert served(result, "good") == alone
    assert dangling(result.envoy) == set()
    if first:
        assert refusal(result, tmp_path) is None


@pytest.mark.parametrize("kind", [name for name in BAD if name.startswith("backend")])
def test_a_bad_backend_among_good_ones_is_left_out_of_its_rule(kind):
    _, more, reason, named = BAD[kind]
    for listed in (rule("r", ["a", "x"], ["b"]), rule("r", ["x"], ["b", "a"]), rule("r", ["a"], ["x", "b"])):
        result = compiled([listed], [*SOUND, *more])
        (report,) = result.rules
        assert report.serving
        assert report.problem.reason == reason
        assert named in report.problem.message
        assert not any(each["name"] == "up_x" for each in result.envoy["static_resources"]["clusters"])
        (bad,) = [each for each in result.backends if each.ref.name == "x"]
        assert bad.problem.reason == reason


def test_a_bad_match_does_not_take_the_rule_s_other_matches():
    result = compiled([rule("r", ["a"], matches=[*regex("("), *HERE])], SOUND)
    (report,) = result.rules
    assert report.serving
    assert report.problem.reason == "InvalidRegex"
