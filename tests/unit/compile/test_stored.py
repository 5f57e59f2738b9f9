"""Operations on stored objects stay with one backend."""

import re

import pytest
from compile_given import backend, compiled, rule, walk

from moltbot_operator.compile.operations import IS_STORED


@pytest.mark.parametrize(
    "path",
    [
        "/v1/files",
        "/v1/files?purpose=batch",
        "/tech/v1/files/file-1/content",
        "/tech/files/file-1",
        "/v1/batches/b/cancel",
        "/v1/responses",
        "/v1/responses/resp_1/input_items?limit=3",
        "/v1/uploads/u/parts",
        "/v1/vector_stores/v/files",
        "/v1/chat/completions/chatcmpl-1",
        "/v1/messages/batches/m",
        "/v1/models/ft:mine",
    ],
)
def test_paths_of_stored_objects(path):
    assert re.fullmatch(IS_STORED, path)


@pytest.mark.parametrize(
    "path",
    [
        "/v1/chat/completions",
        "/files/v1/chat/completions",
        "/files/chat/completions",
        "/v1/chat/completions?x=/v1/files",
        "/v1/filesystem",
        "/v1/messages/count_tokens",
        "/v1/models",
        "/v1/embeddings",
    ],
)
def test_other_paths(path):
    assert not re.fullmatch(IS_STORED, path)


def lists(result):
    """Route lists of the public listener: of stored objects (None without), and of the others."""
    public = next(each for each in result.envoy["static_resources"]["listeners"] if each["name"] == "public")
    matcher = next(each["matcher"] for each in walk(public) if "matcher" in each)
    entrance = matcher["on_no_match"]["matcher"]
    (others,) = entrance["matcher_list"]["matchers"]
    before = others["on_match"]["matcher"]["matcher_list"]["matchers"]
    stored = [
        each["on_match"]
        for each in before
        if any(found.get("regex") == IS_STORED for found in walk(each["predicate"]))
    ]
    return tuple(
        each["action"]["typed_config"]["routes"] if each else None
        for each in (next(iter(stored), None), entrance["on_no_match"])
    )


def test_with_one_backend_nothing_is_added():
    stored, _ = lists(compiled([rule("r", ["a"])], [backend("a")]))
    assert stored is None


def test_with_several_the_first_with_a_weight_keeps_them():
    given = [backend("a"), backend("b"), backend("c")]
    result = compiled([rule("r", {"a": 0, "b": 3}, ["c"])], given)
    stored, others = lists(result)
    assert [each["route"]["cluster"] for each in stored if "route" in each] == ["up_b"]
    (drawn,) = [each for each in others if "route" in each]
    assert drawn["route"]["cluster"].startswith("chain_")


def test_if_it_cannot_be_used_no_other_takes_its_place():
    stored, others = lists(compiled([rule("r", {"gone": 1, "b": 1})], [backend("b")]))
    (refused,) = [each for each in stored if each.get("name") == "r"]
    assert refused["direct_response"]["status"] == 503
    assert any("route" in each for each in others)


def test_its_model_is_written():
    given = [backend("a", model="a-v1"), backend("b")]
    stored, _ = lists(compiled([rule("r", ["a", "b"])], given))
    (draw,) = [each["metadata"]["filter_metadata"] for each in stored if each.get("name") == "r"]
    assert next(iter(draw.values()))["draw"] == {"upto": [1], "to": ["r/kept/0"], "models": ['"a-v1"']}
