import pytest
from hypothesis import given
from hypothesis import strategies as st

from moltbot_operator.constants import LABEL_ROUTE
from moltbot_operator.kube.cache import Cache
from moltbot_operator.kube.kinds import CONFIG_MAP, DEPLOYMENT, NAMESPACE, SECRET


def thing(name="a", version=1, *, uid=None, namespace="ns", route=None, **rest):
    meta = {
        "name": name,
        "namespace": namespace,
        "uid": uid or f"uid-{name}",
        "resourceVersion": str(version),
    }
    if route:
        meta["labels"] = {LABEL_ROUTE: route}
    return {"metadata": meta, **rest}


@pytest.fixture
def cache():
    return Cache()


def test_what_was_put_is_found_with_its_kind_and_without_managed_fields(cache):
    manifest = thing(spec={"replicas": 1})
    manifest["metadata"]["managedFields"] = [{"manager": "x"}]
    assert cache.put(DEPLOYMENT, manifest)
    found = cache.get(DEPLOYMENT, "ns", "a")
    assert (found["apiVersion"], found["kind"], found["spec"]) == ("apps/v1", "Deployment", {"replicas": 1})
    assert "managedFields" not in found["metadata"]
    assert "managedFields" in manifest["metadata"], "the caller's object is left alone"


def test_absent_objects_are_none(cache):
    assert cache.get(DEPLOYMENT, "ns", "a") is None
    cache.put(DEPLOYMENT, thing())
    assert cache.get(DEPLOYMENT, "other", "a") is None
    assert cache.get(SECRET, "ns", "a") is None


def test_an_older_or_the_same_version_is_no_news(cache):
    assert cache.put(DEPLOYMENT, thing(version=10, spec=10))
    assert not cache.put(DEPLOYMENT, thing(version=10, spec=10))
    assert not cache.put(DEPLOYMENT, thing(version=9, spec=9))
    assert cache.get(DEPLOYMENT, "ns", "a")["spec"] == 10
    assert cache.put(DEPLOYMENT, thing(version=100, spec=100)), "100 > 9 as numbers, not as text"


def test_an_object_made_anew_replaces_its_namesake(cache):
    cache.put(DEPLOYMENT, thing(version=10, uid="old"))
    assert cache.put(DEPLOYMENT, thing(version=20, uid="new"))
    assert not cache.remove(DEPLOYMENT, thing(version=15, uid="old")), "the deletion was the old one's"
    assert cache.get(DEPLOYMENT, "ns", "a")["metadata"]["uid"] == "new"


def test_a_deleted_object_does_not_come_back_from_an_older_listing(cache):
    cache.put(DEPLOYMENT, thing(version=5))
    assert cache.remove(DEPLOYMENT, thing(version=8))
    assert not cache.put(DEPLOYMENT, thing(version=6))
    assert cache.get(DEPLOYMENT, "ns", "a") is None
    assert not cache.remove(DEPLOYMENT, thing(version=8)), "gone already"


def test_an_object_that_regains_its_label_comes_back(cache):
    cache.put(DEPLOYMENT, thing(version=5))
    cache.remove(DEPLOYMENT, thing(version=8))
    assert cache.put(DEPLOYMENT, thing(version=9))


def test_what_a_snapshot_misses_is_removed_only_if_it_has_not_changed_since(cache):
    snapshot = thing(version=5)
    cache.put(DEPLOYMENT, snapshot)
    cache.put(DEPLOYMENT, thing(version=7))
    assert not cache.remove(DEPLOYMENT, snapshot)
    assert cache.get(DEPLOYMENT, "ns", "a") is not None


def test_children_are_found_by_their_route_in_order(cache):
    for name, route in (("c", "r"), ("a", "r"), ("b", "s"), ("d", None)):
        cache.put(CONFIG_MAP, thing(name, route=route))
    cache.put(CONFIG_MAP, thing("a", namespace="elsewhere", uid="e", route="r"))
    cache.put(DEPLOYMENT, thing("x", route="r"))
    assert [each["metadata"]["name"] for each in cache.owned_by("ns", "r", CONFIG_MAP)] == ["a", "c"]
    cache.put(CONFIG_MAP, thing("a", 2, route="s"))
    cache.remove(CONFIG_MAP, thing("c", 2, route="r"))
    assert cache.owned_by("ns", "r", CONFIG_MAP) == []
    assert [each["metadata"]["name"] for each in cache.owned_by("ns", "s", CONFIG_MAP)] == ["a", "b"]


def test_metadata_only_objects_hold_no_content(cache):
    assert cache.put(SECRET, thing(data={"key": "c2VjcmV0"}, version=3), metadata_only=True)
    found = cache.get(SECRET, "ns", "a")
    assert "data" not in found
    assert found["kind"] == "PartialObjectMetadata"
    assert found["metadata"]["resourceVersion"] == "3"


@pytest.mark.parametrize("first", ["the other watch", "ours"])
def test_a_child_that_loses_our_label_is_still_there_as_metadata(cache, first):
    cache.put(SECRET, thing(version=1, route="r", data={"a": "b"}))
    if first == "ours":
        cache.remove(SECRET, thing(version=2))
        cache.put(SECRET, thing(version=2), metadata_only=True)
    else:
        cache.put(SECRET, thing(version=2), metadata_only=True)
        assert [each["kind"] for each in cache.list(SECRET)] == ["Secret"], "listed once"
        cache.remove(SECRET, thing(version=2))
    assert [each["kind"] for each in cache.list(SECRET)] == ["PartialObjectMetadata"]
    assert cache.owned_by("ns", "r", SECRET) == []


def test_lists_by_namespace_and_over_all(cache):
    for namespace in ("x", "y"):
        for name in ("a", "b"):
            cache.put(CONFIG_MAP, thing(name, namespace=namespace, uid=f"{namespace}{name}"))
    cache.put(CONFIG_MAP, thing("users", namespace="x", uid="u"), metadata_only=True)
    assert len(list(cache.list(CONFIG_MAP))) == 5
    assert sorted(each["metadata"]["name"] for each in cache.list(CONFIG_MAP, "x")) == ["a", "b", "users"]
    assert list(cache.list(CONFIG_MAP, "z")) == []
    assert cache.count(CONFIG_MAP) == 5
    assert len(cache.held(CONFIG_MAP, metadata_only=True)) == 1


def test_cluster_scoped_objects_have_the_empty_namespace(cache):
    cache.put(NAMESPACE, {"metadata": {"name": "ns", "uid": "u", "resourceVersion": "1"}}, metadata_only=True)
    assert cache.get(NAMESPACE, "", "ns") is not None


def test_listeners_are_told_of_everything_once(cache):
    told = []
    cache.put(CONFIG_MAP, thing("before"))
    cache.subscribe(
        lambda kind, before, after: told.append(
            (kind.kind, before and before["spec"], after and after.get("spec"))
        )
    )
    cache.put(DEPLOYMENT, thing(version=1, spec=1))
    cache.put(DEPLOYMENT, thing(version=1, spec=1))
    cache.put(DEPLOYMENT, thing(version=2, spec=2))
    cache.remove(DEPLOYMENT, thing(version=3))
    assert told == [
        ("ConfigMap", None, None),
        ("Deployment", None, 1),
        ("Deployment", 1, 2),
        ("Deployment", 2, None),
    ]


HISTORY = st.lists(st.sampled_from(["put", "delete"]), min_size=1, max_size=8)


@given(HISTORY, st.data())
def test_in_whatever_order_events_arrive_the_newest_one_wins(history, data):
    """One object's versions 1, 2…, possibly deleted and made anew; delivered shuffled and repeated."""
    events, uid = [], 0
    for version, what in enumerate(history, start=1):
        events.append((what, thing(version=version, uid=f"uid-{uid}", spec=version)))
        if what == "delete":
            uid += 1
    delivered = data.draw(st.permutations(events + events))
    # Between two lives of a name, only order tells them apart: watches deliver one name's lives in order.
    delivered.sort(key=lambda event: int(event[1]["metadata"]["uid"].removeprefix("uid-")))
    cache = Cache()
    for what, manifest in delivered:
        (cache.put if what == "put" else cache.remove)(DEPLOYMENT, manifest)
    last, manifest = events[-1]
    found = cache.get(DEPLOYMENT, "ns", "a")
    if last == "delete":
        assert found is None
    else:
        assert found["spec"] == manifest["spec"]
