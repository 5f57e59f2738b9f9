"""A route from its creation to its end."""

import pytest
from standins import Bench, anyone, backend, condition, eventually, route, rule

from moltbot_operator.constants import LABEL_REVISION
from moltbot_operator.kube.kinds import (
    CONFIG_MAP,
    DEPLOYMENT,
    EVENT,
    MODEL_BACKEND,
    MOLTBOT_ROUTE,
    NETWORK_POLICY,
    POD,
    POD_DISRUPTION_BUDGET,
    SECRET,
    SERVICE,
    SERVICE_ACCOUNT,
)

pytestmark = pytest.mark.api

OWNED = (DEPLOYMENT, CONFIG_MAP, SERVICE, SERVICE_ACCOUNT, POD_DISRUPTION_BUDGET, NETWORK_POLICY, SECRET, POD)


async def selected(bench: Bench, service: str = "assistant") -> str:
    found = await bench.get(SERVICE, service)
    assert found is not None
    return found["spec"]["selector"][LABEL_REVISION]


async def test_a_new_route_becomes_programmed_once_its_pods_report(bench: Bench) -> None:
    bench.evidence.silent.add("assistant")
    await bench.apply(
        backend(bench.namespace, "pro"),
        route(bench.namespace, "assistant", [rule("all", "pro")], consumers=anyone("pro")),
    )
    await bench.wait_route(
        "assistant", "Reconciling", "True", reason="RollingOut", says="1 of 1 pods are ready, 0"
    )
    assert await selected(bench) == "none"
    await bench.wait_route("assistant", "Ready", "False", says="No revision serves yet")

    bench.evidence.silent.clear()
    settled = await bench.settled("assistant")
    status = settled["status"]
    active = status["revision"]["active"]
    assert status["rollout"] == {"phase": "Stable"}
    assert status["address"] == f"http://assistant.{bench.namespace}.svc"
    assert status["rules"] == [{"name": "all", "accepted": True, "reason": ""}]
    assert status["backends"] == [{"name": "pro", "ready": True, "weight": 1, "reason": ""}]
    assert {c["type"]: c["status"] for c in status["conditions"]} == {
        "Accepted": "True",
        "ResolvedRefs": "True",
        "Programmed": "True",
        "Ready": "True",
    }
    assert await selected(bench) == active
    assert await selected(bench, "assistant-preview") == active
    assert await bench.get(DEPLOYMENT, f"assistant-gw-{active}")
    assert len(bench.evidence.tokens) == 1

    async def counted() -> bool:
        found = await bench.get(MODEL_BACKEND, "pro")
        return found is not None and found["status"].get("routes") == 1

    await eventually("the backend counts its route", counted)


async def test_an_edit_flips_to_new_pods_and_the_old_ones_go(bench: Bench) -> None:
    await bench.apply(
        backend(bench.namespace, "pro"),
        backend(bench.namespace, "max"),
        route(bench.namespace, "assistant", [rule("all", "pro")], consumers=anyone("pro", "max")),
    )
    first = (await bench.settled("assistant"))["status"]["revision"]["active"]

    bench.kubelet.broken.add("assistant")
    changed = route(bench.namespace, "assistant", [rule("all", "max")], consumers=anyone("pro", "max"))
    changed["spec"]["rollout"] = {"scaleDownDelay": "0s"}
    await bench.apply(changed)
    await bench.wait_route("assistant", "Reconciling", "True", says="0 of 1 pods are ready")
    found = await bench.get(MOLTBOT_ROUTE, "assistant")
    assert found["status"]["revision"]["active"] == first, "nothing flips to pods that are not ready"
    preview = found["status"]["revision"]["preview"]
    assert await selected(bench) == first
    assert await selected(bench, "assistant-preview") == preview
    assert condition(found, "Ready")["status"] == "True", "the active revision goes on serving"

    bench.kubelet.broken.clear()
    for pod in await bench.kube.list(POD, bench.namespace, f"{LABEL_REVISION}={preview}"):
        await bench.kube.delete(POD, bench.namespace, pod["metadata"]["name"])  # its successor gets ready
    settled = await bench.settled("assistant")
    assert settled["status"]["revision"] == {"active": preview, "stable": [first]}
    assert await selected(bench) == preview

    async def old_is_gone() -> bool:
        left = [
            *await bench.kube.list(DEPLOYMENT, bench.namespace, f"{LABEL_REVISION}={first}"),
            *await bench.kube.list(CONFIG_MAP, bench.namespace, f"{LABEL_REVISION}={first}"),
            *await bench.kube.list(POD, bench.namespace, f"{LABEL_REVISION}={first}"),
        ]
        return not left

    await eventually("objects of the old revision are gone", old_is_gone)

    async def told() -> bool:
        events = await bench.kube.list(EVENT, bench.namespace)
        notes = {(e["reason"], e["note"].split()[1]) for e in events if e["regarding"]["name"] == "assistant"}
        steps = {("RevisionCreated", preview), ("RevisionPromoted", preview), ("RevisionRemoved", first)}
        return steps <= notes

    await eventually("events tell of each step", told)


async def test_scaling_is_no_new_revision(bench: Bench) -> None:
    manifest = route(bench.namespace, "assistant", [rule("all", "pro")], consumers=anyone("pro"))
    await bench.apply(backend(bench.namespace, "pro"), manifest)
    first = (await bench.settled("assistant"))["status"]["revision"]["active"]
    manifest["spec"]["gateway"] = {"replicas": 3}
    await bench.apply(manifest)

    async def scaled() -> bool:
        found = await bench.get(DEPLOYMENT, f"assistant-gw-{first}")
        return found is not None and found["status"].get("readyReplicas") == 3

    await eventually("three pods of the same revision", scaled)
    assert (await bench.settled("assistant"))["status"]["revision"]["active"] == first


async def test_a_spec_that_is_refused_never_replaces_the_active_revision(bench: Bench) -> None:
    manifest = route(bench.namespace, "assistant", [rule("all", "pro")], consumers=anyone("pro"))
    await bench.apply(backend(bench.namespace, "pro"), manifest)
    active = (await bench.settled("assistant"))["status"]["revision"]["active"]

    wrong = {"podTemplate": {"spec": {"containers": "envoy"}}}
    refused = route(bench.namespace, "assistant", [rule("all", "pro")], gateway=wrong)
    await bench.apply(refused)
    await bench.wait_route("assistant", "Accepted", "False", reason="CompileFailed", says="containers")
    await bench.wait_route("assistant", "Ready", "False", says=f"Revision {active} goes on serving")
    await bench.wait_route("assistant", "Stalled", "True", reason="CompileFailed")
    await bench.wait_route("assistant", "Programmed", "True")
    assert await selected(bench) == active
    assert await bench.get(DEPLOYMENT, f"assistant-gw-{active}")

    await bench.apply(manifest)
    await bench.wait_route("assistant", "Ready", "True")
    found = await bench.settled("assistant")
    assert found["status"]["revision"]["active"] == active, "the same spec is the same revision"
    assert condition(found, "Stalled") is None


async def test_deleting_a_route_removes_everything_it_owns(bench: Bench) -> None:
    await bench.apply(
        backend(bench.namespace, "pro"),
        route(bench.namespace, "assistant", [rule("all", "pro")], consumers=anyone("pro")),
    )
    await bench.settled("assistant")

    async def left() -> list[str]:
        found = [
            o
            for kind in OWNED
            for o in await bench.kube.list(kind, bench.namespace, "moltbot.io/route=assistant")
        ]
        return [f"{o['kind']} {o['metadata']['name']}" for o in found]

    assert len(await left()) >= len(OWNED)
    await bench.delete(MOLTBOT_ROUTE, "assistant")

    async def nothing_left() -> bool:
        return not await left()

    await eventually("all owned objects are gone", nothing_left, 60)

    async def counted() -> bool:
        found = await bench.get(MODEL_BACKEND, "pro")
        return found is not None and found["status"].get("routes") == 0

    await eventually("the backend counts no route", counted)
    assert bench.operator_runs()


async def test_pods_that_report_another_revision_are_not_programmed(bench: Bench) -> None:
    await bench.apply(
        backend(bench.namespace, "pro"),
        route(bench.namespace, "assistant", [rule("all", "pro")], consumers=anyone("pro")),
    )
    active = (await bench.settled("assistant"))["status"]["revision"]["active"]
    bench.evidence.stale["assistant"] = "0123456789"
    # Any event makes the operator ask again before its minute is over: here a pod's replacement.
    for pod in await bench.kube.list(POD, bench.namespace):
        await bench.kube.delete(POD, bench.namespace, pod["metadata"]["name"])
    await bench.wait_route(
        "assistant", "Programmed", "False", reason="RevisionNotReported", says="0123456789"
    )
    await bench.wait_route("assistant", "Ready", "False", reason="NotProgrammed")
    bench.evidence.stale.clear()
    await bench.wait_route("assistant", "Ready", "True", says=active)
