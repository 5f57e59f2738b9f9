"""Drills: which backends are cut off, and that nothing but test requests knows of it."""

from compile_given import backend, clusters, compiled, rule, sources, walk
from hypothesis import given, settings
from hypothesis import strategies as st

from moltbot_operator.compile.drill import drills as planned
from moltbot_operator.compile.plan import plan

DRILLED = {"rollout": {"testing": {"faultDrill": True}}}
BACKENDS = [backend("a"), backend("b"), backend("c")]


def drills(*rules, backends=None):
    given = sources(list(rules), BACKENDS if backends is None else backends, spec=DRILLED)
    return {each.key: each for each in planned(plan(given).gateway)}


def shown(*rules, backends=None):
    return {key: each.shown() for key, each in drills(*rules, backends=backends).items()}


def test_each_candidate_with_a_weight_in_turn_and_then_all_of_them():
    found = drills(rule("r", {"a": 70, "b": 30}, ["c"]))
    assert {key: (each.cut, each.left) for key, each in found.items()} == {
        "r/a": (("a",), ("b", "c")),
        "r/b": (("b",), ("a", "c")),
        "r": (("a", "b"), ("c",)),
    }


def test_one_candidate_is_cut_off_once():
    assert list(drills(rule("r", ["a"], ["c"]))) == ["r/a"]


def test_a_rule_without_another_backend_has_no_drill():
    assert drills(rule("r", ["a"]), rule("s", ["a"], ["b"])).keys() == {"s/a"}


def test_candidates_without_a_fallback_are_not_all_cut_off():
    assert list(drills(rule("r", ["a", "b"]))) == ["r/a", "r/b"]


def test_the_request_names_a_model_that_the_rule_takes():
    named = rule("r", ["a"], ["b"], matches=[{"model": ["gpt-4o"]}])
    assert shown(named)["r/a"]["model"] == "gpt-4o"


def test_embeddings_are_asked_of_backends_that_make_nothing_else():
    both = [backend(name, capabilities=["Embedding"]) for name in "ab"]
    assert shown(rule("r", ["a"], ["b"]), backends=both)["r/a"]["embeds"]
    assert not shown(rule("r", ["a"], ["b"]))["r/a"]["embeds"]


def test_without_the_field_there_is_nothing_of_it():
    result = compiled([rule("r", {"a": 70, "b": 30}, ["c"])], BACKENDS)
    assert not [name for name in clusters(result) if "cut" in name or "drill" in name]


@settings(deadline=None, max_examples=30)
@given(
    st.lists(st.sampled_from("abc"), min_size=1, max_size=3, unique=True),
    st.lists(st.sampled_from("abc"), max_size=2, unique=True),
)
def test_the_public_listener_leads_to_no_drill(candidates, fallback):
    others = [each for each in fallback if each not in candidates]
    result = compiled([rule("r", candidates, others)], BACKENDS, spec=DRILLED)
    public, *_ = (each for each in result.envoy["static_resources"]["listeners"] if each["name"] == "public")
    named = {node.get("cluster") for node in walk(public)}
    drilled = {name for name in clusters(result) if name.startswith("drill_") or "cut" in name}
    assert not named & drilled
    for each in drills(rule("r", candidates, others)).values():
        assert each.left
        assert not set(each.cut) & set(each.left)
