"""One MoltBotRoute: gather what it refers to, decide the next step, carry it out, say how it stands.

::

    cache ─▶ Wanter (parse, gather, compile) ─▶ desired revision ─┐
    cache, agents ─▶ observe ─▶ existing revisions ───────────────┼─▶ rollout.decide ─▶ Applier ─▶ status,
    events status, Service ─▶ serving revision ──────────────────────────┘

Each call does at most one step of a rollout, and doing it twice changes nothing.
"""

from base64 import b64decode
from collections.abc import Callable
from datetime import datetime, timedelta
from secrets import token_urlsafe
from typing import Any, Final, Protocol
from zlib import crc32

from moltbot_operator import rollout
from moltbot_operator.compile import compile_route
from moltbot_operator.compile.workloads import (
    NO_REVISION,
    TOKEN_KEY,
    Image,
    Manifest,
    Owner,
    PullPolicy,
)
from moltbot_operator.conditions import RouteFacts, merge, route_conditions
from moltbot_operator.constants import LABEL_REVISION
from moltbot_operator.kube.cache import Cache
from moltbot_operator.kube.cluster import Cluster
from moltbot_operator.kube.kinds import CONFIG_MAP, DEPLOYMENT, MOLTBOT_ROUTE, SECRET, SERVICE
from moltbot_operator.kube.queue import Key
from moltbot_operator.reconcile.announce import condition_announcements, rollout_announcements
from moltbot_operator.reconcile.apply import Applied, owned
from moltbot_operator.reconcile.carry import Carrier, RouteMemory
from moltbot_operator.reconcile.contents import ContentsMemo
from moltbot_operator.reconcile.evidence import EvidenceReader
from moltbot_operator.reconcile.gather import Gatherer
from moltbot_operator.reconcile.measurements import measurements_of
from moltbot_operator.reconcile.observe import observe, of_revision, stuck
from moltbot_operator.reconcile.publish import Publisher
from moltbot_operator.reconcile.specs import BackendSpecs
from moltbot_operator.reconcile.status import (
    address,
    backend_items,
    revision_status,
    rollout_status,
    rule_items,
)
from moltbot_operator.reconcile.wanted import Compiler, Wanted, Wanter
from moltbot_operator.rollout import Flip, Observed, Plan, View

__all__ = ["RouteReconciler", "RouteSettings"]

POLL: Final = timedelta(seconds=60)
"""How often a settled route's pods are asked whether they still run its revision."""

FIRST_LOOK: Final = timedelta(seconds=1)
"""How soon a rollout under way is looked at again; later looks are rarer."""

LAST_LOOK: Final = timedelta(seconds=15)
"""Longest pause between looks at a rollout under way."""

NEXT_STEP: Final = timedelta(milliseconds=100)
"""How soon the step after a write is taken."""

SPREAD: Final = 0.2
"""Share of POLL over which routes spread, so that they don't all ask at once after a restart."""


class RouteSettings(Protocol):
    """The part of Settings that is used here."""

    @property
    def gateway_image(self) -> str:
        """Image of the gateway pods."""

    @property
    def image_pull_policy(self) -> PullPolicy:
        """When nodes pull it."""

    @property
    def own_namespace(self) -> str:
        """Where the operator runs: only from there may evidence be read."""


class RouteReconciler:
    """Reconciles MoltBotRoutes."""

    def __init__(
        self,
        cluster: Cluster,
        cache: Cache,
        evidence: EvidenceReader,
        clock: Callable[[], datetime],
        settings: RouteSettings,
        *,
        compiler: Compiler = compile_route,
    ) -> None:
        """`clock` gives the time with its zone; `compiler` is the compiler unless a test brings another."""
        self._cache = cache
        self._evidence = evidence
        self._clock = clock
        gatherer = Gatherer(cache, ContentsMemo(cluster, cache), BackendSpecs())
        image = Image(settings.gateway_image, settings.image_pull_policy)
        self._wanter = Wanter(gatherer, compiler, image)
        self._carrier = Carrier(cluster, cache, clock, settings.own_namespace)
        self._publisher = Publisher(cluster, cache, MOLTBOT_ROUTE)
        self._measurements = measurements_of(cache)
        self._memories: dict[tuple[str, str], RouteMemory] = {}

    async def reconcile(self, key: Key) -> timedelta | None:
        """One step towards what the route asks for; returns when to look again.

        ClusterError if the API server refuses or does not answer: the queue tries again later.
        """
        manifest = self._cache.get(MOLTBOT_ROUTE, key.namespace, key.name)
        if manifest is None:
            self._forget(key)
            return None
        if manifest["metadata"].get("deletionTimestamp"):
            return None
        memory = self._memory(manifest)
        owner = memory.owner
        wanted = await self._wanter.want(manifest, owner)
        desired = wanted.revision.name if wanted.revision else None
        serving = self._serving(manifest, memory, desired)
        token = self._token(memory)
        evidence = self._measurements.of(manifest, self._evidence, self._clock)
        observed = await observe(self._cache, owner, evidence, token, {desired, serving})
        gateway = wanted.gateway or memory.gateway
        replicas = gateway.replicas if gateway else 0
        plan = rollout.decide(View(desired, serving, replicas, observed))
        if any(isinstance(action, Flip) for action in plan.actions):
            # Recorded before it is carried out: after a crash in between, the pods prove themselves anew.
            before = manifest.get("status") or {}
            await self._publisher.publish(
                manifest, {"revision": revision_status(before.get("revision") or {}, plan)}
            )
            manifest = self._cache.get(MOLTBOT_ROUTE, key.namespace, key.name) or manifest
        applied = await self._carrier.carry_out(memory, wanted, plan, token)
        await self._report(manifest, wanted, plan, observed, applied)
        if applied.rejection:
            raise applied.rejection
        return self._again(memory, plan, observed, applied)

    def _memory(self, manifest: Manifest) -> RouteMemory:
        meta = manifest["metadata"]
        place = (meta["namespace"], meta["name"])
        memory = self._memories.get(place)
        if memory is None or memory.owner.uid != meta["uid"]:
            memory = self._memories[place] = RouteMemory(Owner(*place, meta["uid"]))
        return memory

    def _forget(self, key: Key) -> None:
        place = (key.namespace, key.name)
        self._memories.pop(place, None)
        self._wanter.forget(*place)
        self._carrier.forget(*place)
        self._measurements.forget(place)

    def _serving(self, manifest: Manifest, memory: RouteMemory, desired: str | None) -> str | None:
        """The active revision: as status says, else as the Service says, if it exists or can be made.

        Unless the Service still selects the one before: then that one, since a recorded flip is not yet done.
        """
        owner = memory.owner
        service = self._cache.get(SERVICE, owner.namespace, owner.name)
        selected = None
        if service is not None and owned(owner, service):
            selected = ((service.get("spec") or {}).get("selector") or {}).get(LABEL_REVISION)
        status = (manifest.get("status") or {}).get("revision") or {}
        recorded = status.get("active")
        unfinished = selected in (status.get("stable") or [])[:1]
        if selected and unfinished and of_revision(self._cache, owner, DEPLOYMENT, selected):
            # A flip was recorded and not carried out: the pods have to prove themselves anew.
            return str(selected)
        for revision in (recorded, selected):
            if not revision or revision == NO_REVISION:
                continue
            if revision == desired or revision in memory.rendered or self._left(owner, revision):
                return str(revision)
        return None

    def _left(self, owner: Owner, revision: str) -> bool:
        """Whether anything of the revision is there: its Deployment may be hidden by an edited label."""
        return any(of_revision(self._cache, owner, kind, revision) for kind in (DEPLOYMENT, CONFIG_MAP))

    def _token(self, memory: RouteMemory) -> str:
        """The evidence token: as remembered, as in the cluster, or a new one."""
        if not memory.token:
            owner = memory.owner
            secret = self._cache.get(SECRET, owner.namespace, owner.evidence) or {}
            if secret and owned(owner, secret):
                memory.token = b64decode((secret.get("data") or {}).get(TOKEN_KEY, "")).decode(
                    errors="replace"
                )
        memory.token = memory.token or token_urlsafe(32)
        return memory.token

    async def _report(
        self, manifest: Manifest, wanted: Wanted, plan: Plan, observed: dict[str, Observed], applied: Applied
    ) -> None:
        meta, before = manifest["metadata"], manifest.get("status") or {}
        owner, now = self._memory(manifest).owner, self._clock()
        compiled = wanted.revision.compiled if wanted.revision else None
        facts = RouteFacts(
            refused=wanted.refused,
            unresolved=wanted.unresolved,
            rules=compiled.rules if compiled else (),
            warnings=wanted.warnings,
            plan=plan,
            active=observed.get(plan.active) if plan.active else None,
            wanted=wanted.gateway.replicas if wanted.gateway else 0,
            blocked=applied.problem,
            stuck=stuck(self._cache, owner, plan.preview),
        )
        old = before.get("conditions") or []
        new = merge(old, route_conditions(facts), meta["generation"], now)
        status: dict[str, Any] = {
            "observedGeneration": meta["generation"],
            "conditions": new,
            "revision": revision_status(before.get("revision") or {}, plan),
            "rollout": rollout_status(before.get("rollout") or {}, plan, now),
        }
        if wanted.gateway and compiled:
            status["address"] = address(owner.namespace, owner.name, wanted.gateway)
            status["rules"] = rule_items(compiled.rules)
            status["backends"] = backend_items(compiled.backends, owner.namespace)
        steps = [] if applied.halted else rollout_announcements(plan)
        await self._publisher.publish(manifest, status, [*condition_announcements(old, new), *steps])

    def _again(
        self, memory: RouteMemory, plan: Plan, observed: dict[str, Observed], applied: Applied
    ) -> timedelta | None:
        if applied.again is not None:
            return applied.again
        if applied.written:
            return NEXT_STEP
        active = observed.get(plan.active) if plan.active else None
        settled = active is not None and active.proven(1)
        awaited = (plan.phase, plan.preview, plan.active, settled)
        if awaited != memory.awaited:
            memory.awaited, memory.looks = awaited, 0
        if plan.active is None and plan.preview is None:
            return None
        if settled and not plan.in_progress:
            share = crc32(f"{memory.owner.namespace}/{memory.owner.name}".encode()) / 2**32
            return POLL * (1 + SPREAD * (share - 0.5))
        memory.looks += 1
        return min(FIRST_LOOK * 1.5 ** (memory.looks - 1), LAST_LOOK)
