"""Measuring a revision for its analysis: from what its gateways counted, test requests, or Prometheus."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from math import inf
from typing import Final

from moltbot_operator.api import Analysis, AnalysisMetric, Gateway, MetricSource, Rollout
from moltbot_operator.compile.workloads import Owner
from moltbot_operator.kube.cache import Cache
from moltbot_operator.objectives import Counts, Sample
from moltbot_operator.reconcile.evidence import EvidenceReader, EvidenceUnavailable, RequestsEvidence
from moltbot_operator.reconcile.observe import ready_pods
from moltbot_operator.reconcile.status import address
from moltbot_operator.rollout import Measure, Measurement, Reading
from moltbot_operator.rollout.ports import EffectError, Ports, Target
from moltbot_operator.rollout.traffic import CLIENTS, Look, between, latency, success_rate

__all__ = ["Measurer", "reading"]

PERCENTILES: Final[Mapping[str, int]] = {"LatencyP50": 50, "LatencyP95": 95, "LatencyP99": 99}

Sleep = Callable[[float], Awaitable[None]]


def reading(query: str, counts: Counts) -> tuple[float | None, int]:
    """The value of one of the gateway's own metrics (a share, or seconds), and the requests behind it."""
    if query == "SuccessRate":
        return success_rate(counts), counts.ended
    return latency(counts, PERCENTILES[query]), counts.known


@dataclass(frozen=True)
class Measurer:
    """Measures the revisions of one route."""

    owner: Owner
    gateway: Gateway
    cache: Cache
    evidence: EvidenceReader
    token: str = field(repr=False)
    clock: Callable[[], datetime]
    sleep: Sleep = asyncio.sleep

    def target(self, revision: str, *, preview: bool) -> Target:
        """The revision and where its ready pods are now."""
        name = self.owner.preview if preview else self.owner.name
        addresses = [
            str(found)
            for pod in ready_pods(self.cache, self.owner, revision)
            if (found := (pod.get("status") or {}).get("podIP"))
        ]
        return Target(
            namespace=self.owner.namespace,
            route=self.owner.name,
            revision=revision,
            service=address(self.owner.namespace, name, self.gateway),
            pods=tuple(sorted(addresses)),
            token=self.token,
        )

    async def measure(self, effect: Measure, settings: Rollout, ports: Ports) -> Measurement:
        """One measurement; takes `effect.over`, and what the sources take to answer."""
        analysis = settings.analysis
        if analysis is None:
            raise EffectError("spec.rollout.analysis went while it was measured")
        gateway = {metric.name for metric in analysis.metrics if metric.source is MetricSource.GATEWAY}
        ours, theirs = gateway & set(effect.metrics), gateway & set(effect.compare)
        live = bool(ours) and not effect.probe
        compared = effect.active if theirs else None
        before = await self._look(effect.revision) if live else None
        before_active = await self._look(compared) if compared else None
        counts = await self._wait(effect, settings, ports, probing=bool(ours) and effect.probe)
        if before:
            counts = between(before, await self._look(effect.revision))
        active = Counts()
        if before_active and compared:
            active = between(before_active, await self._look(compared))
        found = await asyncio.gather(
            *(self._read(metric, effect, counts, active, ports) for metric in _named(analysis, effect))
        )
        return Measurement({name: value for name, value in found if value is not None})

    async def _wait(self, effect: Measure, settings: Rollout, ports: Ports, *, probing: bool) -> Counts:
        """The time of the measurement, in which a preview gets its test requests."""
        seconds = effect.over / timedelta(seconds=1)
        if not probing or settings.analysis is None:
            await self.sleep(seconds)
            return Counts()
        samples = max(1, settings.analysis.minimum_sample_size)
        target = self.target(effect.revision, preview=True)
        _, counts = await asyncio.gather(
            self.sleep(seconds), ports.tester.probe(target, settings.testing, samples, effect.id)
        )
        return counts

    async def _read(
        self, metric: AnalysisMetric, effect: Measure, counts: Counts, active: Counts, ports: Ports
    ) -> tuple[str, Reading | None]:
        judged, compared = metric.name in effect.metrics, metric.name in effect.compare
        if metric.source is MetricSource.GATEWAY:
            value, samples = reading(metric.query, counts) if judged else (None, None)
            other, other_samples = reading(metric.query, active) if compared else (None, None)
            return metric.name, Reading(value, samples, other, other_samples)
        try:
            value = await self._asked(metric, effect.revision, effect, ports) if judged else None
            other = None
            if compared and effect.active:
                other = await self._asked(metric, effect.active, effect, ports)
        except EffectError as error:
            return metric.name, Reading(error=str(error))
        return metric.name, Reading(value, None, other)

    async def _asked(
        self, metric: AnalysisMetric, revision: str, effect: Measure, ports: Ports
    ) -> float | None:
        preview = effect.probe and revision == effect.revision
        return await ports.prometheus.query(metric, self.target(revision, preview=preview))

    async def _look(self, revision: str) -> Look:
        """EffectError if a pod does not tell: figures without it would not be the revision's."""
        pods = ready_pods(self.cache, self.owner, revision)
        try:
            said = await asyncio.gather(*(self.evidence.read(pod, self.token) for pod in pods))
        except EvidenceUnavailable as error:
            message = f"a pod of revision {revision} does not tell what it counted: {error}"
            raise EffectError(message) from error
        now, found = self.clock(), {}
        for pod, evidence in zip(pods, said, strict=True):
            if evidence.requests is None:
                message = f"the agents of revision {revision} do not count requests: upgrade the image"
                raise EffectError(message)
            uptime = evidence.envoy.uptime_s
            since = None if uptime is None else timedelta(seconds=uptime)
            sample = Sample(now, since, {CLIENTS: _counts(evidence.requests)})
            found[pod["metadata"].get("uid", "")] = sample
        return Look(now, found)


def _named(analysis: Analysis, effect: Measure) -> list[AnalysisMetric]:
    wanted = {*effect.metrics, *effect.compare}
    return [metric for metric in analysis.metrics if metric.name in wanted]


def _counts(told: RequestsEvidence) -> Counts:
    buckets = ((inf if bound is None else bound, count) for bound, count in told.buckets)
    return Counts(told.ended, told.well, told.unanswered, buckets=tuple(sorted(buckets)))
