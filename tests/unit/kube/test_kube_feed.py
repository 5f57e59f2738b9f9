from types import SimpleNamespace

import pytest

from moltbot_operator.kube.cache import Cache
from moltbot_operator.kube.feed import Feed
from moltbot_operator.kube.kinds import CONFIG_MAP, MODEL_BACKEND
from moltbot_operator.kube.queue import Key

ROUTE_A, ROUTE_B = Key("Route", "ns", "a"), Key("Route", "ns", "b")


def thing(version, used_by=(), name="x", uid="u"):
    meta = {"name": name, "namespace": "ns", "uid": uid, "resourceVersion": str(version)}
    return {"metadata": {**meta, "labels": dict.fromkeys(used_by, "yes")}}


def affected(_, __, manifest):
    return [Key("Route", "ns", name) for name in manifest["metadata"]["labels"]]


@pytest.fixture
def bench():
    added = []
    queue = SimpleNamespace(add=added.append)
    return SimpleNamespace(feed=Feed(Cache(), queue, affected), added=added)


def test_a_new_object_queues_what_it_affects(bench):
    bench.feed.changed(MODEL_BACKEND, thing(1, ["a", "b"]))
    assert bench.added == [ROUTE_A, ROUTE_B]


def test_routes_go_before_backends():
    added = []
    keys = [Key("Backend", "ns", "a"), ROUTE_B, Key("Backend", "ns", "z"), ROUTE_A]
    Feed(Cache(), SimpleNamespace(add=added.append), lambda *_: keys).changed(MODEL_BACKEND, thing(1))
    assert added == [ROUTE_A, ROUTE_B, Key("Backend", "ns", "a"), Key("Backend", "ns", "z")]


def test_old_news_queues_nothing(bench):
    bench.feed.changed(MODEL_BACKEND, thing(5, ["a"]))
    bench.added.clear()
    bench.feed.changed(MODEL_BACKEND, thing(5, ["a"]))
    bench.feed.changed(MODEL_BACKEND, thing(4, ["b"]))
    assert bench.added == []


def test_a_change_queues_what_it_affected_and_what_it_affects(bench):
    bench.feed.changed(MODEL_BACKEND, thing(1, ["a"]))
    bench.added.clear()
    bench.feed.changed(MODEL_BACKEND, thing(2, ["b"]))
    assert bench.added == [ROUTE_A, ROUTE_B]


def test_a_deletion_queues_what_the_object_affected_once(bench):
    bench.feed.changed(CONFIG_MAP, thing(1, ["a"]))
    bench.added.clear()
    bench.feed.deleted(CONFIG_MAP, thing(2, ["a"]))
    assert bench.added == [ROUTE_A]
    bench.feed.deleted(CONFIG_MAP, thing(2, ["a"]))
    assert bench.added == [ROUTE_A]
    assert bench.feed.cache.get(CONFIG_MAP, "ns", "x") is None


def test_a_child_whose_label_was_taken_away_is_queued_for_its_owner(bench):
    """The watch says DELETED with the object as it is now: without the label that names its owner."""
    bench.feed.changed(CONFIG_MAP, thing(1, ["a"]))
    bench.added.clear()
    bench.feed.deleted(CONFIG_MAP, thing(2, []))
    assert bench.added == [ROUTE_A]
