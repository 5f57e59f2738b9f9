"""What is known of the load at one moment."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

__all__ = ["LARGEST", "Samples", "WorkerSample", "believable"]

LARGEST: Final = 1e12
"""No measure of a worker is larger: a pod that says so is taken for one that says nothing."""


def believable(value: float | None) -> bool:
    """Whether a value may be counted with: a number, not negative, of a size that can be."""
    return value is not None and math.isfinite(value) and 0 <= value <= LARGEST


@dataclass(frozen=True)
class WorkerSample:
    """One worker pod that shall go on to exist."""

    name: str
    ready: bool
    values: Mapping[str, float] = field(default_factory=dict)
    """By the metric's name; a metric that could not be had of this pod is absent or not a number."""


@dataclass(frozen=True)
class Samples:
    """One look at the workers."""

    replicas: int
    """Workers asked for now (`spec.replicas`)."""
    workers: tuple[WorkerSample, ...] = ()
    totals: Mapping[str, float] = field(default_factory=dict)
    """Values of all workers together, by the metric's name: a queue's length, a query's result."""
    errors: Mapping[str, str] = field(default_factory=dict)
    """Why a metric could not be had at all, by its name."""
    held: str = ""
    """Why nothing may be taken away now, such as a rollout under way; empty: nothing speaks against it."""
