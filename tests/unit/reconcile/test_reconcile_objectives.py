"""From what pods count to ObjectivesMet, and how seldom that is written."""

import json
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from test_reconcile_faults import NS, Operator, Server, backend, route, settle

from moltbot_operator.constants import LABEL_REVISION, LABEL_ROUTE
from moltbot_operator.kube.kinds import CONFIG_MAP, MODEL_BACKEND
from moltbot_operator.kube.queue import Key
from moltbot_operator.reconcile.backend import BackendReconciler
from moltbot_operator.reconcile.evidence import AttemptsEvidence, EnvoyEvidence, Evidence
from moltbot_operator.reconcile.measurements import measurements_of

START = datetime(2026, 1, 1, tzinfo=UTC)
BOUNDS = (0.2, 0.3, 0.5, None)
OBJECTIVES = {"latency": {"percentile": 95, "threshold": "300ms"}, "throughput": {"minimumPerSecond": 10}}


class Gateways:
    """Pods whose Envoys have counted what a test says, each the same."""

    def __init__(self) -> None:
        self.fast = self.slow = 0
        self.uptime = 100_000
        self.backend = f"{NS}/one"

    async def read(self, pod: dict[str, Any], token: str) -> Evidence:
        assert token
        revision = pod["metadata"]["labels"][LABEL_REVISION]
        total = self.fast + self.slow
        counts = zip(BOUNDS, (0, self.fast, total, total), strict=True)
        told = AttemptsEvidence(backend=self.backend, ended=total, well=total, buckets=tuple(counts))
        return Evidence(
            namespace=NS,
            route=pod["metadata"]["labels"][LABEL_ROUTE],
            revision=revision,
            envoy=EnvoyEvidence(live=True, revision=revision, uptime_s=self.uptime),
            attempts=(told,),
        )


class World:
    """A settled route with one backend, an operator, and a clock that only tests move."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.gateways = Gateways()
        self.now = START
        self.told: list[dict[str, Any]] = []
        server.event = self._event  # type: ignore[method-assign]
        self.restart()

    async def _event(self, _regarding: dict[str, Any], **event: Any) -> None:
        self.told.append(event)

    def restart(self) -> None:
        self.operator = Operator(self.server)
        reconciler = self.operator.reconciler
        reconciler._evidence = self.gateways
        reconciler._clock = lambda: self.now
        cache, settings = self.operator.cache, SimpleNamespace()
        self.backends = BackendReconciler(self.server, cache, self.gateways, lambda: self.now, settings)

    async def look(self, minutes: int = 1, fast: int = 0, slow: int = 0) -> int:
        """Minutes pass, each with so many attempts at each of the two pods; writes in that time."""
        before = len(self.server.writes)
        for _ in range(minutes):
            self.now += timedelta(minutes=1)
            self.gateways.uptime += 60
            self.gateways.fast += fast
            self.gateways.slow += slow
            await self.operator.reconcile()
            self.operator.watch()
            again = await self.backends.reconcile(Key("Backend", NS, "one"))
            assert again is None or again == timedelta(minutes=1)
        return len(self.server.writes) - before

    @property
    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = self.server.objects[MODEL_BACKEND, NS, "one"]["status"]
        return found

    @property
    def met(self) -> tuple[str, str, str]:
        (found,) = [c for c in self.status["conditions"] if c["type"] == "ObjectivesMet"]
        return found["status"], found["reason"], found["message"]


async def made(**objectives: Any) -> World:
    server = Server()
    manifest = backend("one")
    manifest["spec"]["objectives"] = objectives or OBJECTIVES
    server.put(manifest)
    server.put(route("one"))
    await settle(server, lambda _: "")
    return World(server)


async def test_figures_become_a_condition_and_a_status() -> None:
    world = await made()
    await world.look()
    assert world.met[:2] == ("Unknown", "NoData")
    assert "looked at once, and it takes two looks, a minute apart" in world.met[2]
    assert "observed" not in world.status
    await world.look(fast=600, slow=0)
    status, reason, message = world.met
    assert (status, reason) == ("True", "ObjectivesMet")
    assert "p95 is 300ms, at most 300ms is asked for. Throughput: 20/s answered well" in message
    assert "Measured over 5 minutes until 2026-01-01T00:02:00Z." in message
    assert world.status["observed"] == {
        "requestsPerSecond": 20.0,
        "successRate": 1.0,
        "latency": "300ms",
        "at": "2026-01-01T00:02:00Z",
    }


async def test_events_tell_of_changes_only() -> None:
    world = await made()
    await world.look()
    await world.look(10, fast=600)
    assert world.told == []
    await world.look(10, slow=600)
    (event,) = world.told
    assert (event["type"], event["reason"]) == ("Warning", "LatencyTooHigh")
    await world.look(20, fast=600)
    assert [each["type"] for each in world.told] == ["Warning", "Normal"]
    assert world.met[0] == "True"


async def test_nothing_is_written_at_rest_and_little_under_even_traffic() -> None:
    world = await made()
    await world.look(3)
    assert await world.look(60) == 0, "idle from the start"
    await world.look(6, fast=600)
    assert await world.look(60, fast=600) <= 6, "figures every ten minutes"
    await world.look(15)
    assert await world.look(60) == 0, "idle again"
    assert world.status["observed"]["requestsPerSecond"] == 0
    assert world.met[:2] == ("Unknown", "NoData")


async def test_a_new_operator_writes_nothing_while_it_has_no_figures() -> None:
    world = await made()
    await world.look()
    await world.look(8, slow=600)
    before = world.met
    assert before[1] == "LatencyTooHigh"
    world.restart()
    told = len(world.told)
    assert await world.look(slow=600) == 0
    assert world.met == before
    await world.look(12, slow=600)
    assert world.met[1] == "LatencyTooHigh"
    assert len(world.told) == told


async def test_a_new_operator_says_in_the_end_that_it_does_not_know() -> None:
    world = await made()
    await world.look()
    await world.look(8, slow=600)
    world.restart()
    for _ in range(15):  # the route is never reached
        world.now += timedelta(minutes=1)
        world.operator.watch()
        await world.backends.reconcile(Key("Backend", NS, "one"))
    assert world.met[:2] == ("Unknown", "NoData")


async def test_another_spec_is_judged_anew() -> None:
    world = await made()
    await world.look()
    await world.look(8, slow=600)
    manifest = backend("one")
    manifest["spec"]["objectives"] = {"latency": {"threshold": "1s"}}
    world.server.put(manifest)
    await world.look(slow=600)
    assert world.met[:2] == ("True", "ObjectivesMet")


async def test_without_objectives_nothing_is_observed() -> None:
    world = await made()
    await world.look()
    await world.look(fast=600)
    assert "observed" in world.status
    world.server.put(backend("one"))
    await world.look(fast=600)
    assert "observed" not in world.status
    assert world.met[1] == "NoObjectives"
    assert await world.look(5, fast=600) == 0


async def test_a_pod_can_only_speak_for_backends_of_its_route() -> None:
    world = await made()
    other = backend("two")
    other["spec"]["objectives"] = OBJECTIVES
    world.server.put(other)
    world.gateways.backend = f"{NS}/two"
    await world.look(5, slow=600)
    await world.backends.reconcile(Key("Backend", NS, "two"))
    found = world.server.objects[MODEL_BACKEND, NS, "two"]["status"]
    assert "observed" not in found
    assert all(not each.counts for pods in _histories(world) for each in pods)


def _histories(world: World) -> list[Any]:
    pods = measurements_of(world.operator.cache)._pods[NS, "assistant"]
    assert len(pods) == 2
    return list(pods.values())


def feed(score: float, at: datetime) -> dict[str, Any]:
    value = json.dumps({"score": score, "at": at.isoformat()})
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"namespace": NS, "name": "eval"},
        "data": {"score": value},
    }


async def test_accuracy_comes_from_its_feed_and_goes_stale() -> None:
    reference = {"configMapRef": {"name": "eval", "key": "score"}}
    world = await made(accuracy={"minimum": 0.92, "feed": reference, "staleAfter": "1h"})
    await world.look()
    assert world.met[1] == "FeedUnusable"
    assert "ConfigMap eval does not exist: have the evaluation create it" in world.met[2]
    world.server.put(feed(0.94, world.now))
    await world.look()
    assert world.met[:2] == ("True", "ObjectivesMet")
    assert await world.look(50) == 0
    await world.look(10)
    assert world.met[1] == "FeedStale"
    world.server.put(feed(0.9, world.now))
    await world.look()
    assert world.met[1] == "AccuracyTooLow"
    ready = [c["status"] for c in world.status["conditions"] if c["type"] == "Ready"]
    assert ready == ["True"], "objectives are watched, they don't take a backend out"


async def test_a_feed_is_read_once_for_each_version(monkeypatch: pytest.MonkeyPatch) -> None:
    reference = {"configMapRef": {"name": "eval", "key": "score"}}
    world = await made(accuracy={"minimum": 0.92, "feed": reference})
    world.server.put(feed(0.94, world.now))
    reads = 0
    get = world.server.get

    async def counted(kind: Any, namespace: str, name: str) -> dict[str, Any]:
        nonlocal reads
        reads += kind == CONFIG_MAP and name == "eval"
        return await get(kind, namespace, name)

    monkeypatch.setattr(world.server, "get", counted)
    await world.look(10)
    assert reads == 1
    world.server.put(feed(0.95, world.now))
    await world.look(3)
    assert reads == 2
