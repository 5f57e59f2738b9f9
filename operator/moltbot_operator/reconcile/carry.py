"""Carrying out a step of a route's rollout, in the order in which it is safe."""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from moltbot_operator.api import Gateway
from moltbot_operator.compile.workloads import (
    GatewayRevision,
    Manifest,
    Owner,
    revision_manifests,
    shared_manifests,
)
from moltbot_operator.constants import LABEL_REVISION
from moltbot_operator.kube.cache import Cache
from moltbot_operator.kube.cluster import Cluster
from moltbot_operator.kube.kinds import (
    CONFIG_MAP,
    DEPLOYMENT,
    NETWORK_POLICY,
    POD,
    POD_DISRUPTION_BUDGET,
    SECRET,
    SERVICE,
)
from moltbot_operator.reconcile.apply import Applied, Applier
from moltbot_operator.reconcile.copies import Copies
from moltbot_operator.reconcile.observe import of_revision
from moltbot_operator.reconcile.wanted import Wanted
from moltbot_operator.rollout import Delete, Plan

__all__ = ["Carrier", "RouteMemory"]


_OF_REVISION: Final = (DEPLOYMENT, CONFIG_MAP, SECRET, SERVICE, NETWORK_POLICY, POD_DISRUPTION_BUDGET)
"""Kinds of what a revision has for itself; workers have all of them."""


@dataclass
class RouteMemory:
    """What is remembered of a route between calls; all of it can be lost without harm.

    `rendered`: revisions by name, to put right what serves while another is built. `gateway`: of the last
    accepted spec. `token`: of the evidence, so that a deleted Secret comes back with the token that the pods
    know. `awaited`, `looks`: what the rollout waits for, and how often that was looked at.
    """

    owner: Owner
    rendered: dict[str, GatewayRevision] = field(default_factory=dict)
    gateway: Gateway | None = None
    token: str = field(default="", repr=False)
    awaited: tuple[Any, ...] = ()
    looks: int = 0


class Carrier:
    """Makes the cluster what a plan says."""

    def __init__(
        self, cluster: Cluster, cache: Cache, clock: Callable[[], datetime], operator_namespace: str
    ) -> None:
        self._cache = cache
        self._copies = Copies(cluster, cache)
        self._applier = Applier(cluster, cache, clock)
        self._operator_namespace = operator_namespace

    async def carry_out(self, memory: RouteMemory, wanted: Wanted, plan: Plan, token: str) -> Applied:
        """Shared objects first (the Services flip here), then each kept revision, then what has to go.

        Of a route whose spec is refused, what the last accepted spec led to is kept up, as far as it is
        remembered.
        """
        applied, owner = Applied(), memory.owner
        if wanted.revision and wanted.gateway:
            memory.gateway = wanted.gateway
            memory.rendered[wanted.revision.name] = wanted.revision
        memory.rendered = {
            name: revision for name, revision in memory.rendered.items() if name in plan.replicas
        }
        copies = await self._copies.of(owner, memory.rendered.values(), freeze=len(plan.replicas) > 1)
        await self._applier.ensure(owner, copies, applied)
        if memory.gateway and not applied.halted:
            shared = shared_manifests(
                owner,
                memory.gateway,
                operator_namespace=self._operator_namespace,
                token=token,
                active=plan.active,
                preview=plan.preview or plan.active,
            )
            await self._applier.ensure(owner, shared, applied)
        for name, revision in memory.rendered.items():
            if not applied.halted:
                manifests = revision_manifests(
                    owner,
                    revision,
                    plan.replicas[name],
                    token=token,
                    operator_namespace=self._operator_namespace,
                )
                await self._applier.ensure(owner, manifests, applied)
        if not applied.halted:
            await self._applier.delete(self._obsolete(memory, plan, copies), applied)
        return applied

    def forget(self, namespace: str, name: str) -> None:
        """The route is gone."""
        self._copies.forget(namespace, name)
        self._applier.forget(f"{namespace}/{name}: ")

    def _obsolete(self, memory: RouteMemory, plan: Plan, copies: Collection[Manifest]) -> list[Manifest]:
        """What old revisions leave; copies only once no pod is left that may still read its own."""
        owner = memory.owner
        gone = [
            manifest
            for action in plan.actions
            if isinstance(action, Delete)
            for kind in _OF_REVISION
            for manifest in of_revision(self._cache, owner, kind, action.revision)
        ]
        pods = self._cache.owned_by(owner.namespace, owner.name, POD)
        running = {(pod["metadata"].get("labels") or {}).get(LABEL_REVISION) for pod in pods}
        known = running <= memory.rendered.keys() and plan.replicas.keys() <= memory.rendered.keys()
        return gone + (self._copies.obsolete(owner, copies) if known else [])
