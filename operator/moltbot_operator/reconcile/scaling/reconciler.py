"""The workers of one MoltBotRoute: how many there shall be, and their Deployments made so.

::

    no autoscaling, External ─▶ spec.worker.replicas (a person, KEDA: by the scale subresource) ─┐
    HPA ─▶ a HorizontalPodAutoscaler writes spec.worker.replicas ────────────────────────────────┼─▶ scale
    Operator ─▶ look at the workers ─▶ autoscale.decide ─▶ status.worker.desired ────────────────┘

`status.worker.desired` is recorded before it is carried out, so that a crash between the two repeats the
step. All revisions of the route have the same number: a preview begins with as many as serve, and what may
have to come back is as large as it was.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final, Protocol

import structlog
from pydantic import ValidationError

from moltbot_operator.api import Autoscaling, AutoscalingMode, Worker
from moltbot_operator.autoscale import Decision, Reason, State, decide
from moltbot_operator.compile.workloads import Owner, autoscaler
from moltbot_operator.conditions.merge import timestamp
from moltbot_operator.constants import COMPONENT_WORKER, LABEL_COMPONENT, LABEL_REVISION
from moltbot_operator.kube.cache import Cache
from moltbot_operator.kube.cluster import Cluster, Manifest
from moltbot_operator.kube.kinds import AUTOSCALER, DEPLOYMENT, MOLTBOT_ROUTE, POD
from moltbot_operator.kube.queue import Key
from moltbot_operator.reconcile.announce import Announcement
from moltbot_operator.reconcile.apply import Applied, Applier, owned
from moltbot_operator.reconcile.publish import Publisher
from moltbot_operator.reconcile.scaling.http import LoadReader
from moltbot_operator.reconcile.scaling.look import Memory, look

__all__ = ["ScalingSettings", "WorkerReconciler"]

_RESTS: Final = frozenset({None, "Stable", "Failed"})
"""Phases of a rollout in which nothing is under way."""


_SOON: Final = timedelta(seconds=1)
"""When workers that have just been asked for are looked at first."""


class ScalingSettings(Protocol):
    """The part of Settings that is used here."""

    @property
    def scale_period(self) -> timedelta:
        """How often workers are measured."""


@dataclass
class _Route:
    """What is remembered of a route's workers; losing it holds everything for a window."""

    state: State = field(default_factory=State)
    readings: Memory = field(default_factory=dict)
    next_look: datetime | None = None
    revision: str | None = None


class WorkerReconciler:
    """Reconciles keys of kind `Workers`, named as their route."""

    def __init__(
        self,
        cluster: Cluster,
        cache: Cache,
        load: LoadReader,
        clock: Callable[[], datetime],
        settings: ScalingSettings,
    ) -> None:
        """`clock` gives the time with its zone."""
        self._cluster = cluster
        self._cache = cache
        self._load = load
        self._clock = clock
        self._period = settings.scale_period
        self._publisher = Publisher(cluster, cache, MOLTBOT_ROUTE)
        self._applier = Applier(cluster, cache, clock)
        self._routes: dict[tuple[str, str], _Route] = {}
        self._log = structlog.get_logger(__name__)

    async def reconcile(self, key: Key) -> timedelta | None:
        """One look and what follows from it; returns when to look again.

        ClusterError if the API server refuses or does not answer: the queue tries again later.
        """
        place = (key.namespace, key.name)
        manifest = self._cache.get(MOLTBOT_ROUTE, *place)
        if manifest is None or manifest["metadata"].get("deletionTimestamp"):
            self._routes.pop(place, None)
            return None
        owner = Owner(*place, manifest["metadata"]["uid"])
        deployments = self._deployments(owner)
        worker = _worker(manifest)
        if worker is None:  # the route's own reconciler reports a spec that can't be read
            return None
        scaling = worker.autoscaling
        await self._autoscaler(owner, scaling if deployments else None)
        if not deployments:
            self._routes.pop(place, None)
            await self._publisher.publish(manifest, {"worker": None})
            return None
        revision = _serving(manifest, deployments)
        running = (deployments[revision].get("status") or {}).get("replicas", 0)
        status, said, again = await self._wanted(manifest, worker, owner, revision, running)
        await self._publisher.publish(manifest, {"worker": status}, said)
        for deployment in deployments.values():
            await self._scale(deployment, status["desired"])
        return again

    async def _wanted(
        self, manifest: Manifest, worker: Worker, owner: Owner, revision: str, running: int
    ) -> tuple[dict[str, Any], list[Announcement], timedelta | None]:
        """`status.worker`, what is announced, and when to look again."""
        route = self._routes.setdefault((owner.namespace, owner.name), _Route())
        before = (manifest.get("status") or {}).get("worker") or {}
        scaling, now = worker.autoscaling, self._clock()
        status = {**before, "selector": _selector(owner, revision), "replicas": running}
        if scaling is None or scaling.mode is not AutoscalingMode.OPERATOR:
            route.state, route.next_look = State(), None
            reason = _by_others(scaling)
            said = _changed(before.get("desired"), worker.replicas, reason)
            return _recorded(status, worker.replicas, reason, now), said, None
        desired: int | None = before.get("desired")
        if worker.replicas == 0:
            route.state = State()
            reason = f"{Reason.OFF}: spec.worker.replicas is 0; any other number starts them"
            return _recorded(status, 0, reason, now), _changed(desired, 0, reason), None
        if not desired or before.get("reason", "").startswith(_OTHERS):
            first = min(max(worker.replicas, scaling.min_replicas), scaling.max_replicas)
            route.state, reason = State(), f"Started: begins with {first} for spec.worker.replicas"
            return _recorded(status, first, reason, now), _changed(desired, first, reason), _SOON
        if route.next_look is not None and now < route.next_look and route.revision == revision:
            return _recorded(status, desired, before.get("reason", ""), now), [], route.next_look - now
        route.next_look, route.revision = now + self._period, revision
        decision = await self._decide(scaling, manifest, route, self._pods(owner, revision), desired)
        route.state = decision.state
        reason, said = _told(before, decision, desired)
        return _recorded(status, decision.replicas, reason, now), said, self._period

    async def _decide(
        self,
        scaling: Autoscaling,
        manifest: Manifest,
        route: _Route,
        pods: list[Manifest],
        desired: int,
    ) -> Decision:
        phase = ((manifest.get("status") or {}).get("rollout") or {}).get("phase")
        held = "" if phase in _RESTS else f"a rollout is under way ({phase})"
        now = self._clock()
        samples = await look(self._load, scaling, pods, route.readings, replicas=desired, now=now, held=held)
        return decide(scaling, route.state, samples, now)

    async def _autoscaler(self, owner: Owner, scaling: Autoscaling | None) -> None:
        """The HorizontalPodAutoscaler in its mode, and none in another."""
        applied = Applied()
        if scaling is not None and scaling.mode is AutoscalingMode.HPA:
            await self._applier.ensure(owner, [autoscaler(owner, scaling)], applied)
            if applied.problem is not None:
                self._log.warning("no autoscaler", reason=applied.problem.message)
            return
        live = self._cache.get(AUTOSCALER, owner.namespace, owner.autoscaler)
        if live is not None and owned(owner, live):
            await self._applier.delete([live], applied)

    async def _scale(self, deployment: Manifest, replicas: int) -> None:
        meta = deployment["metadata"]
        if meta.get("deletionTimestamp") or (deployment.get("spec") or {}).get("replicas", 1) == replicas:
            return
        await self._cluster.scale(DEPLOYMENT, meta["namespace"], meta["name"], replicas)

    def _deployments(self, owner: Owner) -> dict[str, Manifest]:
        """The workers' Deployments by revision."""
        return {
            _label(manifest, LABEL_REVISION): manifest
            for manifest in self._cache.owned_by(owner.namespace, owner.name, DEPLOYMENT)
            if _label(manifest, LABEL_COMPONENT) == COMPONENT_WORKER and owned(owner, manifest)
        }

    def _pods(self, owner: Owner, revision: str) -> list[Manifest]:
        return [
            pod
            for pod in self._cache.owned_by(owner.namespace, owner.name, POD)
            if _label(pod, LABEL_COMPONENT) == COMPONENT_WORKER
            and _label(pod, LABEL_REVISION) == revision
            and not pod["metadata"].get("deletionTimestamp")
            and (pod.get("status") or {}).get("phase") not in {"Failed", "Succeeded"}
        ]


_OTHERS: Final = "AsWritten"
"""Begins the reason of a number that somebody else decides on."""


def _by_others(scaling: Autoscaling | None) -> str:
    who = "nobody" if scaling is None else "an autoscaler or a person"
    if scaling is not None and scaling.mode is AutoscalingMode.HPA:
        who = "the HorizontalPodAutoscaler"
    return f"{_OTHERS}: spec.worker.replicas counts, which {who} changes"


def _told(before: Mapping[str, Any], decision: Decision, desired: int) -> tuple[str, list[Announcement]]:
    """The reason with its figures, kept while nothing but figures changes; events of what is new."""
    kind = str(decision.reason)
    known = str(before.get("reason", ""))
    if decision.replicas == desired and known.startswith(f"{kind}: "):
        return known, []
    reason = f"{kind}: {decision.message}"
    if decision.replicas != desired:
        return reason, [Announcement("Normal", kind, "Scale", f"Workers {decision.message}")]
    if decision.reason is Reason.NO_DATA:
        return reason, [Announcement("Warning", kind, "Scale", f"The number of workers {decision.message}")]
    if decision.reason in {Reason.HELD, Reason.BOUND}:
        return reason, [Announcement("Normal", kind, "Scale", f"The number of workers {decision.message}")]
    return reason, []


def _changed(before: int | None, desired: int, reason: str) -> list[Announcement]:
    if before is None or before == desired:
        return []
    return [Announcement("Normal", "Scaled", "Scale", f"Workers from {before} to {desired}: {reason}")]


def _recorded(before: Mapping[str, Any], desired: int, reason: str, now: datetime) -> dict[str, Any]:
    """`status.worker`; a line has at most 1,024 characters."""
    status = {**before, "desired": desired, "reason": reason[:1000]}
    if before.get("desired") not in {None, desired}:
        status["lastScaleTime"] = timestamp(now)
    return status


def _worker(manifest: Manifest) -> Worker | None:
    try:
        return Worker.model_validate((manifest.get("spec") or {}).get("worker") or {})
    except ValidationError:
        return None


def _serving(manifest: Manifest, deployments: Mapping[str, Manifest]) -> str:
    """The revision whose workers are measured: what serves, else the one that is made ready."""
    revision = (manifest.get("status") or {}).get("revision") or {}
    for name in (revision.get("active"), revision.get("preview")):
        if name in deployments:
            return str(name)
    return max(deployments, key=lambda name: deployments[name]["metadata"].get("creationTimestamp") or "")


def _selector(owner: Owner, revision: str) -> str:
    return ",".join(f"{name}={value}" for name, value in sorted(owner.worker_selector(revision).items()))


def _label(manifest: Manifest, name: str) -> str:
    return str((manifest["metadata"].get("labels") or {}).get(name, ""))
