"""What is called unreachable is never reached: compared with a matcher that tries requests."""

import re
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moltbot_operator.api import Match
from moltbot_operator.compile.operations import IS_OPERATION
from moltbot_operator.compile.patterns import EVERY_PATH, RequestCondition, condition
from moltbot_operator.compile.shadows import covers, shadows

PREFIXES = ["", "/a", "/a/b", "/ab", "/a/", "/A", "/b"]
OPERATIONS = ["/v1/chat/completions", "/v1/x", "/embeddings", "/v1/a"]
REQUESTS = [
    (prefix + operation, team, model)
    for prefix, operation, team, model in product(
        PREFIXES, OPERATIONS, [None, "blue", "red"], [None, "gpt-4o", "gpt-4", "o3", "gpt"]
    )
]
assert all(re.fullmatch(IS_OPERATION, path) for path, _, _ in REQUESTS)

PATHS = [
    *({"type": "Prefix", "value": value} for value in ("/", "/a", "/a/", "/a/b", "/ab", "/b/v1", "/v1")),
    *({"type": "Exact", "value": value} for value in ("/v1/x", "/a/v1/x", "/embeddings", "/nothing", "/a")),
    *(
        {"type": "Regex", "value": value}
        for value in ("^/a", "^/a/", "^/a$", "^/a*", "^/a/b?", "^/a/|^/b", "^/a/(b|c)", "^/a/.*x$", "^/a{0}")
    ),
    *({"type": "Regex", "value": value} for value in ("a", "/", "(?i:^/a/)", "^(?i:/A/)", "^/a(?i:/V1)")),
]
HEADERS = [
    [{"name": "X-Team", "value": "blue"}],
    [{"name": "x-team", "value": "red"}],
    [{"name": "x-team", "type": "Regex", "value": "b.*|r.*"}],
]
MODELS = [["gpt-4o"], ["gpt-4"], ["gpt-*"], ["gpt*"], ["*"], ["o3", "gpt-4"], ["gpt-4o", "gpt-4*"]]
MATCHES = st.fixed_dictionaries(
    {"path": st.sampled_from(PATHS)},
    optional={"headers": st.sampled_from(HEADERS), "model": st.sampled_from(MODELS)},
)
CONDITIONS = MATCHES.map(lambda given_match: condition(Match.model_validate(given_match)))


def matches(found, request):
    """As Envoy compares, by Python's means."""
    path, team, model = request
    kind, value = found.path.kind, found.path.value
    right = {
        "exact": lambda: path == value,
        "prefix": lambda: path.startswith(value),
        "segments": lambda: path == value or path.startswith(f"{value}/"),
        "regex": lambda: re.fullmatch(value, path) is not None,
    }[kind]()
    for header in found.headers:
        ours = team is not None and (
            re.fullmatch(header.value, team) is not None if header.regex else header.value == team
        )
        right = right and ours
    if found.models is not None:
        right = right and model is not None and re.fullmatch(found.models, model) is not None
    return right


EACH = [
    *({"path": each} for each in PATHS),
    *({"path": PATHS[1], "headers": each} for each in HEADERS),
    *({"path": PATHS[1], "model": each} for each in MODELS),
]


def test_every_pair_is_compared_rightly():
    made_conditions = [condition(Match.model_validate(each)) for each in EACH]
    taken = [{request for request in REQUESTS if matches(each, request)} for each in made_conditions]
    for (one, ours), (other, theirs) in product(zip(made_conditions, taken, strict=True), repeat=2):
        if covers(one, other):
            assert theirs <= ours, (one, other)


@given(CONDITIONS, CONDITIONS)
def test_what_is_covered_never_matches_alone(one, other):
    if covers(one, other):
        assert all(matches(one, request) for request in REQUESTS if matches(other, request))


@given(st.lists(st.lists(CONDITIONS, min_size=1, max_size=3), min_size=1, max_size=5))
def test_a_rule_that_is_called_unreachable_gets_no_request(conditions):
    rules = [(f"r{number}", listed) for number, listed in enumerate(conditions)]
    silent = {shadow.rule for shadow in shadows(rules)}
    for request in REQUESTS:
        first = next((name for name, listed in rules if any(matches(each, request) for each in listed)), None)
        assert first not in silent


def made(*given_matches):
    return [condition(Match.model_validate(each)) for each in given_matches] or [RequestCondition(EVERY_PATH)]


def path(kind, value, **more):
    return {"path": {"type": kind, "value": value}, **more}


@pytest.mark.parametrize(
    ("earlier", "later"),
    [
        ([], [path("Regex", "x")]),
        ([path("Prefix", "/a")], [path("Prefix", "/a/b")]),
        ([path("Prefix", "/a")], [path("Exact", "/a/v1/x")]),
        ([path("Prefix", "/a")], [path("Regex", "^/a/.*chat")]),
        ([path("Regex", "^/a")], [path("Prefix", "/ab")]),
        ([path("Regex", "^/a")], [path("Regex", "^/ab+/x")]),
        ([path("Regex", "a|b")], [path("Regex", "a|b", model=["m"])]),
        ([path("Prefix", "/a")], [path("Prefix", "/a", headers=[{"name": "X-A", "value": "b"}])]),
        ([{"model": ["gpt-*"]}], [{"model": ["gpt-4o", "gpt-4*"]}]),
        ([{"model": ["a"]}, {"model": ["b"]}], [{"model": ["a", "b"]}]),
        ([path("Prefix", "/a"), path("Prefix", "/b")], [path("Prefix", "/b/c"), path("Prefix", "/a")]),
        ([path("Prefix", "/never")], [path("Exact", "/no/operation")]),
    ],
)
def test_shadowed(earlier, later):
    rules = [*((f"e{number}", made(each)) for number, each in enumerate(earlier)), ("late", made(*later))]
    if not earlier:
        rules = [("e0", made()), *rules]
    assert [shadow.rule for shadow in shadows(rules)] == ["late"]


@pytest.mark.parametrize(
    ("earlier", "later"),
    [
        ([path("Prefix", "/a")], [path("Prefix", "/ab")]),
        ([path("Prefix", "/a/b")], [path("Prefix", "/a")]),
        ([path("Prefix", "/a")], [path("Regex", "^/a*")]),
        ([path("Prefix", "/a")], [path("Regex", "^/a/|^/b")]),
        ([path("Prefix", "/a")], [path("Regex", "/a/")]),
        ([path("Exact", "/v1/x")], [path("Prefix", "/v1/x")]),
        ([path("Prefix", "/a", model=["m"])], [path("Prefix", "/a")]),
        ([path("Prefix", "/a", headers=[{"name": "x-a", "value": "b"}])], [path("Prefix", "/a")]),
        ([{"model": ["gpt-4"]}], [{"model": ["gpt-4*"]}]),
        ([{"model": ["a"]}], [{"model": ["a", "b"]}]),
        ([path("Prefix", "/a")], [path("Prefix", "/a/b"), path("Prefix", "/c")]),
    ],
)
def test_not_shadowed(earlier, later):
    rules = [*((f"e{number}", made(each)) for number, each in enumerate(earlier)), ("late", made(*later))]
    assert list(shadows(rules)) == []
