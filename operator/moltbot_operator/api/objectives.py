"""What a backend is expected to reach; shown as the condition ObjectivesMet."""

from datetime import timedelta
from typing import Annotated

from pydantic import Field

from moltbot_operator.api.duration import Duration, DurationBounds
from moltbot_operator.api.model import ApiModel
from moltbot_operator.api.references import ConfigMapKeyRef

__all__ = [
    "AccuracyFeed",
    "AccuracyObjective",
    "LatencyObjective",
    "Objectives",
    "ThroughputObjective",
]


class LatencyObjective(ApiModel):
    """A bound on the latency to the first byte; an attempt without an answer is slower than any."""

    percentile: Annotated[int, Field(strict=True, ge=1, le=99)] = 95
    """Percentile of requests that must be faster."""
    threshold: Duration
    """Upper bound, such as 300ms."""


class ThroughputObjective(ApiModel):
    """A bound on the rate that the backend sustains."""

    minimum_per_second: Annotated[float, Field(gt=0, le=1_000_000)]
    """Well answered requests a second that must be reached when they are offered."""


class AccuracyFeed(ApiModel):
    """Where an evaluation job writes its score."""

    config_map_ref: ConfigMapKeyRef
    """ConfigMap and key that hold the score: {"score": 0.94, "at": "2026-01-31T12:00:00Z"}, or the number
    alone, which is then as old as the last change of the ConfigMap by its writer."""


class AccuracyObjective(ApiModel):
    """A bound on the score of an evaluation; never guessed."""

    minimum: Annotated[float, Field(ge=0, le=1)]
    """Lowest score that is good enough, from 0 to 1, such as 0.92."""
    feed: AccuracyFeed
    """Where the score comes from."""
    stale_after: Annotated[timedelta, DurationBounds("1m", "8760h")] = timedelta(hours=24)
    """Age at which a score counts as unknown."""


class Objectives(ApiModel):
    """What the backend is expected to reach. They are observed and reported, they don't change routing."""

    latency: LatencyObjective | None = None
    """Bound on latency."""
    throughput: ThroughputObjective | None = None
    """Bound on throughput."""
    accuracy: AccuracyObjective | None = None
    """Bound on accuracy."""
