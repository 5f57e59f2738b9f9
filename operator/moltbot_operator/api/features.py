"""What a rule may ask of the worker: cache, batching, jobs, aggregation."""

from datetime import timedelta
from enum import StrEnum
from typing import Annotated

from pydantic import Field

from moltbot_operator.api.constraints import Unique
from moltbot_operator.api.duration import Duration, DurationBounds
from moltbot_operator.api.fields import BackendReference, Name
from moltbot_operator.api.model import ApiModel
from moltbot_operator.api.references import ConfigMapRef

__all__ = [
    "Aggregate",
    "AggregateStrategy",
    "Async",
    "Batch",
    "Cache",
    "CacheScope",
    "WarmUp",
]


class CacheScope(StrEnum):
    """Who shares cached answers."""

    CONSUMER = "Consumer"
    ROUTE = "Route"


class WarmUp(ApiModel):
    """Requests that are run at start, so that their answers are in the cache."""

    config_map_ref: ConfigMapRef
    """ConfigMap whose values are dialogue templates, one JSON request a line."""


class Cache(ApiModel):
    """Answers kept for identical deterministic requests."""

    ttl: Duration = timedelta(minutes=10)
    """How long an answer is kept."""
    scope: CacheScope = CacheScope.CONSUMER
    """Consumer (answers are never shared between consumers) or Route."""
    warm_up: WarmUp | None = None
    """Requests that fill the cache at start."""


class Batch(ApiModel):
    """Embedding requests put together into one call."""

    window: Annotated[timedelta, DurationBounds("1ms", "1s")] = timedelta(milliseconds=5)
    """How long to wait for more requests."""
    max_size: Annotated[int, Field(strict=True, ge=2, le=2048)] = 16
    """Most inputs in one call."""


class Async(ApiModel):
    """Requests taken as jobs: the answer is 202 with an identifier, the result is fetched later."""

    queue: Name = "default"
    """Name of the queue."""


class AggregateStrategy(StrEnum):
    """How several answers make one."""

    FIRST_SUCCESS = "FirstSuccess"
    ALL = "All"
    VOTE = "Vote"


class Aggregate(ApiModel):
    """One request sent to several backends at once."""

    strategy: AggregateStrategy
    """FirstSuccess (the fastest good answer), All (every answer) or Vote (the answer most agree on)."""
    backends: Annotated[tuple[BackendReference, ...], Field(min_length=2, max_length=8), Unique()]
    """Backends to ask."""
