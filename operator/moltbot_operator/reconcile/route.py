"""One MoltBotRoute: gather what it refers to, decide the next step, carry it out, say how it stands.

::

    cache ─▶ Wanter (parse, gather, compile) ─▶ desired revision ─┐
    cache, agents ─▶ observe ─▶ existing revisions ───────────────┼─▶ rollout.decide ─▶ Applier ─▶ status,
    status, Service ─▶ state, serving revision ───────────────────┤                  └▶ Background  events
    Background ─▶ answers of tests, gates, measurements ──────────┘

Each call does at most one step of a rollout, and doing it twice changes nothing.
"""

import asyncio
from base64 import b64decode
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from secrets import token_urlsafe
from typing import Any, Protocol

from moltbot_operator import rollout
from moltbot_operator.api import Gateway
from moltbot_operator.compile import compile_route
from moltbot_operator.compile.workloads import (
    TOKEN_KEY,
    Image,
    Manifest,
    Owner,
    PullPolicy,
)
from moltbot_operator.conditions import RouteFacts, merge, route_conditions
from moltbot_operator.kube.cache import Cache
from moltbot_operator.kube.cluster import Cluster
from moltbot_operator.kube.kinds import MOLTBOT_ROUTE, SECRET
from moltbot_operator.kube.queue import Key
from moltbot_operator.reconcile.announce import condition_announcements, rollout_announcements
from moltbot_operator.reconcile.apply import Applied, owned
from moltbot_operator.reconcile.background import Background
from moltbot_operator.reconcile.carry import Carrier, RouteMemory
from moltbot_operator.reconcile.contents import ContentsMemo
from moltbot_operator.reconcile.evidence import EvidenceReader
from moltbot_operator.reconcile.gather import Gatherer
from moltbot_operator.reconcile.leaving import Leaving, Teller
from moltbot_operator.reconcile.looks import next_look
from moltbot_operator.reconcile.measurements import measurements_of
from moltbot_operator.reconcile.measuring import Measurer
from moltbot_operator.reconcile.observe import observe
from moltbot_operator.reconcile.outside import Outside
from moltbot_operator.reconcile.publish import Publisher
from moltbot_operator.reconcile.rotation.consumers import ConsumerKeys
from moltbot_operator.reconcile.serving import selected, serving
from moltbot_operator.reconcile.spec_history import SpecHistory
from moltbot_operator.reconcile.specs import BackendSpecs
from moltbot_operator.reconcile.status import (
    address,
    backend_items,
    revision_status,
    rollout_status,
    rule_items,
)
from moltbot_operator.reconcile.wanted import Compiler, Wanted, Wanter
from moltbot_operator.rollout import Observed, Plan, State, View, recorded
from moltbot_operator.rollout.ports import Ports

__all__ = ["RouteReconciler", "RouteSettings"]


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
        ports: Ports | None = None,
        background: Background | None = None,
        observe_rollout: Callable[[State, Plan, datetime], None] = lambda *_: None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        consumer_keys: ConsumerKeys | None = None,
        teller: Teller | None = None,
    ) -> None:
        """`clock` gives the time with its zone; `compiler` is the compiler unless a test brings another.

        `ports`: the world outside, None where there is none; `background` asks it. `observe_rollout` is told
        of the state before each step, the step, and the time; `sleep` is how measurements wait. Without
        `consumer_keys` none is rotated; without `teller` no pod is told that its clients shall leave.
        """
        self._sleep = sleep
        self._cluster = cluster
        self._cache = cache
        self._evidence = evidence
        self._clock = clock
        gatherer = Gatherer(cache, ContentsMemo(cluster, cache), BackendSpecs())
        image = Image(settings.gateway_image, settings.image_pull_policy)
        self._wanter = Wanter(gatherer, compiler, image)
        self._carrier = Carrier(cluster, cache, clock, settings.own_namespace)
        self._publisher = Publisher(cluster, cache, MOLTBOT_ROUTE)
        self._measurements = measurements_of(cache)
        self._specs = SpecHistory(cluster, cache)
        self._ports = ports
        self._background = background or Background()
        self._observe_rollout = observe_rollout
        self._consumer_keys = consumer_keys
        self._leaving = Leaving(cache, teller, clock)
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
        self._rotate(manifest, accepted=wanted.refused is None)
        desired = wanted.revision.name if wanted.revision else None
        state = recorded(manifest.get("status") or {})
        active = serving(self._cache, owner, manifest, state, {desired, *memory.rendered})
        token = self._token(memory)
        evidence = self._measurements.of(manifest, self._evidence, self._clock)
        asked = {desired, active, state.target, state.rollback_to}
        observed = await observe(self._cache, owner, evidence, token, asked)
        gateway = wanted.gateway or memory.gateway
        view = View(
            desired=desired,
            serving=active,
            replicas=gateway.replicas if gateway else 0,
            revisions=observed,
            settings=wanted.rollout,
            generation=manifest["metadata"]["generation"],
            results=self._background.results(key),
        )
        now = self._clock()
        plan = rollout.decide(state, view, now)
        applied = await self._carrier.carry_out(memory, wanted, plan, token)
        serves = plan.active if plan.active == active else selected(self._cache, owner)
        await self._report(manifest, wanted, plan, observed, applied=applied, serves=serves)
        self._observe_rollout(state, plan, now)
        await self._specs.record(owner, manifest, plan, desired)
        measurer = Measurer(
            owner=owner,
            gateway=gateway or Gateway(),
            cache=self._cache,
            evidence=evidence,
            token=token,
            clock=self._clock,
            sleep=self._sleep,
        )
        outside = Outside(owner, wanted.rollout, self._cluster, self._ports, measurer)
        self._background.want(key, plan.effects, outside)
        if applied.rejection:
            raise applied.rejection
        seen = observed.get(plan.active or "")
        look = next_look(memory, state, plan, active=seen, applied=applied, now=now)
        untold = await self._leaving.tell(owner, token, plan, selected(self._cache, owner))
        return min(filter(None, (look, untold)), default=None)

    def _memory(self, manifest: Manifest) -> RouteMemory:
        meta = manifest["metadata"]
        place = (meta["namespace"], meta["name"])
        memory = self._memories.get(place)
        if memory is None or memory.owner.uid != meta["uid"]:
            memory = self._memories[place] = RouteMemory(Owner(*place, meta["uid"]))
        return memory

    def _rotate(self, manifest: Manifest, *, accepted: bool) -> None:
        """Have consumers' keys rotated, or not any more."""
        if self._consumer_keys is None:
            return
        if accepted:
            self._consumer_keys.ensure(manifest)
        else:
            self._consumer_keys.forget(manifest["metadata"]["namespace"], manifest["metadata"]["name"])

    def _forget(self, key: Key) -> None:
        place = (key.namespace, key.name)
        if self._consumer_keys is not None:
            self._consumer_keys.forget(*place)
        self._memories.pop(place, None)
        self._wanter.forget(*place)
        self._carrier.forget(*place)
        self._measurements.forget(place)
        self._background.forget(key)
        self._specs.forget(*place)
        self._leaving.forget(*place)

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
        self,
        manifest: Manifest,
        wanted: Wanted,
        plan: Plan,
        observed: dict[str, Observed],
        *,
        applied: Applied,
        serves: str | None,
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
        )
        old = before.get("conditions") or []
        new = merge(old, route_conditions(facts), meta["generation"], now)
        status: dict[str, Any] = {
            "observedGeneration": meta["generation"],
            "conditions": new,
            "revision": revision_status(plan, serves),
            "rollout": rollout_status(plan),
        }
        if wanted.gateway and compiled:
            status["address"] = address(owner.namespace, owner.name, wanted.gateway)
            status["rules"] = rule_items(compiled.rules)
            status["backends"] = backend_items(compiled.backends, owner.namespace)
        steps = [] if applied.halted else rollout_announcements(plan)
        await self._publisher.publish(manifest, status, [*condition_announcements(old, new), *steps])
