"""Specs of stable revisions: what is kept, and that a route at rest costs nothing."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moltbot_operator.compile.workloads import Owner
from moltbot_operator.errors import NotFound
from moltbot_operator.kube.cache import Cache
from moltbot_operator.kube.kinds import CONFIG_MAP
from moltbot_operator.reconcile import spec_history
from moltbot_operator.reconcile.spec_history import SpecHistory, history_manifest, specs_in
from moltbot_operator.rollout import Phase, Plan, State

OWNER = Owner("shop", "assistant", "uid-1")


class Cluster:
    """One ConfigMap, and how often it was read and written; the watch tells of it at once."""

    def __init__(self):
        self.held = None
        self.cache = Cache()
        self.reads = self.writes = 0

    async def get(self, _kind, _namespace, name):
        self.reads += 1
        if self.held is None:
            raise NotFound(name)
        return self.held

    async def apply(self, manifest):
        self.writes += 1
        self.held = manifest
        self.cache.put(
            CONFIG_MAP, {**manifest, "metadata": {**manifest["metadata"], "uid": f"u{self.writes}"}}
        )

    def delete(self):
        self.cache.remove(
            CONFIG_MAP, self.cache.get(CONFIG_MAP, OWNER.namespace, self.held["metadata"]["name"])
        )
        self.held = None


@pytest.fixture
def cluster():
    return Cluster()


def manifest(generation, **spec):
    return {"metadata": {"generation": generation}, "spec": spec}


def plan(active, *stable, phase=Phase.STABLE):
    return Plan(phase, active, None, state=State(phase, history=stable))


async def test_each_stable_revision_keeps_its_own_spec(cluster):
    history = SpecHistory(cluster, cluster.cache)
    await history.record(OWNER, manifest(1, n=1), plan("aaa"), "aaa")
    await history.record(OWNER, manifest(2, n=2), plan("bbb", "aaa"), "bbb")
    assert specs_in(cluster.held) == {"aaa": {"n": 1}, "bbb": {"n": 2}}
    await history.record(OWNER, manifest(3, n=3), plan("ccc", "bbb"), "ccc")
    assert specs_in(cluster.held) == {"bbb": {"n": 2}, "ccc": {"n": 3}}
    assert cluster.held["metadata"]["ownerReferences"][0]["uid"] == "uid-1"
    assert "moltbot.io/revision" not in cluster.held["metadata"]["labels"]  # it is no revision's


async def test_a_spec_is_not_kept_before_its_own_revision_is_stable(cluster):
    history = SpecHistory(cluster, cluster.cache)
    await history.record(OWNER, manifest(2, n=2), plan("aaa", phase=Phase.VERIFYING), "aaa")
    await history.record(OWNER, manifest(2, n=2), plan("aaa", phase=Phase.FAILED), "bbb")
    await history.record(OWNER, manifest(2, n=2), plan("aaa"), "bbb")
    await history.record(OWNER, manifest(2, n=2), plan("aaa"), None)
    await history.record(OWNER, manifest(2, n=2), plan(None), None)
    assert cluster.held is None


async def test_a_route_at_rest_is_neither_read_nor_written_again(cluster):
    for _ in range(2):  # the second one is an operator that has started again
        history = SpecHistory(cluster, cluster.cache)
        for _ in range(5):
            await history.record(OWNER, manifest(1, n=1), plan("aaa"), "aaa")
    assert (cluster.reads, cluster.writes) == (2, 1)


async def test_a_config_map_that_somebody_deleted_comes_back_at_the_next_look(cluster):
    history = SpecHistory(cluster, cluster.cache)
    await history.record(OWNER, manifest(1, n=1), plan("aaa"), "aaa")
    cluster.delete()
    await history.record(OWNER, manifest(1, n=1), plan("aaa"), "aaa")
    assert specs_in(cluster.held) == {"aaa": {"n": 1}}
    assert cluster.writes == 2


async def test_what_somebody_wrote_over_is_mended_or_left_out(cluster):
    cluster.held = {"data": {"aaa": "no json", "zzz": "[]"}}
    await SpecHistory(cluster, cluster.cache).record(
        OWNER, manifest(2, n=2), plan("bbb", "aaa", "zzz"), "bbb"
    )
    assert specs_in(cluster.held) == {"bbb": {"n": 2}}


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(1, 400_000), min_size=1, max_size=8))
def test_it_always_fits_a_config_map_and_the_latest_come_first(sizes):
    known = {str(number): {"x": "y" * size} for number, size in enumerate(sizes)}
    stable = tuple(known)[1:]
    made = history_manifest(OWNER, known, active="0", spec=known["0"], stable=stable)
    assert sum(map(len, made["data"].values())) <= spec_history.LARGEST
    assert list(made["data"]) == list(known)[: len(made["data"])]
    assert all(json.loads(text) == known[name] for name, text in made["data"].items())
