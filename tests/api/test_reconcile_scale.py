"""Many resources: nothing is written when nothing changed, and a large route is delivered."""

import asyncio
import os
import random
import time
from base64 import b64decode, urlsafe_b64encode
from typing import Any

import pytest
from standins import Bench, anyone, api_key, backend, condition, eventually, route, rule, secret

from moltbot_agent.config import unpack
from moltbot_operator.constants import LABEL_REVISION
from moltbot_operator.kube.kinds import CONFIG_MAP, DEPLOYMENT, MODEL_BACKEND, MOLTBOT_ROUTE

pytestmark = pytest.mark.api

COUNT = int(os.environ.get("MOLTBOT_TEST_ROUTES", "200"))
"""Routes, and as many backends."""

IDLE = float(os.environ.get("MOLTBOT_TEST_IDLE", "60"))
"""Seconds of watching an idle operator."""


async def apply_all(bench: Bench, manifests: list[dict[str, Any]]) -> None:
    """In parallel, but not all at once."""
    slots = asyncio.Semaphore(16)

    async def one(manifest: dict[str, Any]) -> None:
        async with slots:
            await bench.apply(manifest)

    await asyncio.gather(*(one(manifest) for manifest in manifests))


async def settled(bench: Bench, kind: Any, type_: str) -> bool:
    found = await bench.kube.list(kind, bench.namespace)
    return len(found) >= COUNT and all(
        (condition(each, type_) or {}).get("status") == "True" and condition(each, "Reconciling") is None
        for each in found
    )


async def test_a_restart_and_idleness_write_nothing(bench: Bench) -> None:
    ns = bench.namespace
    await apply_all(bench, [secret(ns, "keys", token="k", app="a")])
    await apply_all(bench, [backend(ns, f"b-{n}", auth=api_key("keys")) for n in range(COUNT)])
    began = time.monotonic()
    await apply_all(
        bench,
        [route(ns, f"r-{n}", [rule("all", f"b-{n}")], consumers=anyone(f"b-{n}")) for n in range(COUNT)],
    )
    await eventually("all routes are Ready", lambda: settled(bench, MOLTBOT_ROUTE, "Ready"), 400, every=1)
    await eventually("all backends are Ready", lambda: settled(bench, MODEL_BACKEND, "Ready"), 60, every=1)
    print(f"{COUNT} routes and backends: Ready {time.monotonic() - began:.0f} s after the first was applied")

    async def calm() -> bool:
        before = len(list(bench.operator_writes()))
        await asyncio.sleep(3)
        return len(list(bench.operator_writes())) == before

    await eventually("what the creation led to is written", calm, 60)
    await bench.stop_operator()
    before = len(list(bench.operator_writes()))
    reads = bench.evidence.reads
    await bench.start_operator()

    async def looked_at_all() -> bool:
        return bench.evidence.reads - reads >= COUNT

    await eventually("the new operator has looked at every route", looked_at_all, 120, every=0.5)
    reads = bench.evidence.reads
    await asyncio.sleep(IDLE)
    assert bench.operator_runs()
    written = list(bench.operator_writes())[before:]
    assert [(event["verb"], event["requestURI"]) for event in written] == []
    if IDLE > 70:
        assert bench.evidence.reads > reads, "Programmed is kept honest by asking now and then"


async def test_a_route_of_1000_rules_and_1000_backends_is_delivered(bench: Bench) -> None:
    ns, many = bench.namespace, 1000
    chance = random.Random(0)  # noqa: S311 - not for secrets

    def long(size: int) -> str:
        """Text that does not compress, so that one ConfigMap is not enough."""
        return urlsafe_b64encode(chance.randbytes(size)).decode().rstrip("=")

    backends = [
        backend(ns, f"b-{n}", endpoint={"url": f"http://10.0.0.9:9/{long(735)}"}, model=long(180))
        for n in range(many)
    ]
    await apply_all(bench, backends)
    rules = [
        rule(f"rule-{n}", f"b-{n}", matches=[{"path": {"type": "Prefix", "value": f"/team-{n}"}}])
        for n in range(many)
    ]
    began = time.monotonic()
    consumers = anyone(*(f"b-{n}" for n in range(256)))
    await bench.apply(route(ns, "large", rules, consumers=consumers))
    await bench.wait_route("large", "Ready", "True", seconds=120)
    taken = time.monotonic() - began
    found = await bench.settled("large", 60)
    active = found["status"]["revision"]["active"]
    assert len(found["status"]["rules"]) == many
    maps = await bench.kube.list(CONFIG_MAP, ns, f"{LABEL_REVISION}={active}")
    parts = {key: b64decode(value) for each in maps for key, value in each["binaryData"].items()}
    agent, envoy = unpack([parts[name] for name in sorted(parts)])
    assert agent.revision == envoy["node"]["metadata"]["revision"] == active
    deployment = await bench.get(DEPLOYMENT, f"large-gw-{active}")
    (config,) = [v for v in deployment["spec"]["template"]["spec"]["volumes"] if v["name"] == "config"]
    assert len(config["projected"]["sources"]) == len(maps) > 1
    size = sum(len(part) for part in parts.values())
    print(f"1,000 rules and backends: Ready after {taken:.1f} s, {len(maps)} maps, {size // 1024} KiB")
