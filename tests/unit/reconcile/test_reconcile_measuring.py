"""What a measurement asks of gateways, testers and Prometheus, and what becomes of their answers."""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from moltbot_operator.api import AnalysisMetric, Gateway, GatewayService, GatewayTLS, Rollout, SecretRef
from moltbot_operator.compile.workloads import Owner
from moltbot_operator.constants import LABEL_MANAGED_BY, LABEL_REVISION, LABEL_ROUTE, MANAGED_BY
from moltbot_operator.kube.cache import Cache
from moltbot_operator.kube.kinds import POD
from moltbot_operator.objectives import Counts
from moltbot_operator.reconcile.evidence import EnvoyEvidence, Evidence, EvidenceUnavailable, RequestsEvidence
from moltbot_operator.reconcile.measuring import Measurer, reading
from moltbot_operator.rollout import Measure, Measurement
from moltbot_operator.rollout.ports import EffectError, Target

OWNER = Owner("n", "assistant", "uid")
GATEWAY = Gateway(service=GatewayService(port=8080))
OWN = {"name": "success", "query": "SuccessRate", "successCondition": ">= 0.99"}
SLOW = {"name": "p95", "query": "LatencyP95", "successCondition": "<= 1.2 * active"}
SLO = {
    "name": "slo",
    "source": "Prometheus",
    "url": "http://prometheus",
    "query": "q",
    "successCondition": ">= 1",
}


@dataclass
class World:
    """Two ready pods for each of the revisions a and b; time goes by only in `sleep`."""

    counted: dict[str, tuple[int, int]] = field(default_factory=dict)
    traffic: dict[str, tuple[int, int]] = field(default_factory=dict)
    silent: bool = False
    old: bool = False
    now: datetime = datetime(2026, 1, 1, tzinfo=UTC)
    slept: list[float] = field(default_factory=list)
    asked: list[tuple[str, str]] = field(default_factory=list)

    def measurer(self) -> Measurer:
        cache = Cache()
        for revision in "ab":
            for number in (1, 2):
                cache.put(POD, pod(revision, f"{revision}{number}", f"10.0.0.{number}"))
        cache.put(POD, pod("b", "b3", "10.0.0.3", ready=False))
        return Measurer(OWNER, GATEWAY, cache, self, "t", lambda: self.now, self.sleep)

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += timedelta(seconds=seconds)
        for name, (ended, well) in self.traffic.items():
            before = self.counted.get(name, (0, 0))
            self.counted[name] = before[0] + ended, before[1] + well

    async def read(self, found: dict[str, Any], token: str) -> Evidence:
        assert token == "t"
        if self.silent:
            raise EvidenceUnavailable("its agent does not answer")
        name, revision = found["metadata"]["name"], found["metadata"]["labels"][LABEL_REVISION]
        ended, well = self.counted.get(name, (0, 0))
        requests = RequestsEvidence(
            ended=ended, well=well, buckets=((0.1, well), (1.0, ended), (None, ended))
        )
        envoy = EnvoyEvidence(live=True, revision=revision, uptime_s=600)
        return Evidence(
            namespace="n",
            route="assistant",
            revision=revision,
            envoy=envoy,
            requests=None if self.old else requests,
        )

    async def probe(self, target: Target, testing: Any, samples: int, effect: str) -> Counts:
        assert effect == "id"
        assert testing.requests
        self.asked.append(("probe", target.service))
        assert target.pods == ("10.0.0.1", "10.0.0.2"), "only ready ones"
        return Counts(samples, samples - 1, buckets=((0.1, samples),))

    async def query(self, metric: AnalysisMetric, target: Target) -> float | None:
        self.asked.append((metric.name, target.revision))
        if metric.query == "down":
            raise EffectError("it does not answer")
        return {"a": 0.5, "b": 0.75}[target.revision]

    @property
    def ports(self) -> Any:
        return SimpleNamespace(tester=self, prometheus=self)


def pod(revision: str, name: str, address: str, *, ready: bool = True) -> dict[str, Any]:
    labels = {LABEL_REVISION: revision, LABEL_ROUTE: "assistant", LABEL_MANAGED_BY: MANAGED_BY}
    conditions = [{"type": "Ready", "status": str(ready)}]
    return {
        "metadata": {"namespace": "n", "name": name, "uid": name, "labels": labels},
        "status": {"podIP": address, "conditions": conditions},
    }


def spec(*metrics: dict[str, Any], requests: bool = False) -> Rollout:
    testing = {"testing": {"requests": [{"path": "/"}]}} if requests else {}
    return Rollout.model_validate({"analysis": {"metrics": list(metrics)}, **testing})


async def measured(world: World, settings: Rollout, effect: Measure) -> Measurement:
    return await world.measurer().measure(effect, settings, world.ports)


async def test_after_the_switch_what_all_pods_counted_meanwhile_is_the_measurement() -> None:
    world = World({"b1": (1000, 0), "b2": (500, 500)}, {"b1": (60, 60), "b2": (40, 30), "a1": (100, 0)})
    effect = Measure("id", "b", timedelta(seconds=10), ("success", "p95"), probe=False)
    found = (await measured(world, spec(OWN, SLOW), effect)).readings
    assert world.slept == [10]
    assert (found["success"].value, found["success"].samples) == (0.9, 100)
    assert found["p95"].value == pytest.approx(0.55)
    assert found["success"].active is None


async def test_a_preview_is_measured_by_test_requests_and_the_active_one_by_its_clients() -> None:
    world = World({}, {"a1": (200, 200)})
    effect = Measure(
        "id", "b", timedelta(seconds=1), ("success", "p95"), probe=True, active="a", compare=("p95",)
    )
    found = (await measured(world, spec(OWN, SLOW, requests=True), effect)).readings
    assert world.asked == [("probe", "http://assistant-preview.n.svc:8080")]
    assert (found["success"].value, found["success"].samples) == (0.98, 50)
    assert found["p95"].active == pytest.approx(0.095)
    assert found["p95"].active_samples == 200


async def test_prometheus_is_asked_for_both_revisions_and_an_error_is_that_metrics_own() -> None:
    world = World()
    down = SLO | {"name": "down", "query": "down"}
    effect = Measure("id", "b", timedelta(0), ("slo", "down"), probe=True, active="a", compare=("slo",))
    found = (await measured(world, spec(SLO, down), effect)).readings
    assert (found["slo"].value, found["slo"].active, found["slo"].samples) == (0.75, 0.5, None)
    assert found["down"].error == "it does not answer"
    assert set(world.asked) == {("slo", "b"), ("slo", "a"), ("down", "b")}


@pytest.mark.parametrize(
    ("world", "says"),
    [(World(silent=True), "does not tell what it counted"), (World(old=True), "upgrade the image")],
)
async def test_pods_that_do_not_tell_are_an_error_of_the_source(world: World, says: str) -> None:
    effect = Measure("id", "b", timedelta(0), ("success",), probe=False)
    with pytest.raises(EffectError, match=says):
        await measured(world, spec(OWN), effect)


def test_without_requests_there_is_no_value() -> None:
    assert reading("SuccessRate", Counts()) == (None, 0)
    assert reading("LatencyP99", Counts()) == (None, 0)


def test_a_preview_behind_a_certificate_is_named_as_https() -> None:
    shown = Gateway(service=GatewayService(port=443), tls=GatewayTLS(secret_ref=SecretRef(name="shown")))
    measurer = replace(World().measurer(), gateway=shown)
    assert measurer.target("b", preview=True).service == "https://assistant-preview.n.svc"
    assert measurer.target("b", preview=False).service == "https://assistant.n.svc"
