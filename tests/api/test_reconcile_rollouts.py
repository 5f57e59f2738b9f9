"""Rollouts against a real API server: every way a revision can be broken, and what people can do."""

import asyncio
import time
from typing import Any

import pytest
from standins import Bench, Manifest, anyone, backend, condition, eventually, route, rule, secret

from moltbot_operator.constants import LABEL_REVISION, LABEL_ROUTE
from moltbot_operator.kube.kinds import DEPLOYMENT, EVENT, MOLTBOT_ROUTE, POD, SERVICE
from moltbot_operator.rollout.ports import GateAnswer, GateVerdict, TestOutcome

pytestmark = pytest.mark.api

SUCCESS = {"name": "success", "query": "SuccessRate", "successCondition": ">= 0.99"}
SLOW = {"name": "p95", "query": "LatencyP95", "successCondition": "<= 1.2 * active"}
SLO = {
    "name": "slo",
    "source": "Prometheus",
    "url": "http://prometheus.test:9090",
    "query": "slo",
    "successCondition": ">= 0.99",
}
REQUESTS = {"requests": [{"path": "/v1/models"}]}
GATE = {"url": "https://gate.test", "timeout": "1s"}


def analysis(*metrics: Manifest, count: int = 1) -> Manifest:
    return {"interval": "1s", "count": count, "metrics": list(metrics)}


def changed(bench: Bench, name: str, model: str, **rollout: Any) -> Manifest:
    """The route over another backend: another revision."""
    return route(
        bench.namespace, name, [rule("all", model)], consumers=anyone("one", "two", "three"), rollout=rollout
    )


async def backends(bench: Bench) -> None:
    await bench.apply(*(backend(bench.namespace, name) for name in ("one", "two", "three")))


async def stable(bench: Bench, *names: str) -> dict[str, str]:
    """Routes over backend `one`, settled; their revisions, with which nothing is ever wrong."""
    await backends(bench)
    await bench.apply(*(changed(bench, name, "one") for name in names))
    found = {name: (await bench.settled(name))["status"]["revision"]["active"] for name in names}
    bench.evidence.sound |= set(found.values())
    return found


async def status(bench: Bench, name: str = "assistant") -> Manifest:
    found = await bench.get(MOLTBOT_ROUTE, name)
    assert found is not None
    return found.get("status") or {}


async def selected(bench: Bench, name: str = "assistant") -> str:
    found = await bench.get(SERVICE, name)
    assert found is not None
    return found["spec"]["selector"][LABEL_REVISION]


async def phase(bench: Bench, wanted: str, name: str = "assistant", seconds: float = 60) -> Manifest:
    """The route once its rollout is in that phase and speaks of the present spec."""

    async def probe() -> Manifest | None:
        found = await bench.get(MOLTBOT_ROUTE, name)
        latest[0] = found
        fresh = found and found.get("status", {}).get("observedGeneration") == found["metadata"]["generation"]
        return found if fresh and found["status"]["rollout"]["phase"] == wanted else None

    latest: list[Manifest | None] = [None]
    try:
        return await eventually(f"{name} is {wanted}", probe, seconds)
    except AssertionError as error:
        raise AssertionError(f"{error}; {((latest[0] or {}).get('status') or {}).get('rollout')}") from None


async def revisions(bench: Bench, name: str = "assistant") -> set[str]:
    found = await bench.kube.list(DEPLOYMENT, bench.namespace, f"{LABEL_ROUTE}={name}")
    return {deployment["metadata"]["labels"][LABEL_REVISION] for deployment in found}


def kstatus(found: Manifest) -> str:
    """What sigs.k8s.io/cli-utils' kstatus computes."""
    assert found["status"]["observedGeneration"] == found["metadata"]["generation"]
    true = {c["type"] for c in found["status"]["conditions"] if c["status"] == "True"}
    if "Reconciling" in true:
        return "InProgress"
    return "Failed" if "Stalled" in true else "Current" if "Ready" in true else "InProgress"


BROKEN: dict[str, tuple[str, Manifest, str]] = {
    "never-ready": ("ProgressDeadlineExceeded", {}, "0 of 1 pods are ready"),
    "crashes": ("ProgressDeadlineExceeded", {}, "CrashLoopBackOff"),
    "refused": ("ProgressDeadlineExceeded", {}, "its Envoy is not live"),
    "test-fails": ("TestsFailed", {"testing": REQUESTS}, "GET /v1/models: 500"),
    "gate-refuses": ("GateRefused", {"gates": [GATE]}, "not on Fridays"),
    "gate-hangs": ("GateTimedOut", {"gates": [GATE]}, "no answer in time"),
    "source-down": ("AnalysisSourceDown", {"analysis": analysis(SLO)}, "5 errors in a row"),
    "slo-missed": ("AnalysisFailed", {"analysis": analysis(SLO)}, "slo 0.5, not >= 0.99"),
}


async def test_a_broken_revision_never_takes_traffic_and_the_route_says_why(bench: Bench) -> None:
    before = await stable(bench, *BROKEN)
    bench.kubelet.broken.add("never-ready")
    bench.kubelet.crashing.add("crashes")
    bench.evidence.refused.add("refused")
    bench.outside.tests["test-fails"] = TestOutcome(False, "GET /v1/models: 500")
    bench.outside.gates["gate-refuses"] = GateAnswer(GateVerdict.REFUSED, "not on Fridays")
    bench.outside.hanging.add("gate-hangs")
    bench.outside.down.add("source-down")
    bench.outside.values["slo-missed"] = 0.5
    await bench.apply(
        *(
            changed(bench, name, "two", progressDeadline="10s", **settings)
            for name, (_, settings, _) in BROKEN.items()
        )
    )
    for name, (reason, _, says) in BROKEN.items():
        found = await phase(bench, "Failed", name, 90)
        failed = found["status"]["rollout"]["failed"]
        assert (failed["reason"], failed["generation"]) == (reason, 2), name
        assert says in failed["message"], name
        for kind in ("Degraded", "Stalled"):
            assert condition(found, kind)["reason"] == reason, name
            assert says in condition(found, kind)["message"], name
        assert condition(found, "Ready")["status"] == "True", name
        assert kstatus(found) == "Failed", name
        assert await selected(bench, name) == found["status"]["revision"]["active"] == before[name], name
        assert await selected(bench, f"{name}-preview") == before[name], name
        assert failed["revision"] not in await revisions(bench, name), "the preview is gone"
        assert found["spec"]["rules"][0]["candidates"][0]["backend"] == "two", "the spec is the user's"
    assert bench.operator_runs()


async def test_a_revision_that_fails_after_the_switch_is_switched_back(bench: Bench) -> None:
    names = {"errors": SUCCESS, "latency": SLOW}
    before = await stable(bench, *names)
    bench.evidence.bad |= {"errors": 0.5, "latency": 0.5}
    await bench.apply(
        *(changed(bench, name, "two", analysis=analysis(metric, count=2)) for name, metric in names.items())
    )
    for name, metric in names.items():
        found = await phase(bench, "Failed", name)
        assert found["status"]["rollout"]["failed"]["reason"] == "AnalysisFailed"
        assert f"{metric['name']} " in condition(found, "Degraded")["message"]
        assert await selected(bench, name) == before[name]
        assert await revisions(bench, name) == {before[name]}

        async def told(name: str = name) -> bool:
            events = await bench.kube.list(EVENT, bench.namespace)
            reasons = {e["reason"] for e in events if e["regarding"]["name"] == name}
            return {"RevisionPromoted", "RolledBack"} <= reasons

        await eventually("events tell of both switches", told)


async def test_no_traffic_pauses_with_both_revisions_until_somebody_decides(bench: Bench) -> None:
    before = await stable(bench, "accepted", "refused")
    bench.evidence.quiet |= {"accepted", "refused"}
    for name in before:
        await bench.apply(changed(bench, name, "two", analysis=analysis(SUCCESS), scaleDownDelay="0s"))
    for name in before:
        found = await phase(bench, "Paused", name)
        new = found["status"]["rollout"]["revision"]
        assert condition(found, "RolloutPaused")["reason"] == "Inconclusive"
        assert "0 requests, fewer than 50" in condition(found, "RolloutPaused")["message"]
        assert kstatus(found) == "InProgress"
        assert await selected(bench, name) == new
        assert await revisions(bench, name) == {before[name], new}
        command = {"promote": new} if name == "accepted" else {"abort": new}
        await bench.apply(
            changed(bench, name, "two", analysis=analysis(SUCCESS), scaleDownDelay="0s", **command)
        )
    accepted = await phase(bench, "Stable", "accepted")
    assert accepted["status"]["revision"]["stable"] == [before["accepted"]]
    assert kstatus(accepted) == "Current"
    refused = await phase(bench, "Failed", "refused")
    assert refused["status"]["rollout"]["failed"]["reason"] == "Aborted"
    assert await selected(bench, "refused") == before["refused"]


async def test_everything_passes_and_people_are_told(bench: Bench) -> None:
    before = await stable(bench, "assistant")
    await bench.apply(secret(bench.namespace, "gate", token="a-bearer"))
    settings = {
        "testing": REQUESTS,
        "analysis": analysis(SUCCESS, SLO, count=2),
        "gates": [{**GATE, "secretRef": {"name": "gate", "key": "token"}}],
        "notifications": [
            {"url": "https://hook.test"},
            {"url": "https://other.test", "events": ["Completed"]},
        ],
        "scaleDownDelay": "0s",
    }
    await bench.apply(changed(bench, "assistant", "two", **settings))
    found = await phase(bench, "Stable")

    async def done() -> bool:
        return await revisions(bench) == {found["status"]["revision"]["active"]}

    await eventually("the old revision is gone", done)
    kinds = [id_.split("/")[1] for id_ in bench.outside.asked]
    assert kinds == ["tests", "preview", "preview", "gates"]

    async def told() -> bool:
        return sorted(str(event.event) for event in bench.outside.told) == [
            "Completed",
            "Completed",
            "Promoted",
            "Started",
        ]

    await eventually("each is told once", told)
    assert {(event.revision, event.previous) for event in bench.outside.told} == {
        (found["status"]["revision"]["active"], before["assistant"])
    }

    async def nothing_pending() -> bool:
        return "pending" not in (await status(bench))["rollout"]

    await eventually("nothing is pending", nothing_pending)


async def test_a_rollout_waits_for_promote_and_says_what_other_commands_do_not(bench: Bench) -> None:
    before = await stable(bench, "assistant")
    bench.outside.deaf = True
    settings: dict[str, Any] = {"autoPromote": False, "notifications": [{"url": "https://hook.test"}]}
    await bench.apply(changed(bench, "assistant", "two", **settings))
    found = await phase(bench, "Paused")
    new = found["status"]["rollout"]["revision"]
    assert condition(found, "RolloutPaused")["reason"] == "AwaitingPromotion"
    assert await selected(bench) == before["assistant"]
    assert await selected(bench, "assistant-preview") == new
    await bench.apply(changed(bench, "assistant", "two", promote="0123456789", **settings))
    found = await phase(bench, "Paused")
    assert "promote names 0123456789, which is not under way" in found["status"]["rollout"]["message"]
    await bench.apply(changed(bench, "assistant", "two", promote=new, **settings))
    await phase(bench, "Stable")
    assert await selected(bench) == new

    async def lost() -> bool:
        events = await bench.kube.list(EVENT, bench.namespace)
        return any(e["reason"] == "NotificationFailed" for e in events)

    await eventually("a lost notification is told and stops nothing", lost)


async def test_the_spec_from_before_is_switched_to_at_once_without_new_pods(bench: Bench) -> None:
    before = await stable(bench, "assistant")
    await bench.apply(changed(bench, "assistant", "two"))
    found = await phase(bench, "Stable")
    assert [old["revision"] for old in found["status"]["rollout"]["old"]] == [before["assistant"]]
    pods = {pod["metadata"]["uid"] for pod in await bench.kube.list(POD, bench.namespace)}
    assert len(pods) == 2
    settings = {"gates": [GATE], "autoPromote": False, "analysis": analysis(SUCCESS)}
    began = time.monotonic()
    await bench.apply(changed(bench, "assistant", "one", **settings))

    async def back() -> bool:
        return await selected(bench) == before["assistant"]

    await eventually("it is switched back", back, every=0.02)
    took = time.monotonic() - began
    found = await phase(bench, "Stable")
    assert found["status"]["revision"]["active"] == before["assistant"]
    assert {pod["metadata"]["uid"] for pod in await bench.kube.list(POD, bench.namespace)} == pods
    assert bench.outside.asked == []
    assert took < 10, f"{took:.2f} s; alone on a machine it is below 1 s"


async def test_edits_in_a_row_leave_the_active_revision_alone_until_the_last_one_passes(bench: Bench) -> None:
    before = await stable(bench, "assistant")
    bench.kubelet.broken.add("assistant")
    for turn in range(6):
        model = ("two", "three")[turn % 2]
        manifest = changed(bench, "assistant", model, scaleDownDelay="0s")
        manifest["spec"]["rules"][0]["failover"] = {"maxRetries": turn}
        await bench.apply(manifest)
        await phase(bench, "Preparing")
        assert await selected(bench) == before["assistant"]
        await asyncio.sleep(0.3)
    last = (await status(bench))["rollout"]["revision"]
    bench.kubelet.broken.clear()
    for pod in await bench.kube.list(POD, bench.namespace, f"{LABEL_REVISION}={last}"):
        await bench.kube.delete(POD, bench.namespace, pod["metadata"]["name"])  # its successor gets ready
    await phase(bench, "Stable")
    assert await selected(bench) == last

    async def alone() -> bool:
        return await revisions(bench) == {last}

    await eventually("one revision is left", alone)


async def test_an_operator_that_restarts_in_every_phase_flips_once_and_asks_nothing_twice_at_once(
    bench: Bench,
) -> None:
    before = await stable(bench, "assistant")
    settings = {
        "testing": REQUESTS,
        "analysis": analysis(SUCCESS, count=2),
        "gates": [GATE],
        "scaleDownDelay": "0s",
    }
    await bench.apply(changed(bench, "assistant", "two", **settings))
    seen: list[tuple[str, str]] = []
    switches = [before["assistant"]]
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        rollout = (await status(bench))["rollout"]
        serves = await selected(bench)
        if serves != switches[-1]:
            switches.append(serves)
        where = (rollout["phase"], rollout.get("stage", ""))
        if rollout["phase"] == "Stable" and len(switches) > 1:
            break
        if where not in seen:
            seen.append(where)
            await bench.stop_operator()
            await bench.start_operator()
        await asyncio.sleep(0.02)
    found = await phase(bench, "Stable")
    assert switches == [before["assistant"], found["status"]["revision"]["active"]], "never two flips"
    assert len(seen) >= 4, seen

    async def alone() -> bool:
        return await revisions(bench) == {switches[-1]}

    await eventually("no revision is left over", alone)
