"""What others do to owned objects is undone; fights are not fought."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest
from standins import Bench, anyone, backend, eventually, route, rule

from moltbot_operator.errors import ClusterError, NotFound
from moltbot_operator.kube.kinds import (
    CONFIG_MAP,
    DEPLOYMENT,
    NETWORK_POLICY,
    POD_DISRUPTION_BUDGET,
    SECRET,
    SERVICE,
    SERVICE_ACCOUNT,
    Kind,
)

pytestmark = pytest.mark.api

WITHIN = 5.0
"""Seconds: an owned object that was deleted or edited by hand is as before."""

Edit = tuple[Kind, str, dict[str, Any], Callable[[dict[str, Any]], bool]]


async def settled(bench: Bench) -> str:
    await bench.apply(
        backend(bench.namespace, "pro"),
        route(bench.namespace, "assistant", [rule("all", "pro")], consumers=anyone("pro")),
    )
    return (await bench.settled("assistant"))["status"]["revision"]["active"]


def owned(revision: str) -> list[tuple[Kind, str]]:
    return [
        (SERVICE, "assistant"),
        (SERVICE, "assistant-preview"),
        (SERVICE_ACCOUNT, "assistant-gw"),
        (POD_DISRUPTION_BUDGET, "assistant-gw"),
        (NETWORK_POLICY, "assistant-gw"),
        (SECRET, "assistant-gw-evidence"),
        (CONFIG_MAP, f"assistant-gw-{revision}-0"),
        (DEPLOYMENT, f"assistant-gw-{revision}"),
    ]


async def test_every_deleted_object_comes_back_within_5_seconds(bench: Bench) -> None:
    revision = await settled(bench)
    for kind, name in owned(revision):
        before = await bench.get(kind, name)
        assert before is not None, f"{kind} {name}"
        await bench.delete(kind, name)

        async def back(kind: Kind = kind, name: str = name, uid: str = before["metadata"]["uid"]) -> Any:
            found = await bench.get(kind, name)
            return found if found and found["metadata"]["uid"] != uid else None

        after = await eventually(f"{kind} {name} is back", back, WITHIN)
        for part in ("data", "binaryData"):
            assert after.get(part) == before.get(part), f"{kind} {name}: {part}"
    assert (await bench.settled("assistant"))["status"]["revision"]["active"] == revision


async def test_every_edited_object_is_put_right_within_5_seconds(bench: Bench) -> None:
    revision = await settled(bench)
    edits: list[Edit] = [
        (
            SERVICE,
            "assistant",
            {"spec": {"selector": {"app": "x"}}},
            lambda o: "app" not in o["spec"]["selector"],
        ),
        (
            SERVICE,
            "assistant",
            {"spec": {"selector": {"moltbot.io/revision": "0000000000"}}},
            lambda o: o["spec"]["selector"]["moltbot.io/revision"] == revision,
        ),
        (
            SERVICE,
            "assistant-preview",
            {"spec": {"sessionAffinity": "ClientIP"}},
            lambda o: o["spec"]["sessionAffinity"] == "None",
        ),
        (
            SERVICE_ACCOUNT,
            "assistant-gw",
            {"automountServiceAccountToken": True},
            lambda o: o["automountServiceAccountToken"] is False,
        ),
        (
            POD_DISRUPTION_BUDGET,
            "assistant-gw",
            {"spec": {"maxUnavailable": 5}},
            lambda o: o["spec"]["maxUnavailable"] == 1,
        ),
        (
            NETWORK_POLICY,
            "assistant-gw",
            {"spec": {"ingress": [{}]}},
            lambda o: {} not in o["spec"]["ingress"],
        ),
        (
            SECRET,
            "assistant-gw-evidence",
            {"data": {"token": "eA=="}},
            lambda o: o["data"]["token"] != "eA==",
        ),
        (
            SECRET,
            "assistant-gw-evidence",
            {"metadata": {"ownerReferences": None}},
            lambda o: bool(o["metadata"].get("ownerReferences")),
        ),
        (
            CONFIG_MAP,
            f"assistant-gw-{revision}-0",
            {"metadata": {"labels": {"app.kubernetes.io/managed-by": None}}},
            lambda o: o["metadata"]["labels"].get("app.kubernetes.io/managed-by") == "moltbot-operator",
        ),
        (
            CONFIG_MAP,
            f"assistant-gw-{revision}-0",
            {"metadata": {"labels": {"moltbot.io/route": "other"}}},
            lambda o: o["metadata"]["labels"]["moltbot.io/route"] == "assistant",
        ),
        (
            DEPLOYMENT,
            f"assistant-gw-{revision}",
            {"spec": {"replicas": 0}},
            lambda o: o["spec"]["replicas"] == 1,
        ),
        (
            DEPLOYMENT,
            f"assistant-gw-{revision}",
            {"spec": {"template": {"spec": {"automountServiceAccountToken": True}}}},
            lambda o: o["spec"]["template"]["spec"]["automountServiceAccountToken"] is False,
        ),
        (
            DEPLOYMENT,
            f"assistant-gw-{revision}",
            {"spec": {"template": {"spec": {"securityContext": {"runAsNonRoot": False}}}}},
            lambda o: o["spec"]["template"]["spec"]["securityContext"]["runAsNonRoot"] is True,
        ),
    ]
    for kind, name, patch, right in edits:
        edited = await bench.kube.merge(kind, bench.namespace, name, patch)
        assert not right(edited), f"the edit of {kind} {name} must change something"

        async def undone(kind: Kind = kind, name: str = name, right: Callable[[Any], bool] = right) -> bool:
            found = await bench.get(kind, name)
            return found is not None and right(found)

        await eventually(f"{kind} {name}: {patch} is undone", undone, WITHIN)
    assert (await bench.settled("assistant"))["status"]["revision"]["active"] == revision


async def test_what_others_add_beside_our_fields_stays(bench: Bench) -> None:
    await settled(bench)
    await bench.kube.merge(
        SERVICE, bench.namespace, "assistant", {"metadata": {"annotations": {"their.io/x": "1"}}}
    )
    await bench.kube.merge(SERVICE, bench.namespace, "assistant", {"spec": {"sessionAffinity": "ClientIP"}})

    async def undone() -> bool:
        found = await bench.get(SERVICE, "assistant")
        return found is not None and found["spec"]["sessionAffinity"] == "None"

    await eventually("our field is put right", undone, WITHIN)
    found = await bench.get(SERVICE, "assistant")
    assert found["metadata"]["annotations"]["their.io/x"] == "1"


async def test_a_controller_that_fights_back_is_named_and_not_fought_hot(bench: Bench) -> None:
    await settled(bench)
    fought = 0
    ends = time.monotonic() + 8

    async def other_controller() -> None:
        nonlocal fought
        while time.monotonic() < ends:
            try:
                found = await bench.get(SERVICE, "assistant")
                if found and found["spec"]["sessionAffinity"] == "None":
                    await bench.kube.merge(
                        SERVICE, bench.namespace, "assistant", {"spec": {"sessionAffinity": "ClientIP"}}
                    )
                    fought += 1
            except (ClusterError, NotFound):
                continue
            await asyncio.sleep(0.02)

    fight = asyncio.create_task(other_controller())
    stalled = await bench.wait_route(
        "assistant", "Stalled", "True", reason="Contended", says="sessionAffinity"
    )
    assert "managedFields" in stalled["message"]
    await fight
    assert 5 <= fought <= 8, f"{fought} rounds in 8 s"
