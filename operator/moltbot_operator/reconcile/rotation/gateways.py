"""Implements the rotation's `Gateways`: evidence of every gateway pod of every route that uses the backend.

A pod of any revision counts: of the active one, of one in preview, and of one that is being scaled down. Pods
whose revision does not use the backend, or where no container has begun, have nothing to say. A pod that does
not answer is one that may still use the old credential.
"""

import asyncio
import hmac
from base64 import b64decode
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any, Literal

from moltbot_agent.evidence import fingerprint
from moltbot_operator.compile.credentials import ROTATED_KEY, ROTATED_NEXT, rotated_secret
from moltbot_operator.compile.sources import BackendRef
from moltbot_operator.compile.workloads import TOKEN_KEY, Owner
from moltbot_operator.kube.cache import Cache
from moltbot_operator.kube.cluster import Cluster, Manifest
from moltbot_operator.kube.kinds import MOLTBOT_ROUTE, POD, SECRET
from moltbot_operator.reconcile.evidence import EvidenceReader, EvidenceUnavailable
from moltbot_operator.reconcile.references import references_of
from moltbot_operator.reconcile.rotation.objects import encoded
from moltbot_operator.reconcile.rotation.reminding import Reminder

__all__ = ["RouteGateways", "is_ready", "runs"]

Question = Literal["holds", "uses", "uses only"]


class RouteGateways:
    """Asks the gateways of one backend."""

    def __init__(
        self,
        cluster: Cluster,
        cache: Cache,
        evidence: EvidenceReader,
        clock: Callable[[], datetime],
        ref: BackendRef,
    ) -> None:
        self._cache = cache
        self._evidence = evidence
        self._ref = ref
        self._reminder = Reminder(cluster, clock)

    async def ask(self, value: str, question: Question, *, urgent: bool) -> str:
        """See `moltbot_operator.rotation.driver.Gateways`."""
        asked = [
            self._ask(owner, pod, token, value, question, urgent=urgent)
            for owner, token in self._owners()
            for pod in self._cache.owned_by(owner.namespace, owner.name, POD)
        ]
        found = [said for said in await asyncio.gather(*asked) if said]
        rest = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
        return f"{found[0]}{rest}" if found else ""

    def _owners(self) -> Iterator[tuple[Owner, str]]:
        """Routes that name the backend, each with its evidence token."""
        for key in sorted(references_of(self._cache).routes_of.get(self._ref, ())):
            route = self._cache.get(MOLTBOT_ROUTE, key.namespace, key.name)
            if route is None:
                continue
            owner = Owner(key.namespace, key.name, route["metadata"]["uid"])
            secret = self._cache.get(SECRET, owner.namespace, owner.evidence) or {}
            data = (secret.get("data") or {}).get(TOKEN_KEY, "")
            yield owner, b64decode(data).decode(errors="replace")

    async def _ask(
        self, owner: Owner, pod: Manifest, token: str, value: str, question: Question, *, urgent: bool
    ) -> str:
        name = f"pod {owner.namespace}/{pod['metadata']['name']}"
        if not runs(pod) or (urgent and not is_ready(pod)):
            return ""
        if pod["metadata"].get("deletionTimestamp"):
            return (
                f"{name} is ending and may use another version till then" if question == "uses only" else ""
            )
        try:
            said = await self._evidence.read(pod, token)
        except EvidenceUnavailable as error:
            return f"{name}: {error}"
        wanted = fingerprint(token.encode(), value.rstrip("\r\n"))  # as the agent reads it
        for each in said.credentials:
            if each.backend != str(self._ref):
                continue
            used = hmac.compare_digest(each.fingerprint or "", wanted)
            if used or (question == "holds" and wanted in each.held):
                continue
            await self._remind(owner, pod, value)
            return f"{name} does not {'have' if question == 'holds' else 'use'} it yet"
        return ""

    async def _remind(self, owner: Owner, pod: Manifest, value: str) -> None:
        """Have the kubelet fetch the Secret that the pod mounts, once that has the value."""
        name = rotated_secret(self._ref.name)
        name = name if owner.namespace == self._ref.namespace else owner.copy(self._ref.namespace, name)
        secret = self._cache.get(SECRET, owner.namespace, name)
        data = (secret or {}).get("data") or {}
        if secret is None or encoded(value) not in {data.get(ROTATED_KEY), data.get(ROTATED_NEXT)}:
            return
        await self._reminder.remind(pod, secret)


def runs(pod: Manifest) -> bool:
    """Whether Envoy may run in it: it has begun, and is not known to be down."""
    status: dict[str, Any] = pod.get("status") or {}
    if status.get("phase") in {"Succeeded", "Failed"} or not status.get("podIP"):
        return False
    envoys = [each for each in status.get("containerStatuses") or [] if each.get("name") == "envoy"]
    return not envoys or any("running" in (each.get("state") or {}) for each in envoys)


def is_ready(pod: Manifest) -> bool:
    """Whether it gets requests."""
    conditions = (pod.get("status") or {}).get("conditions") or []
    return any(c.get("type") == "Ready" and c.get("status") == "True" for c in conditions)
