"""The operator dies, loses answers or is refused at any write, at any step of a rollout: it always ends well.

An API server in memory stands in, since this goes through hundreds of runs; the real one is in tests/api.
"""

import asyncio
from collections.abc import Callable, Mapping
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moltbot_operator.constants import LABEL_REVISION, LABEL_ROUTE
from moltbot_operator.errors import ClusterError, NotFound
from moltbot_operator.kube.cache import Cache
from moltbot_operator.kube.kinds import (
    CONFIG_MAP,
    DEPLOYMENT,
    KINDS,
    MODEL_BACKEND,
    MOLTBOT_ROUTE,
    POD,
    SECRET,
    SERVICE,
    Kind,
    kind_of,
)
from moltbot_operator.kube.queue import Key
from moltbot_operator.reconcile.evidence import EnvoyEvidence, Evidence
from moltbot_operator.reconcile.route import RouteReconciler
from moltbot_operator.reconcile.spec_history import history_name, specs_in

NS = "n"
KEY = Key("Route", NS, "assistant")
SETTINGS = SimpleNamespace(
    gateway_image="gateway:test", image_pull_policy="IfNotPresent", own_namespace="system"
)

Place = tuple[Kind, str, str]
Fault = Callable[[int], str]


class Killed(Exception):  # noqa: N818
    """The process ends here."""


class Server:
    """Objects by kind, namespace and name, with versions; what is unsafe is refused loudly."""

    def __init__(self) -> None:
        self.objects: dict[Place, dict[str, Any]] = {}
        self.version = 0
        self.writes: list[str] = []
        self.fault: Fault = lambda _: ""
        self.now = datetime(2026, 1, 1, tzinfo=UTC)

    def clock(self) -> datetime:
        """Time goes on by a second whenever somebody looks."""
        self.now += timedelta(seconds=1)
        return self.now

    async def get(self, kind: Kind, namespace: str, name: str) -> dict[str, Any]:
        if (kind, namespace, name) not in self.objects:
            raise NotFound(f"{kind} {namespace}/{name}", 404)
        return deepcopy(self.objects[kind, namespace, name])

    async def list(self, kind: Kind, namespace: str | None = None, labels: str = "") -> list[dict[str, Any]]:
        assert not labels
        return [deepcopy(o) for (k, n, _), o in self.objects.items() if k == kind and namespace in {None, n}]

    async def apply(
        self, manifest: dict[str, Any], *, manager: str = "", force: bool = True
    ) -> dict[str, Any]:
        assert force
        kind, meta = kind_of(manifest), manifest["metadata"]
        place = (kind, meta["namespace"], meta["name"])
        self._check_apply(kind, manifest)
        return self._write(f"apply {kind} {meta['name']}{manager}", place, lambda old: _merged(old, manifest))

    async def apply_status(
        self, kind: Kind, namespace: str, name: str, status: dict[str, Any]
    ) -> dict[str, Any]:
        place = (kind, namespace, name)
        if place not in self.objects:
            raise NotFound(name, 404)
        return self._write(
            f"status {name}",
            place,
            lambda old: {**old, "status": _merge_patch(old.get("status") or {}, status)},
        )

    async def create(self, manifest: dict[str, Any]) -> dict[str, Any]:
        raise AssertionError(f"not used: {manifest}")

    async def delete(self, kind: Kind, namespace: str, name: str, *, uid: str | None = None) -> None:
        found = self.objects.get((kind, namespace, name))
        if kind == DEPLOYMENT and found:
            service = self.objects.get((SERVICE, NS, "assistant"))
            assert service is not None
            selected = service["spec"]["selector"][LABEL_REVISION]
            assert found["metadata"]["labels"][LABEL_REVISION] != selected, "what serves is never deleted"

        def gone() -> None:
            if found and uid in {None, found["metadata"]["uid"]}:
                del self.objects[kind, namespace, name]

        self._faulty(f"delete {kind} {name}", gone)

    async def event(self, regarding: dict[str, Any], **_: Any) -> None:
        assert regarding["metadata"]["name"] == "assistant"

    def put(self, manifest: dict[str, Any]) -> None:
        """By a user or another controller."""
        meta = manifest["metadata"]
        place = (kind_of(manifest), meta["namespace"], meta["name"])
        old = self.objects.get(place)
        merged = _merged(old or {}, manifest)
        if old and old.get("spec") != merged.get("spec"):
            merged["metadata"]["generation"] = old["metadata"]["generation"] + 1
        self._store(place, merged)

    def _write(
        self, what: str, place: Place, change: Callable[[dict[str, Any]], dict[str, Any]]
    ) -> dict[str, Any]:
        old = self.objects.get(place) or {}
        new = change(deepcopy(old))
        self._faulty(what, lambda: self._store(place, new))
        return deepcopy(self.objects[place])

    def _faulty(self, what: str, do: Callable[[], None]) -> None:
        fault = self.fault(len(self.writes))
        self.writes.append(what)
        if fault == "refuse":
            raise ClusterError(f"{what}: no answer")
        if fault == "reject":
            raise ClusterError(f"{what}: 403: quota", 403)
        do()
        if fault == "lose":
            raise ClusterError(f"{what}: the answer is lost")
        if fault == "kill":
            raise Killed

    def _store(self, place: Place, manifest: dict[str, Any]) -> None:
        self.version += 1
        meta = manifest["metadata"]
        meta.setdefault("uid", f"uid-{self.version}")
        meta.setdefault("generation", 1)
        meta["resourceVersion"] = str(self.version)
        self.objects[place] = manifest

    def _check_apply(self, kind: Kind, manifest: dict[str, Any]) -> None:
        if kind != SERVICE or manifest["metadata"]["name"] != "assistant":
            return
        revision = manifest["spec"]["selector"][LABEL_REVISION]
        before = self.objects.get((SERVICE, NS, "assistant"))
        if revision == "none" or (before and before["spec"]["selector"][LABEL_REVISION] == revision):
            return
        deployment = self.objects[DEPLOYMENT, NS, f"assistant-gw-{revision}"]
        ready = [o for (k, _, _), o in self.objects.items() if k == POD and _revision(o) == revision]
        assert len(ready) >= deployment["spec"]["replicas"] >= 1, "never a flip to pods that are not ready"

    def kubelet(self) -> None:
        """Deployments have the pods that they ask for, all Ready."""
        wanted = {
            f"{name}-{n}": o
            for (k, _, name), o in self.objects.items()
            if k == DEPLOYMENT
            for n in range(o["spec"]["replicas"])
        }
        for place in [p for p in self.objects if p[0] == POD and p[2] not in wanted]:
            del self.objects[place]
        for name, deployment in wanted.items():
            labels = deployment["spec"]["template"]["metadata"]["labels"]
            if (POD, NS, name) not in self.objects:
                pod = {
                    "apiVersion": "v1",
                    "kind": "Pod",
                    "metadata": {"namespace": NS, "name": name, "labels": labels},
                    "status": {"conditions": [{"type": "Ready", "status": "True"}]},
                }
                self.put(pod)


def _revision(manifest: dict[str, Any]) -> str | None:
    return manifest["metadata"].get("labels", {}).get(LABEL_REVISION)


def _merged(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """Server-side apply, as far as one manager with `force` is concerned."""
    kept = {key: old.get("metadata", {}).get(key) for key in ("uid", "generation") if old}
    status = {"status": old["status"]} if "status" in old else {}
    return {
        **deepcopy(new),
        "metadata": {**deepcopy(new["metadata"]), **kept},
        **({} if "status" in new else status),
    }


def _merge_patch(target: Any, change: Any) -> Any:
    if not isinstance(change, dict):
        return change
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in change.items():
        result[key] = _merge_patch(result.get(key), value)
        if value is None:
            del result[key]
    return result


class Agents:
    async def read(self, pod: dict[str, Any], token: str) -> Evidence:
        assert token
        labels = pod["metadata"]["labels"]
        revision = labels[LABEL_REVISION]
        envoy = EnvoyEvidence(live=True, revision=revision)
        return Evidence(namespace=NS, route=labels[LABEL_ROUTE], revision=revision, envoy=envoy)


class Operator:
    """One life of the operator process: its cache and its memory end with it."""

    def __init__(self, server: Server, **rollouts: Any) -> None:
        self.server = server
        self.cache = Cache()
        self.reconciler = RouteReconciler(
            server,
            self.cache,
            Agents(),
            server.clock,
            SETTINGS,  # type: ignore[arg-type]
            **rollouts,
        )

    def watch(self) -> None:
        """The cache catches up with the server."""
        for kind in KINDS:
            there = {p for p in self.server.objects if p[0] == kind}
            for found in list(self.cache.list(kind)):
                meta = found["metadata"]
                if (kind, meta["namespace"], meta["name"]) not in there:
                    self.cache.remove(kind, found)
            for place in there:
                self.cache.put(kind, deepcopy(self.server.objects[place]))

    async def reconcile(self) -> None:
        self.watch()
        await self.reconciler.reconcile(KEY)


def backend(name: str) -> dict[str, Any]:
    return {
        "apiVersion": MODEL_BACKEND.api_version,
        "kind": "ModelBackend",
        "metadata": {"namespace": NS, "name": name},
        "spec": {"provider": "Custom", "endpoint": {"url": "http://models.test:9"}},
    }


def route(backend_name: str, rollout: Mapping[str, Any] = {}, **more: Any) -> dict[str, Any]:
    rules = [{"name": "r", "candidates": [{"backend": backend_name}], **more}]
    return {
        "apiVersion": MOLTBOT_ROUTE.api_version,
        "kind": "MoltBotRoute",
        "metadata": {"namespace": NS, "name": "assistant"},
        "spec": {"rules": rules, "gateway": {"replicas": 2}, "rollout": {"scaleDownDelay": "0s", **rollout}},
    }


def refused_spec(manifest: dict[str, Any]) -> dict[str, Any]:
    """The route with something that is refused: a pod template with a list that is none."""
    gateway = {**manifest["spec"].get("gateway", {}), "podTemplate": {"spec": {"containers": "envoy"}}}
    return {**manifest, "spec": {**manifest["spec"], "gateway": gateway}}


def served(server: Server) -> tuple[str, set[str]]:
    """The revision that the Service selects, and all revisions that have a Deployment."""
    service = server.objects[SERVICE, NS, "assistant"]
    deployments = {_revision(o) or "" for (k, _, _), o in server.objects.items() if k == DEPLOYMENT}
    return service["spec"]["selector"][LABEL_REVISION], deployments


async def settle(server: Server, fault: Fault, operator: Operator | None = None) -> Operator:
    """Until the operator has nothing more to write; faults come once each, and then no more."""
    operator = operator or Operator(server)
    server.fault = fault
    quiet = 0
    for _ in range(80):
        before = len(server.writes)
        try:
            await operator.reconcile()
        except Killed:
            operator = Operator(server)
        except ClusterError:
            pass
        server.kubelet()
        quiet = quiet + 1 if len(server.writes) == before else 0
        if quiet == 3:
            return operator
    raise AssertionError(f"it does not end: {server.writes[-20:]}")


async def run(faults: dict[int, str], specs: list[dict[str, Any]]) -> Server:
    server = Server()
    for name in ("one", "two"):
        server.put(backend(name))
    operator: Operator | None = None
    pending = dict(faults)
    for spec in specs:
        server.put(spec)
        operator = await settle(server, lambda at: pending.pop(at, ""), operator)
    return server


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.integers(0, 40), st.sampled_from(["refuse", "reject", "lose", "kill"]), max_size=6))
def test_faults_at_any_write_end_in_the_same_cluster(faults: dict[int, str]) -> None:
    specs = [route("one"), route("two")]
    server, sound = asyncio.run(run(faults, specs)), asyncio.run(run({}, specs))
    assert served(server) == served(sound)
    revision, deployments = served(server)
    assert deployments == {revision}, "no Deployment is left over"
    maps = {name: o for (k, _, name), o in server.objects.items() if k == CONFIG_MAP}
    assert revision in specs_in(maps.pop(history_name("assistant")))
    assert {_revision(o) for o in maps.values()} == {revision}, "no configuration is left over"
    status = server.objects[MOLTBOT_ROUTE, NS, "assistant"]["status"]
    assert status["revision"]["active"] == revision
    assert {c["type"]: c["status"] for c in status["conditions"]} == dict.fromkeys(
        ("Accepted", "ResolvedRefs", "Programmed", "Ready"), "True"
    )


@pytest.mark.parametrize("kind_of_fault", ["refuse", "reject", "lose", "kill"])
def test_a_fault_at_each_write_in_turn(kind_of_fault: str) -> None:
    specs = [route("one"), route("two")]
    writes = len(asyncio.run(run({}, specs)).writes)
    assert writes > 15
    for at in range(writes):
        revision, deployments = served(asyncio.run(run({at: kind_of_fault}, specs)))
        assert deployments == {revision}, f"{kind_of_fault} at write {at}"


def test_a_restart_with_nothing_changed_writes_nothing() -> None:
    async def restarted() -> list[str]:
        server = await run({}, [route("one")])
        before = len(server.writes)
        await settle(server, lambda _: "", Operator(server))
        return server.writes[before:]

    assert asyncio.run(restarted()) == []


def test_a_refused_spec_keeps_the_active_revision_through_a_restart() -> None:
    async def refused() -> tuple[str, Server]:
        server = await run({}, [route("one")])
        revision, _ = served(server)
        server.put(refused_spec(route("one")))
        await settle(server, lambda _: "", Operator(server))
        return revision, server

    revision, server = asyncio.run(refused())
    assert served(server) == (revision, {revision})
    status = server.objects[MOLTBOT_ROUTE, NS, "assistant"]["status"]
    ready = next(c for c in status["conditions"] if c["type"] == "Ready")
    assert revision in ready["message"]


def test_a_deleted_evidence_secret_comes_back_with_the_token_that_pods_know() -> None:
    async def deleted() -> tuple[Any, Any]:
        server = await run({}, [route("one")])
        operator = await settle(server, lambda _: "", Operator(server))
        before = server.objects.pop((SECRET, NS, "assistant-gw-evidence"))
        await settle(server, lambda _: "", operator)
        return before["data"], server.objects[SECRET, NS, "assistant-gw-evidence"]["data"]

    before, after = asyncio.run(deleted())
    assert before == after


def test_a_route_that_is_gone_is_forgotten() -> None:
    async def gone() -> Operator:
        server = await run({}, [route("one")])
        operator = await settle(server, lambda _: "", Operator(server))
        del server.objects[MOLTBOT_ROUTE, NS, "assistant"]
        before = len(server.writes)
        await operator.reconcile()
        assert len(server.writes) == before
        return operator

    operator = asyncio.run(gone())
    assert operator.reconciler._memories == {}
