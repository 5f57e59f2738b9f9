from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moltbot_operator.reconcile.differences import differences, quantity

SAME: list[tuple[Any, Any]] = [
    ({"a": 1}, {"a": 1, "filled": "in"}),
    ({"a": {"b": [1, 2]}}, {"a": {"b": [1, 2], "c": 3}}),
    ({"paused": False, "n": 0, "t": "", "l": [], "o": {}, "x": None}, {}),
    ({"o": {"inner": {"empty": []}}}, {}),
    ({"x": None}, {"x": "anything"}),
    ({"ports": [{"port": 80}]}, {"ports": [{"port": 80, "protocol": "TCP"}]}),
    ({"containers": [{"name": "a"}]}, {"containers": [{"name": "sidecar"}, {"name": "a", "image": "x"}]}),
    ({"limits": {"cpu": "1000m"}}, {"limits": {"cpu": "1"}}),
    ({"requests": {"memory": "1024Mi"}}, {"requests": {"memory": "1Gi"}}),
    ({"emptyDir": {"sizeLimit": "64Mi"}}, {"emptyDir": {"sizeLimit": "65536Ki"}}),
    ({"limits": {"cpu": 2}}, {"limits": {"cpu": "2"}}),
    ({"selector": {"a": "b"}}, {"selector": {"a": "b"}}),
]

DIFFERENT: list[tuple[Any, Any, list[str]]] = [
    ({"a": 1}, {"a": 2}, ["a"]),
    ({"a": 1}, {}, ["a"]),
    ({"a": {"b": "x"}}, {"a": {"b": "y", "c": "z"}}, ["a.b"]),
    ({"a": {"b": "x"}}, {"a": "text"}, ["a"]),
    ({"paused": False}, {"paused": True}, ["paused"]),
    ({"ports": [{"port": 80}]}, {"ports": [{"port": 80}, {"port": 81}]}, ["ports"]),
    ({"ports": [{"port": 80}]}, {"ports": [{"port": 81}]}, ["ports[0].port"]),
    (
        {"containers": [{"name": "a", "image": "x"}]},
        {"containers": [{"name": "a", "image": "y"}]},
        ["containers[a].image"],
    ),
    ({"containers": [{"name": "a"}]}, {"containers": []}, ["containers[a]"]),
    ({"imagePullSecrets": [{"name": "a"}]}, {"imagePullSecrets": ["odd"]}, ["imagePullSecrets[a]"]),
    ({"selector": {"a": "b"}}, {"selector": {"a": "b", "more": "c"}}, ["selector.more"]),
    (
        {"selector": {"matchLabels": {"a": "b"}}},
        {"selector": {"matchLabels": {"a": "b", "c": "d"}}},
        ["selector.matchLabels.c"],
    ),
    ({"limits": {"cpu": "1000m"}}, {"limits": {"cpu": "2"}}, ["limits.cpu"]),
    ({"limits": {"cpu": "odd"}}, {"limits": {"cpu": "even"}}, ["limits.cpu"]),
    ({"cpu": "1000m"}, {"cpu": "1"}, ["cpu"]),
    ({"text": "abc"}, {"text": ["a", "b", "c"]}, ["text"]),
]


@pytest.mark.parametrize(("desired", "live"), SAME)
def test_nothing_to_write(desired: Any, live: Any) -> None:
    assert differences(desired, live) == []


@pytest.mark.parametrize(("desired", "live", "paths"), DIFFERENT)
def test_something_to_write_is_named(desired: Any, live: Any, paths: list[str]) -> None:
    assert differences(desired, live) == paths


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("1", "1"),
        ("1500m", "1.5"),
        ("1Ki", "1024"),
        ("2M", "2000000"),
        ("1e3", "1000"),
        ("1E-2", "0.01"),
        ("3u", "0.000003"),
        ("1E", "1000000000000000000"),
        ("0.5", "0.5"),
    ],
)
def test_quantities(text: str, number: str) -> None:
    assert quantity(text) == Decimal(number)


@pytest.mark.parametrize("text", ["", "x", "1.2.3", ".", "1Q", "-1"])
def test_no_quantities(text: str) -> None:
    assert quantity(text) is None


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=5)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=10,
)


@given(JSON)
def test_an_object_never_differs_from_itself(value: Any) -> None:
    assert differences(value, value) == []


@given(
    st.dictionaries(st.text(max_size=5), JSON, max_size=3),
    st.dictionaries(st.text(max_size=5), JSON, max_size=3),
)
def test_what_others_add_is_no_difference(ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    assert differences(ours, {**theirs, **ours}) == []
