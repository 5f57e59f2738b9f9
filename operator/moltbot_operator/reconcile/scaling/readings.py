"""What a worker says of itself, and what that means between two looks (pure)."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from prometheus_client.parser import text_string_to_metric_families

from moltbot_operator.api import ScaleMetric, ScaleMetricType
from moltbot_operator.autoscale import believable
from moltbot_operator.compile.workloads import WORKER_CPU_REQUEST

__all__ = ["Reading", "depth_of", "read", "value_of"]

_QUANTILE: Final = 0.95


@dataclass(frozen=True)
class Reading:
    """One scrape of a worker; counters count since its start."""

    at: datetime
    in_flight: float | None = None
    requests: float | None = None
    cpu_seconds: float | None = None
    depth: float | None = None
    """Of the whole queue; None: not known."""
    buckets: Mapping[float, float] = field(default_factory=dict)
    """Requests by the upper bound of their duration in seconds, cumulated."""


def read(text: str, at: datetime) -> Reading:
    """From the text of `/metrics`. Raises ValueError for what is no such text."""
    try:
        return _read(text, at)
    except LookupError as error:  # as the parser and a bucket without a bound do
        raise ValueError(f"{type(error).__name__}: {error}") from error


def _read(text: str, at: datetime) -> Reading:
    gauges: dict[str, float] = {}
    buckets: dict[float, float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name == "moltbot_worker_request_duration_seconds_bucket":
                bound = float(sample.labels["le"])
                buckets[bound] = buckets.get(bound, 0.0) + sample.value
            elif sample.name in _SUMMED:
                gauges[sample.name] = gauges.get(sample.name, 0.0) + sample.value
    return Reading(
        at,
        in_flight=gauges.get("moltbot_worker_in_flight"),
        # a worker that has answered nothing yet has no series
        requests=gauges.get("moltbot_worker_requests_total", 0.0) if gauges else None,
        cpu_seconds=gauges.get("process_cpu_seconds_total"),
        depth=gauges.get("moltbot_worker_queue_depth"),
        buckets=buckets,
    )


_SUMMED: Final = {
    "moltbot_worker_in_flight",
    "moltbot_worker_queue_depth",
    "moltbot_worker_requests_total",
    "process_cpu_seconds_total",
}


def value_of(metric: ScaleMetric, before: Reading | None, now: Reading) -> float | None:
    """What one worker has of a measure, in its unit; None where it can't be told from these two looks."""
    if metric.type is ScaleMetricType.IN_FLIGHT:
        return now.in_flight
    if before is None or now.at <= before.at:
        return None
    seconds = (now.at - before.at) / timedelta(seconds=1)
    match metric.type:
        case ScaleMetricType.REQUESTS_PER_SECOND:
            return _rate(before.requests, now.requests, seconds)
        case ScaleMetricType.CPU:
            cores = _rate(before.cpu_seconds, now.cpu_seconds, seconds)
            return None if cores is None else 100 * cores / WORKER_CPU_REQUEST
        case ScaleMetricType.LATENCY_P95:
            return _quantile(before.buckets, now.buckets)
    return None


def depth_of(readings: Iterable[Reading]) -> float | None:
    """The queue's length, which every worker tells of the same store: the largest, in case one lags.

    What can't be a length is not taken for one: a worker that says so says nothing.
    """
    told = [reading.depth for reading in readings if reading.depth is not None and believable(reading.depth)]
    return max(told, default=None)


def _rate(before: float | None, now: float | None, seconds: float) -> float | None:
    """None also where the counter went back: the worker's process began anew."""
    if before is None or now is None or now < before:
        return None
    return (now - before) / seconds


def _quantile(before: Mapping[float, float], now: Mapping[float, float]) -> float | None:
    """Milliseconds that 95 of 100 requests took at most, interpolated; 0 where there was none.

    As Prometheus does it: what is above the last bound counts as that bound.
    """
    bounds = sorted(now)
    counts = [now[bound] - before.get(bound, 0.0) for bound in bounds]
    if any(count < 0 for count in counts):
        return None
    if not counts or counts[-1] == 0:
        return 0.0
    wanted, lower, below = _QUANTILE * counts[-1], 0.0, 0.0
    for bound, count in zip(bounds, counts, strict=True):
        if count >= wanted:
            if math.isinf(bound):
                return 1000 * lower
            share = (wanted - below) / (count - below) if count > below else 1.0
            return 1000 * (lower + (bound - lower) * share)
        lower, below = bound, count
    return 1000 * lower
