"""How many workers a route has: who decides, what is written, and what is said of it."""

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio
from api_bed import ApiBed
from standins import Bench, anyone, backend, eventually, route, rule

from moltbot_operator.compile.workloads import Owner
from moltbot_operator.kube.client import KubeCluster
from moltbot_operator.kube.kinds import AUTOSCALER, DEPLOYMENT, EVENT, MOLTBOT_ROUTE, SECRET, SERVICE
from moltbot_operator.reconcile.scaling.http import LoadUnavailable
from moltbot_operator.reconcile.scaling.readings import Reading
from moltbot_operator.settings import Settings

pytestmark = pytest.mark.api

Manifest = dict[str, Any]


AT_ONCE: Manifest = {"scaleDown": {"stabilizationWindow": "0s"}}
"""Nothing is waited for before workers go."""


class StandInLoad:
    """Every worker says the same of itself; None: none answers."""

    def __init__(self) -> None:
        self.in_flight: float | None = 50

    async def worker(self, pod: Manifest, at: datetime) -> Reading:
        if self.in_flight is None:
            raise LoadUnavailable("no answer (stand-in)")
        assert pod["metadata"]["labels"]["app.kubernetes.io/component"] == "worker"
        return Reading(at, in_flight=self.in_flight)

    async def prometheus(self, metric: object) -> float:
        raise LoadUnavailable(f"there is no Prometheus for {metric} (stand-in)")


@pytest_asyncio.fixture
async def bench(
    api_bed: ApiBed, kube: KubeCluster, settings: Settings, namespace: str
) -> AsyncIterator[Bench]:
    changes = {"namespaces": (namespace,), "scale_period": timedelta(seconds=0.5)}
    made = Bench(api_bed, kube, settings.model_copy(update=changes), namespace)
    made.load = StandInLoad()
    async with made:
        await made.start_operator()
        yield made


def assistant(bench: Bench, **worker: Any) -> Manifest:
    rules = [rule("all", "pro", cache={})]
    return route(bench.namespace, "assistant", rules, consumers=anyone("pro"), worker=worker)


def scaled(**more: Any) -> Manifest:
    return {"autoscaling": {"maxReplicas": 4, **more}}


async def serving(bench: Bench, **worker: Any) -> Manifest:
    await bench.apply(backend(bench.namespace, "pro"), assistant(bench, **worker))
    return await bench.settled("assistant", 60)


async def deployment(bench: Bench) -> Manifest:
    """The serving revision's workers."""
    found = await bench.get(MOLTBOT_ROUTE, "assistant")
    assert found is not None
    owner = Owner(bench.namespace, "assistant", found["metadata"]["uid"])
    workers = await bench.get(DEPLOYMENT, owner.worker(found["status"]["revision"]["active"]))
    assert workers is not None
    return workers


async def until(bench: Bench, replicas: int, reason: str = "") -> Manifest:
    """`status.worker`, once so many are asked for everywhere, for that reason."""

    async def probe() -> Manifest | None:
        told = ((await bench.get(MOLTBOT_ROUTE, "assistant")) or {})["status"].get("worker") or {}
        latest[0] = told
        asked = (await deployment(bench))["spec"]["replicas"]
        right = told.get("desired") == asked == replicas and told.get("replicas") == replicas
        return told if right and told.get("reason", "").startswith(reason) else None

    latest: list[Manifest] = [{}]
    try:
        return await eventually(f"{replicas} workers, {reason}", probe, 60)
    except AssertionError as error:
        raise AssertionError(f"{error}; was {latest[0]}") from None


async def events(bench: Bench, reason: str) -> list[str]:
    """Notes of events with this reason."""

    async def probe() -> list[str]:
        return [
            event["note"]
            async for page in bench.kube.pages(EVENT, bench.namespace)
            for event in page.items
            if event["reason"] == reason and event["regarding"]["kind"] == "MoltBotRoute"
        ]

    found: list[str] = await eventually(f"an event {reason}", probe)
    return found


async def test_workers_belong_to_the_revision_and_serve_with_it(bench: Bench) -> None:
    settled = await serving(bench, replicas=2)
    await until(bench, 2)
    workers = await deployment(bench)
    active = settled["status"]["revision"]["active"]
    assert workers["spec"]["template"]["metadata"]["labels"]["moltbot.io/revision"] == active
    for kind in (SERVICE, SECRET):
        assert await bench.get(kind, workers["metadata"]["name"])


async def test_kubectl_scale_on_the_route_changes_the_number(bench: Bench) -> None:
    await serving(bench, replicas=1)
    await until(bench, 1, "AsWritten")
    bench.bed.kubectl("-n", bench.namespace, "scale", "moltbotroute/assistant", "--replicas=3")
    await until(bench, 3, "AsWritten")
    assert "from 1 to 3" in " ".join(await events(bench, "Scaled"))
    told = bench.bed.kubectl(
        "-n", bench.namespace, "get", "moltbotroute", "assistant", "--subresource=scale", "-o",
        "jsonpath={.status.replicas} {.status.selector}",
    )  # fmt: skip
    count, selector = told.split(" ", 1)
    assert count == "3"
    assert "app.kubernetes.io/component=worker" in selector


async def test_more_load_makes_more_workers_up_to_the_bound_and_less_load_fewer(bench: Bench) -> None:
    bench.load.in_flight = 50
    await serving(bench, **scaled(behavior=AT_ONCE))
    await until(bench, 1)
    bench.load.in_flight = 150
    told = await until(bench, 4, "AtBound")
    assert "150" in told["reason"]
    assert told["lastScaleTime"]
    assert "from 1 to 3" in " ".join(await events(bench, "ScaledUp"))
    bench.load.in_flight = 0
    await until(bench, 1)
    await events(bench, "ScaledDown")


async def test_without_figures_the_number_stays_and_is_complained_about(bench: Bench) -> None:
    await serving(bench, replicas=3, **scaled(behavior=AT_ONCE))
    await until(bench, 3)
    bench.load.in_flight = None
    await until(bench, 3, "NoData")
    assert "stays at 3" in " ".join(await events(bench, "NoData"))


async def test_none_is_taken_away_while_a_rollout_is_under_way(bench: Bench) -> None:
    manifest = await serving(bench, replicas=3, **scaled(behavior=AT_ONCE))
    active = manifest["status"]["revision"]["active"]
    await until(bench, 3)
    bench.kubelet.broken.add("assistant")
    changed = assistant(bench, replicas=3, **scaled(behavior=AT_ONCE))
    changed["spec"]["rules"][0]["cache"] = {"ttl": "1m"}
    await bench.apply(changed)
    await bench.wait_route("assistant", "Reconciling", "True", reason="RollingOut")
    bench.load.in_flight = 1
    told = await until(bench, 3, "Held")
    assert "a rollout is under way" in told["reason"]
    found = await bench.get(MOLTBOT_ROUTE, "assistant")
    assert found is not None
    assert found["status"]["revision"]["active"] == active


async def test_mode_hpa_makes_an_autoscaler_on_the_route_and_another_mode_takes_it_away(bench: Bench) -> None:
    await serving(bench, replicas=2, **scaled(mode="HPA"))
    made = await bench.get(AUTOSCALER, "assistant-worker")
    assert made is not None
    assert made["spec"]["scaleTargetRef"] == {
        "apiVersion": "moltbot.io/v1alpha1", "kind": "MoltBotRoute", "name": "assistant",
    }  # fmt: skip
    assert (made["spec"]["minReplicas"], made["spec"]["maxReplicas"]) == (1, 4)
    await until(bench, 2, "AsWritten")
    await bench.apply(assistant(bench, replicas=2, **scaled(mode="External")))

    async def gone() -> bool:
        return await bench.get(AUTOSCALER, "assistant-worker") is None

    await eventually("the autoscaler is gone", gone)
    await until(bench, 2, "AsWritten")


async def test_a_number_survives_the_operators_restart(bench: Bench) -> None:
    await serving(bench, **scaled())
    await until(bench, 1)
    bench.load.in_flight = 150
    await until(bench, 4)
    await bench.stop_operator()
    bench.load.in_flight = 0
    await bench.start_operator()
    await until(bench, 4, "WithinWindow")


async def test_a_rule_that_asks_no_more_takes_the_workers_away(bench: Bench) -> None:
    await serving(bench, replicas=1)
    name = (await deployment(bench))["metadata"]["name"]
    await bench.apply(route(bench.namespace, "assistant", [rule("all", "pro")], consumers=anyone("pro")))
    settled = await bench.settled("assistant", 60)
    assert settled["status"]["revision"]["active"] not in name
