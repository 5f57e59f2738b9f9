import re

import pytest

from moltbot_operator.api import Match
from moltbot_operator.compile.operations import (
    IS_OPERATION,
    JOB,
    MODEL,
    MODELS,
    REWRITE,
    rewritten,
    with_query,
)
from moltbot_operator.compile.patterns import PathCondition, condition, models_pattern, quote
from moltbot_operator.compile.re2 import fault


def path(kind, value):
    return condition(Match.model_validate({"path": {"type": kind, "value": value}})).path


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        ("Exact", "/a", PathCondition("exact", "/a")),
        ("Prefix", "/a/", PathCondition("segments", "/a")),
        ("Prefix", "/", PathCondition("prefix", "/")),
        ("Regex", "^/tech/", PathCondition("prefix", "/tech/")),
        ("Regex", "^/tech$", PathCondition("exact", "/tech")),
        ("Regex", "^tech", PathCondition("regex", "tech.*")),
        ("Regex", "a|b", PathCondition("regex", ".*(?:a|b).*")),
        ("Regex", "^/a.b$", PathCondition("regex", ".*(?:^/a.b$).*")),
    ],
)
def test_paths(kind, value, expected):
    assert path(kind, value) == expected


def test_a_match_without_path_takes_every_path_but_not_every_request():
    found = condition(Match.model_validate({"headers": [{"name": "X-A", "value": "b"}]}))
    assert found.path == PathCondition("prefix", "/")
    assert (found.headers[0].name, found.headers[0].regex) == ("x-a", False)
    assert not found.takes_everything


def test_models_become_one_expression():
    pattern = models_pattern(("gpt-4.1", "o*", 'a"\\b|c'))
    assert fault(pattern) is None
    for name in ("gpt-4.1", "o", "o3", 'a"\\b|c'):
        assert re.fullmatch(pattern, name)
    for name in ("gpt-4x1", "p", "c"):
        assert not re.fullmatch(pattern, name)


def test_quoting_says_exactly_the_text():
    for text in (r"a.b*c+d?e(f)g[h]i{j}k|l^m$n\o", "-_/:@ 中"):
        assert fault(quote(text)) is None
        assert re.fullmatch(quote(text), text)


@pytest.mark.parametrize("where", ["path", "headers"])
def test_a_bad_expression_is_named(where):
    bad = {"type": "Regex", "value": "(?=x)"}
    given = {"path": bad} if where == "path" else {"headers": [{"name": "x-a", **bad}]}
    assert "(?=x)" in condition(Match.model_validate(given))


@pytest.mark.parametrize(
    ("asked", "sent"),
    [
        ("/v1/chat/completions", "/p/chat/completions"),
        ("/tech/v1/chat/completions", "/p/chat/completions"),
        ("/tech/v1/x/v1/y", "/p/x/v1/y"),
        ("/tech/chat/completions", "/p/chat/completions"),
        ("/chat/completions", "/p/chat/completions"),
        ("/completions", "/p/completions"),
        ("/a/files/f-1/content", "/p/files/f-1/content"),
        ("/a/v10/embeddings", "/p/embeddings"),
        ("/a/responses/r_1/cancel", "/p/responses/r_1/cancel"),
        ("/a/audio/speech", "/p/audio/speech"),
    ],
)
def test_operations(asked, sent):
    assert re.fullmatch(IS_OPERATION, asked)
    assert re.fullmatch(IS_OPERATION, asked + "?x=/v1/?")
    assert re.sub(REWRITE, rewritten("/p"), asked) == sent


@pytest.mark.parametrize(
    "asked", ["/", "/v1", "/v1/", "/foo", "/foo?x=/v1/chat", "/chat/completionsx", "/v1x/chat"]
)
def test_no_operations(asked):
    assert not re.fullmatch(IS_OPERATION, asked)


def test_lists_of_models():
    assert [bool(re.fullmatch(MODELS, path)) for path in ("/v1/models", "/models", "/a/b/v1/models/")] == [
        True
    ] * 3
    assert not re.fullmatch(MODELS, "/v1/models/gpt-4o")


def test_a_prefix_with_a_backslash_stays_itself():
    assert re.sub(REWRITE, rewritten("/a\\1"), "/v1/x") == "/a\\1/x"


@pytest.mark.parametrize("expression", [JOB, MODEL, MODELS])
@pytest.mark.parametrize("query", ["", "?", "?limit=2", "?x=/v1/models/a", "?/models", "?a?b=/v1/jobs/1"])
@pytest.mark.parametrize(
    "path",
    [
        "/v1/models",
        "/models/",
        "/a/models/b",
        "/v1/models/a/b",
        "/v1/jobs/1",
        "/a/v1/jobs/1",
        "/v1/chat",
        "/",
    ],
)
def test_a_query_changes_nothing_of_what_a_path_is(expression, query, path):
    """The route table is asked by the whole path, and what explains it by the path alone."""
    assert bool(re.fullmatch(with_query(expression), path + query)) is bool(re.fullmatch(expression, path))
