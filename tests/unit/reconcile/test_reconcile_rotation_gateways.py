"""What gateway pods say counts, whichever they are; those that can't use a credential have nothing to say."""

from base64 import b64encode
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from test_reconcile_faults import NS

from moltbot_agent.evidence import fingerprint
from moltbot_operator.compile.sources import BackendRef
from moltbot_operator.compile.workloads import Owner
from moltbot_operator.constants import LABEL_MANAGED_BY, LABEL_ROUTE, MANAGED_BY
from moltbot_operator.kube.cache import Cache
from moltbot_operator.kube.kinds import MOLTBOT_ROUTE, POD, SECRET
from moltbot_operator.reconcile.evidence import (
    CredentialEvidence,
    EnvoyEvidence,
    Evidence,
    EvidenceUnavailable,
)
from moltbot_operator.reconcile.rotation.gateways import RouteGateways

TOKEN, OLD, NEW = "evidence-token", "old-s3cret", "new-s3cret"
START = datetime(2026, 1, 1, tzinfo=UTC)
READY = {"conditions": [{"type": "Ready", "status": "True"}], "podIP": "10.0.0.1"}
UP = {"containerStatuses": [{"name": "envoy", "state": {"running": {}}}]}
DOWN = {"containerStatuses": [{"name": "envoy", "state": {"waiting": {"reason": "CrashLoopBackOff"}}}]}


def prints(*values: str) -> tuple[str, ...]:
    return tuple(fingerprint(TOKEN.encode(), value) for value in values)


class Gateways:
    """A cache with a route's pods, and what they say."""

    def __init__(self, route_namespace: str = NS) -> None:
        self.cache = Cache()
        self.said: dict[str, tuple[str | None, tuple[str, ...]] | None] = {}
        self.merged: list[str] = []
        self.now = START
        self.namespace = route_namespace
        name = "pro" if route_namespace == NS else f"{NS}/pro"
        spec = {"rules": [{"name": "r", "candidates": [{"backend": name}]}]}
        meta = {"name": "assistant", "namespace": route_namespace, "uid": "route-uid"}
        self.cache.put(MOLTBOT_ROUTE, {"metadata": meta, "spec": spec})
        self.secret("assistant-gw-evidence", token=TOKEN)
        self.gateways = RouteGateways(self, self.cache, self, lambda: self.now, BackendRef(NS, "pro"))  # type: ignore[arg-type]

    def secret(self, name: str, **values: str) -> None:
        data = {key: b64encode(value.encode()).decode() for key, value in values.items()}
        labels = {LABEL_MANAGED_BY: MANAGED_BY}
        meta = {"name": name, "namespace": self.namespace, "labels": labels, "resourceVersion": "7"}
        self.cache.put(SECRET, {"metadata": meta, "data": data})

    def pod(self, name: str, says: tuple[str | None, tuple[str, ...]] | None, **status: Any) -> None:
        """`says`: the value in use and those held; None: it does not answer."""
        labels = {LABEL_ROUTE: "assistant", LABEL_MANAGED_BY: MANAGED_BY}
        meta = {"name": name, "namespace": self.namespace, "uid": name, "labels": labels}
        if status.pop("ending", False):
            meta["deletionTimestamp"] = "2026-01-01T00:00:00Z"
        self.cache.put(POD, {"metadata": meta, "status": {**READY, **status}})
        self.said[name] = says

    async def read(self, pod: dict[str, Any], token: str) -> Evidence:
        assert token == TOKEN
        says = self.said[pod["metadata"]["name"]]
        if says is None:
            raise EvidenceUnavailable("its agent does not answer")
        used, held = says
        credential = CredentialEvidence(
            backend=f"{NS}/pro",
            present=used is not None,
            fingerprint=prints(used)[0] if used else None,
            held=prints(*held),
        )
        other = CredentialEvidence(backend=f"{NS}/other", present=True, fingerprint="x")
        envoy = EnvoyEvidence(live=True, revision="r")
        return Evidence(
            namespace=NS, route="assistant", revision="r", envoy=envoy, credentials=(other, credential)
        )

    async def merge(self, kind: Any, namespace: str, name: str, patch: dict[str, Any]) -> dict[str, Any]:
        assert (kind, namespace) == (POD, self.namespace)
        assert list(patch["metadata"]["annotations"]) == ["moltbot.io/credentials-written"]
        self.merged.append(name)
        return {}

    async def ask(self, question: Any, *, urgent: bool = False) -> str:
        return await self.gateways.ask(NEW, question, urgent=urgent)


@pytest.mark.parametrize("question", ["holds", "uses", "uses only"])
async def test_without_gateways_there_is_nobody_to_wait_for(question: str) -> None:
    assert await Gateways().ask(question) == ""


async def test_holding_is_not_using() -> None:
    gateways = Gateways()
    gateways.pod("a", (OLD, (OLD, NEW)))
    assert await gateways.ask("holds") == ""
    assert "pod n/a does not use it yet" in await gateways.ask("uses")
    gateways.pod("a", (NEW, (NEW,)))
    assert await gateways.ask("uses only") == ""


async def test_every_pod_counts_and_the_first_is_named() -> None:
    gateways = Gateways()
    gateways.pod("a", (NEW, (NEW,)))
    gateways.pod("b", None)
    gateways.pod("c", (OLD, (OLD,)))
    said = await gateways.ask("uses")
    assert said == "pod n/b: its agent does not answer (and 1 more)"


async def test_a_pod_that_is_ending_keeps_the_old_credential_alive() -> None:
    gateways = Gateways()
    gateways.pod("a", (OLD, (OLD,)), ending=True)
    assert await gateways.ask("uses") == ""
    assert "is ending" in await gateways.ask("uses only")


async def test_pods_that_run_no_envoy_have_nothing_to_say() -> None:
    gateways = Gateways()
    gateways.pod("a", None, podIP="")
    gateways.pod("b", None, phase="Failed")
    gateways.pod("c", None, **DOWN)
    assert await gateways.ask("uses only") == ""
    gateways.pod("d", None, **UP)
    assert "pod n/d" in await gateways.ask("uses only")


async def test_in_a_hurry_only_pods_that_get_requests_count() -> None:
    gateways = Gateways()
    gateways.pod("a", None, conditions=[])
    assert await gateways.ask("uses only") != ""
    assert await gateways.ask("uses only", urgent=True) == ""


@pytest.mark.parametrize("namespace", [NS, "elsewhere"])
async def test_the_kubelet_is_told_once_there_is_something_to_fetch(namespace: str) -> None:
    gateways = Gateways(namespace)
    gateways.pod("a", (OLD, (OLD,)))
    await gateways.ask("holds")
    assert gateways.merged == [], "the Secret that the pod mounts does not have it yet"
    owner = Owner("elsewhere", "assistant", "route-uid")
    name = "pro-credential" if namespace == NS else owner.copy(NS, "pro-credential")
    gateways.secret(name, value=OLD, next=NEW)
    for _ in range(3):
        await gateways.ask("holds")
    assert gateways.merged == ["a"]
    gateways.now += timedelta(seconds=6)
    await gateways.ask("holds")
    assert gateways.merged == ["a", "a"]
