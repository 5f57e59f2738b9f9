"""What a backend can take, when it is left out, and how long it is waited for."""

from datetime import timedelta
from typing import Annotated

from pydantic import Field

from moltbot_operator.api.duration import DurationBounds
from moltbot_operator.api.fields import Percent
from moltbot_operator.api.model import ApiModel, Check

__all__ = ["CircuitBreaker", "Limits", "Timeouts"]


class Limits(ApiModel):
    """What the backend can take; traffic above spills to the next backend of the rule."""

    requests_per_second: Annotated[int, Field(strict=True, ge=1, le=1_000_000)] | None = None
    """Requests a second, per gateway pod; those above go to the next backend, or get 429 if there is none."""
    burst: Annotated[int, Field(strict=True, ge=1, le=1_000_000)] | None = None
    """Requests that may come at once above the rate; by default one second's worth."""
    max_connections: Annotated[int, Field(strict=True, ge=1, le=1_000_000)] | None = None
    """Requests at the same time, per gateway pod. With HTTP/1.1 each has a connection of its own; with HTTP/2
    they share one a thread."""
    max_pending_requests: Annotated[int, Field(strict=True, ge=1, le=1_000_000)] | None = None
    """Requests that wait for their turn, per gateway pod; those above spill at once."""

    checks = (
        Check(
            "!has(self.burst) || has(self.requestsPerSecond)",
            lambda self: self.burst is None or self.requests_per_second is not None,
            "burst needs requestsPerSecond: add it or remove burst",
            ".burst",
        ),
    )


class CircuitBreaker(ApiModel):
    """When a failing backend is left out (ejected) for a while, so that requests go to the others at once."""

    error_rate_percent: Percent = 50
    """Share of failed requests within the interval that ejects the backend."""
    minimum_requests: Annotated[int, Field(strict=True, ge=1, le=1_000_000)] = 10
    """Requests within the interval below which nothing is concluded."""
    interval: Annotated[timedelta, DurationBounds("100ms", "1h")] = timedelta(seconds=10)
    """How often the share is computed."""
    ejection_time: Annotated[timedelta, DurationBounds("100ms", "1h")] = timedelta(seconds=30)
    """How long the backend is left out; longer each time it happens again at once."""


class Timeouts(ApiModel):
    """How long to wait for the backend."""

    connect: Annotated[timedelta, DurationBounds("1ms", "5m")] = timedelta(seconds=5)
    """For a connection, TLS included."""
    first_byte: Annotated[timedelta, DurationBounds("1ms", "1h")] = timedelta(seconds=60)
    """From the request to the answer's headers, for each attempt."""
    idle: Annotated[timedelta, DurationBounds("1ms", "24h")] = timedelta(minutes=5)
    """Longest silence within an answer."""
