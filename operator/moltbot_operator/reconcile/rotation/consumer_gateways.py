"""Implements the rotation's `Gateways` for a consumer's key: which gateway pods let clients in with it."""

import asyncio
from base64 import b64decode
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Literal

from moltbot_agent.evidence import fingerprint
from moltbot_operator.compile.workloads import TOKEN_KEY, Owner
from moltbot_operator.kube.cache import Cache
from moltbot_operator.kube.cluster import Cluster, Manifest
from moltbot_operator.kube.kinds import MOLTBOT_ROUTE, POD, SECRET
from moltbot_operator.reconcile.evidence import EvidenceReader, EvidenceUnavailable
from moltbot_operator.reconcile.references import references_of
from moltbot_operator.reconcile.rotation.gateways import is_ready, runs
from moltbot_operator.reconcile.rotation.reminding import Reminder

__all__ = ["ConsumerGateways"]


class ConsumerGateways:
    """Pods of all routes of the namespace that have a consumer with this Secret, of whatever revision."""

    def __init__(
        self,
        cluster: Cluster,
        cache: Cache,
        evidence: EvidenceReader,
        clock: Callable[[], datetime],
        place: tuple[str, str],
    ) -> None:
        self._cache = cache
        self._evidence = evidence
        self._place = place
        self._reminder = Reminder(cluster, clock)

    async def ask(
        self,
        value: str,
        question: Literal["holds", "uses", "uses only"],  # noqa: ARG002
        *,
        urgent: bool,
    ) -> str:
        """See `moltbot_operator.rotation.driver.Gateways`: to hold a key is to take it from clients."""
        asked = [
            self._ask(pod, token, consumers, value, urgent=urgent)
            for owner, token, consumers in self._owners()
            for pod in self._cache.owned_by(owner.namespace, owner.name, POD)
        ]
        found = [said for said in await asyncio.gather(*asked) if said]
        rest = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
        return f"{found[0]}{rest}" if found else ""

    async def changed(self) -> None:
        """Have every pod's kubelet fetch the Secret as it is now."""
        secret = self._cache.get(SECRET, *self._place)
        for owner, _, _ in self._owners() if secret is not None else ():
            for pod in self._cache.owned_by(owner.namespace, owner.name, POD):
                await self._reminder.remind(pod, secret or {})

    def _owners(self) -> Iterator[tuple[Owner, str, frozenset[str]]]:
        """Routes, each with its evidence token and the names of the consumers concerned."""
        namespace, name = self._place
        for key in sorted(references_of(self._cache).users_of.get((SECRET, namespace, name), ())):
            route = self._cache.get(MOLTBOT_ROUTE, key.namespace, key.name) if key.kind == "Route" else None
            if route is None:
                continue
            owner = Owner(key.namespace, key.name, route["metadata"]["uid"])
            secret = self._cache.get(SECRET, owner.namespace, owner.evidence) or {}
            token = b64decode((secret.get("data") or {}).get(TOKEN_KEY, "")).decode(errors="replace")
            consumers = frozenset(
                each["name"]
                for each in (route.get("spec") or {}).get("consumers") or []
                if (((each.get("auth") or {}).get("apiKey") or {}).get("secretRef") or {}).get("name") == name
            )
            yield owner, token, consumers

    async def _ask(
        self, pod: Manifest, token: str, consumers: frozenset[str], value: str, *, urgent: bool
    ) -> str:
        name = f"pod {pod['metadata']['namespace']}/{pod['metadata']['name']}"
        ending = bool(pod["metadata"].get("deletionTimestamp"))  # no new request goes there
        if ending or not runs(pod) or (urgent and not is_ready(pod)):
            return ""
        try:
            said = await self._evidence.read(pod, token)
        except EvidenceUnavailable as error:
            return f"{name}: {error}"
        if said.consumers is None:
            return f"{name} does not tell which keys it takes: it is of an earlier version"
        wanted = fingerprint(token.encode(), value)
        for each in said.consumers:
            if each.consumer in consumers and wanted not in each.held:
                if (secret := self._cache.get(SECRET, *self._place)) is not None:
                    await self._reminder.remind(pod, secret)
                return f"{name} does not take it yet"
        return ""
