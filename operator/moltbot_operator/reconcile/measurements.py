"""What gateways counted of each backend that has objectives: written by routes, read by backends.

A route's pods are asked for evidence each minute or so anyway. A pod speaks only for backends that its own
route names: whoever can run a pod in a route's place must not be able to judge somebody else's backend.
Nothing is kept across a restart; two looks later it is all there again.
"""

import math
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from weakref import WeakKeyDictionary

from moltbot_operator.compile.sources import BackendRef
from moltbot_operator.kube.cache import Cache
from moltbot_operator.kube.cluster import Manifest
from moltbot_operator.kube.kinds import MODEL_BACKEND
from moltbot_operator.objectives import Counts, History, Measured, Sample, added, measure
from moltbot_operator.objectives.window import FRESH
from moltbot_operator.reconcile.evidence import AttemptsEvidence, Evidence, EvidenceReader
from moltbot_operator.reconcile.references import route_backends

__all__ = ["Measurements", "measurements_of"]


class Measurements:
    """Histories of pods, by the route that they belong to."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache
        self._pods: dict[tuple[str, str], dict[str, History]] = {}

    def of(self, route: Manifest, reader: EvidenceReader, clock: Callable[[], datetime]) -> EvidenceReader:
        """A reader that also takes in what the pods of a route (as it is written) counted."""
        return _Recording(self, route, reader, clock)

    def record(self, route: Manifest, pod: str, evidence: Evidence, now: datetime) -> None:
        """Take in what a pod (by uid) of a route told."""
        meta, backends = route["metadata"], route_backends(route)
        counts = {
            each.backend: _counts(each)
            for each in evidence.attempts
            if self._watched(ref := BackendRef.parse(each.backend, "")) and ref in backends
        }
        uptime = None if evidence.envoy.uptime_s is None else timedelta(seconds=evidence.envoy.uptime_s)
        pods = self._pods.setdefault((meta["namespace"], meta["name"]), {})
        pods[pod] = added(pods.get(pod, ()), Sample(now, uptime, counts))
        for name in [name for name, history in pods.items() if now - history[-1].at > FRESH]:
            del pods[name]

    def forget(self, route: tuple[str, str]) -> None:
        """The route is gone, and its pods with it."""
        self._pods.pop(route, None)

    def measure(self, ref: BackendRef, routes: Collection[tuple[str, str]], now: datetime) -> Measured:
        """The backend's last five minutes at the gateways of these routes."""
        return measure(self._histories(routes), str(ref), now)

    def _histories(self, routes: Collection[tuple[str, str]]) -> Iterator[History]:
        for route in routes:
            yield from self._pods.get(route, {}).values()

    def _watched(self, ref: BackendRef) -> bool:
        manifest: dict[str, Any] = self._cache.get(MODEL_BACKEND, ref.namespace, ref.name) or {}
        return (manifest.get("spec") or {}).get("objectives") is not None


@dataclass(frozen=True)
class _Recording:
    """Implements EvidenceReader."""

    measurements: Measurements
    route: Manifest
    reader: EvidenceReader
    clock: Callable[[], datetime]

    async def read(self, pod: Manifest, token: str) -> Evidence:
        said = await self.reader.read(pod, token)
        if said.envoy.live:
            uid = pod["metadata"].get("uid", "")
            self.measurements.record(self.route, uid, said, self.clock())
        return said


_measurements: WeakKeyDictionary[Cache, Measurements] = WeakKeyDictionary()


def measurements_of(cache: Cache) -> Measurements:
    """The measurements that go with this cache, made on first use: one operator has one of each."""
    if cache not in _measurements:
        _measurements[cache] = Measurements(cache)
    return _measurements[cache]


def _counts(told: AttemptsEvidence) -> Counts:
    buckets = ((math.inf if bound is None else bound, count) for bound, count in told.buckets)
    return Counts(told.ended, told.well, told.unanswered, told.refused, tuple(sorted(buckets)))
