"""What one metric asks for: current * value / target, with what pods that tell nothing may mean.

Source: https://kubernetes.io/docs/tasks/run-application/horizontal-pod-autoscale/#algorithm-details
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from moltbot_operator.api import ScaleMetric, ScaleMetricType
from moltbot_operator.autoscale.samples import Samples, WorkerSample, believable

__all__ = ["TOLERANCE", "Proposal", "propose"]

TOLERANCE: Final = 0.1
"""A ratio of value to target that is no further than this from 1 changes nothing."""

_PLACES: Final = 9
"""Decimal places that a ratio keeps: 1.1 computed from sums is 1.1000000000000001."""


@dataclass(frozen=True)
class Proposal:
    """Workers that a metric asks for, or why it asks for nothing; `figure` is for people."""

    metric: str
    replicas: int | None
    figure: str

    @property
    def failed(self) -> bool:
        """Whether the metric could not be had."""
        return self.replicas is None


def propose(metric: ScaleMetric, samples: Samples) -> Proposal:
    """What the metric asks for at this moment."""
    if metric.name in samples.errors:
        return Proposal(metric.name, None, f"{metric.name}: {samples.errors[metric.name]}")
    if metric.name in samples.totals:
        return _of_total(metric, samples.totals[metric.name], samples.replicas)
    return _of_workers(metric, samples)


def _of_total(metric: ScaleMetric, total: float, replicas: int) -> Proposal:
    """A value that the workers share between them."""
    if not believable(total):
        return Proposal(metric.name, None, f"{metric.name}: {total} is no usable value")
    figure = f"{metric.name} is {total:g} in all, target {metric.target:g} a worker"
    ratio = round(total / (metric.target * replicas), _PLACES) if replicas else math.inf
    if _within(ratio):
        return Proposal(metric.name, replicas, figure)
    return Proposal(metric.name, _enough(total, metric), figure)


def _of_workers(metric: ScaleMetric, samples: Samples) -> Proposal:
    told, silent, starting = _grouped(metric, samples.workers)
    if not told:
        return Proposal(metric.name, None, f"{metric.name}: no ready worker tells it")
    total = math.fsum(told)
    mean = total / len(told)
    figure = f"{metric.name} is {mean:g} a worker over {len(told)}, target {metric.target:g}"
    ratio = round(mean / metric.target, _PLACES)
    starting = starting if ratio > 1 else 0
    # Exactly at the target there is no direction to dampen.
    if ratio == 1 or not (silent or starting):
        replicas = samples.replicas if _within(ratio) else _enough(total, metric)
        return Proposal(metric.name, replicas, figure)
    figure += f", {silent} silent and {starting} starting counted in"
    # What is not known is taken so that it dampens the change, never so that it turns it round.
    total += silent * (_supposed(metric) if ratio < 1 else 0.0)
    damped = round(total / (len(told) + silent + starting) / metric.target, _PLACES)
    turned = (ratio < 1 < damped) or (damped < 1 < ratio)
    if turned or _within(damped):
        return Proposal(metric.name, samples.replicas, figure)
    replicas = _enough(total, metric)
    against = (damped < 1 and replicas > samples.replicas) or (damped > 1 and replicas < samples.replicas)
    return Proposal(metric.name, samples.replicas if against else replicas, figure)


def _enough(total: float, metric: ScaleMetric) -> int:
    """Workers that bring `total` down to the target: ratio * workers, but rounded once only."""
    return math.ceil(round(total / metric.target, _PLACES))


def _grouped(metric: ScaleMetric, workers: Sequence[WorkerSample]) -> tuple[list[float], int, int]:
    """Values of ready workers; how many ready ones told none; and how many are not ready."""
    ready = [worker for worker in workers if worker.ready]
    values = [worker.values.get(metric.name) for worker in ready]
    told = [value for value in values if value is not None and believable(value)]
    return told, len(ready) - len(told), len(workers) - len(ready)


def _supposed(metric: ScaleMetric) -> float:
    """What a silent worker counts as while others ask for fewer: its target, or all its CPU."""
    return max(100.0, metric.target) if metric.type is ScaleMetricType.CPU else metric.target


def _within(ratio: float) -> bool:
    return round(abs(1 - ratio), _PLACES) <= TOLERANCE
