"""One fault stays with its object: other rules, routes and the operator go on."""

import json

import pytest
from standins import Bench, anyone, api_key, backend, condition, eventually, route, rule, secret

from moltbot_operator.kube.kinds import EVENT, MODEL_BACKEND, MOLTBOT_ROUTE, SECRET

pytestmark = pytest.mark.api


async def reasons(bench: Bench, name: str) -> set[str]:
    events = await bench.kube.list(EVENT, bench.namespace)
    return {e["reason"] for e in events if e["regarding"]["name"] == name}


async def test_a_deleted_backend_is_visible_on_its_routes_and_only_its_rules_stop(bench: Bench) -> None:
    await bench.apply(
        backend(bench.namespace, "pro"),
        backend(bench.namespace, "max"),
        route(
            bench.namespace, "assistant", [rule("a", "pro"), rule("b", "max")], consumers=anyone("pro", "max")
        ),
    )
    await bench.settled("assistant")
    await bench.delete(MODEL_BACKEND, "pro")
    await bench.wait_route(
        "assistant", "ResolvedRefs", "False", reason="BackendNotFound", says="pro does not exist"
    )
    await bench.wait_route(
        "assistant", "Ready", "False", reason="RulesNotServed", says="1 of 2 rules answer 503 (a)"
    )
    found = await bench.settled("assistant")
    assert condition(found, "Degraded")["reason"] == "PartlyServed"
    assert [(r["name"], r["accepted"]) for r in found["status"]["rules"]] == [("a", False), ("b", True)]
    assert [(b["name"], b["ready"]) for b in found["status"]["backends"]] == [("max", True), ("pro", False)]

    async def told() -> bool:
        return "BackendNotFound" in await reasons(bench, "assistant")

    await eventually("an event tells", told)

    await bench.apply(backend(bench.namespace, "pro"))
    await bench.wait_route("assistant", "Ready", "True")
    found = await bench.settled("assistant")
    assert condition(found, "Degraded") is None


async def test_a_deleted_secret_shows_on_backend_and_route_and_heals(bench: Bench) -> None:
    await bench.apply(
        secret(bench.namespace, "keys", token="k"),
        backend(bench.namespace, "pro", auth=api_key("keys")),
        backend(bench.namespace, "max"),
        route(bench.namespace, "assistant", [rule("all", "pro", "max")], consumers=anyone("pro", "max")),
    )
    await bench.settled("assistant")
    await bench.wait_backend("pro", "Ready", "True")
    await bench.delete(SECRET, "keys")
    await bench.wait_backend("pro", "CredentialReady", "False", reason="SecretNotFound")
    await bench.wait_route("assistant", "ResolvedRefs", "False", reason="SecretNotFound")
    await bench.wait_route("assistant", "Degraded", "True", reason="PartlyServed")
    await bench.wait_route("assistant", "Ready", "True")
    await bench.apply(secret(bench.namespace, "keys", token="k2"))
    await bench.wait_backend("pro", "Ready", "True")
    await bench.wait_route("assistant", "ResolvedRefs", "True")


async def test_bad_routes_stop_nobody_else(bench: Bench) -> None:
    bad = [
        route(bench.namespace, "bad-backend", [rule("all", "nowhere")], consumers=anyone("nowhere")),
        route(
            bench.namespace,
            "bad-pods",
            [rule("all", "pro")],
            gateway={"podTemplate": {"spec": {"nodeSelektor": {"a": "b"}}}},
        ),
        route(
            bench.namespace,
            "bad-list",
            [rule("all", "pro")],
            gateway={"podTemplate": {"spec": {"containers": "envoy"}}},
        ),
    ]
    await bench.apply(backend(bench.namespace, "pro"), *bad)
    await bench.wait_route("bad-backend", "ResolvedRefs", "False", reason="BackendNotFound")
    await bench.wait_route("bad-pods", "Stalled", "True", reason="ApplyRejected", says="nodeSelektor")
    await bench.wait_route("bad-list", "Accepted", "False", reason="CompileFailed", says="containers")
    for index in range(3):
        await bench.apply(
            route(bench.namespace, f"good-{index}", [rule("all", "pro")], consumers=anyone("pro"))
        )
    for index in range(3):
        await bench.wait_route(f"good-{index}", "Ready", "True")
    assert bench.operator_runs()


async def test_a_rejected_object_is_not_tried_hot(bench: Bench) -> None:
    await bench.apply(
        backend(bench.namespace, "pro"),
        route(
            bench.namespace,
            "assistant",
            [rule("all", "pro")],
            gateway={"podTemplate": {"spec": {"nodeSelektor": {"a": "b"}}}},
        ),
    )
    await bench.wait_route("assistant", "Stalled", "True", reason="ApplyRejected")

    async def tries() -> int:
        return sum(
            1
            for event in bench.operator_writes()
            if event["objectRef"].get("resource") == "deployments"
            and event["objectRef"].get("namespace") == bench.namespace
        )

    async def several() -> bool:
        return await tries() >= 4

    await eventually("it is tried again by itself", several, 30)
    assert await tries() <= 6, "with growing pauses"

    await bench.apply(route(bench.namespace, "assistant", [rule("all", "pro")], consumers=anyone("pro")))
    await bench.wait_route("assistant", "Ready", "True")
    assert condition(await bench.get(MOLTBOT_ROUTE, "assistant"), "Stalled") is None


async def test_pods_that_cannot_be_made_are_explained(bench: Bench) -> None:
    quota = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "none", "namespace": bench.namespace},
        "spec": {"hard": {"pods": "0"}},
    }
    bench.bed.kubectl("apply", "-f", "-", stdin=json.dumps(quota))
    await bench.apply(
        backend(bench.namespace, "pro"),
        route(bench.namespace, "assistant", [rule("all", "pro")], consumers=anyone("pro")),
    )
    await bench.wait_route("assistant", "Reconciling", "True", says="exceeded quota")
