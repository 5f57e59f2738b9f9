"""One look at a route's workers: what each metric is now."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime

from moltbot_operator.api import Autoscaling, ScaleMetric, ScaleMetricType
from moltbot_operator.autoscale import Samples, WorkerSample, metrics_of
from moltbot_operator.kube.cluster import Manifest
from moltbot_operator.reconcile.scaling.http import LoadReader, LoadUnavailable
from moltbot_operator.reconcile.scaling.readings import Reading, depth_of, value_of

__all__ = ["Memory", "look"]

Memory = dict[str, Reading]
"""The latest reading of each worker, by the pod's uid."""


async def look(
    reader: LoadReader,
    scaling: Autoscaling,
    pods: Sequence[Manifest],
    memory: Memory,
    *,
    replicas: int,
    now: datetime,
    held: str,
) -> Samples:
    """Samples of all metrics; `memory` gets the readings, and loses those of workers that are gone."""
    before = dict(memory)
    readings = await _readings(pods, reader, now)
    memory.clear()
    memory.update(readings)
    metrics = metrics_of(scaling)
    workers = tuple(
        WorkerSample(_uid(pod), _ready(pod), _values(metrics, before.get(_uid(pod)), readings.get(_uid(pod))))
        for pod in pods
    )
    totals: dict[str, float] = {}
    errors: dict[str, str] = {}
    for metric in metrics:
        if metric.type is ScaleMetricType.QUEUE_DEPTH:
            depth = depth_of(readings.values())
            if depth is None:
                errors[metric.name] = "no worker knows the queue: its store is away"
            else:
                totals[metric.name] = depth
        elif metric.type is ScaleMetricType.PROMETHEUS:
            try:
                totals[metric.name] = await reader.prometheus(metric)
            except LoadUnavailable as error:
                errors[metric.name] = str(error)
    return Samples(replicas, workers, totals, errors, held)


async def _readings(pods: Sequence[Manifest], reader: LoadReader, now: datetime) -> Memory:
    """Of those that answer."""
    asked = [pod for pod in pods if (pod.get("status") or {}).get("podIP")]
    answers = await asyncio.gather(*(reader.worker(pod, now) for pod in asked), return_exceptions=True)
    found: Memory = {}
    for pod, answer in zip(asked, answers, strict=True):
        if isinstance(answer, Reading):
            found[_uid(pod)] = answer
        elif not isinstance(answer, LoadUnavailable):
            raise answer
    return found


def _values(
    metrics: Sequence[ScaleMetric], before: Reading | None, now: Reading | None
) -> Mapping[str, float]:
    if now is None:
        return {}
    values = {metric.name: value_of(metric, before, now) for metric in metrics}
    return {name: value for name, value in values.items() if value is not None}


def _uid(pod: Manifest) -> str:
    return str(pod["metadata"].get("uid", ""))


def _ready(pod: Manifest) -> bool:
    conditions = (pod.get("status") or {}).get("conditions") or []
    return any(each.get("type") == "Ready" and each.get("status") == "True" for each in conditions)
