"""The last five minutes of a backend, from what each gateway pod has counted since its Envoy's start."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from moltbot_operator.objectives.counts import Counts

__all__ = ["FRESH", "WINDOW", "History", "Measured", "Sample", "added", "measure", "restarted"]

WINDOW: Final = timedelta(minutes=5)
"""What is looked back on."""

SPACING: Final = timedelta(seconds=15)
"""Samples closer together than this replace each other: rollouts look at pods each second."""

FRESH: Final = timedelta(minutes=3)
"""A pod that has not been heard of for so long no longer counts; pods are asked each minute or so."""


_NOTHING: Final = Counts()


@dataclass(frozen=True)
class Sample:
    """What one pod told at one time."""

    at: datetime
    uptime: timedelta | None
    """Since Envoy's start, when all counts were zero; None if it is not known."""
    counts: Mapping[str, Counts]
    """By backend (`namespace/name`); one that is absent has all counts zero."""

    @property
    def began(self) -> datetime | None:
        """When Envoy started."""
        return None if self.uptime is None else self.at - self.uptime

    def of(self, backend: str) -> Counts:
        """The counts of a backend."""
        return self.counts.get(backend, _NOTHING)


History = tuple[Sample, ...]
"""Samples of one pod, the oldest first."""


@dataclass(frozen=True)
class Measured:
    """What all pods together say of a backend in the window."""

    pods: int = 0
    """Pods with figures."""
    waiting: int = 0
    """Pods of which there is one look so far, and a second is needed."""
    counts: Counts = _NOTHING
    per_second: float = 0.0
    """Attempts that ended well, a second."""
    offered_per_second: float = 0.0
    """Attempts that ended, or that limits kept from the backend, a second."""


def added(history: History, sample: Sample) -> History:
    """The history with one more sample, bounded to the window (and one sample before it)."""
    kept = history
    if kept and sample.at <= kept[-1].at:
        return kept
    if kept and restarted(kept[-1], sample):
        kept = ()
    if len(kept) > 1 and sample.at - kept[-2].at < SPACING:
        kept = kept[:-1]
    kept = (*kept, sample)
    while len(kept) > 2 and kept[1].at <= sample.at - WINDOW:  # noqa: PLR2004 - a base and the latest stay
        kept = kept[1:]
    return kept


def measure(histories: Iterable[History], backend: str, now: datetime) -> Measured:
    """All pods' figures; a pod that is not heard of any more no longer counts."""
    found = Measured()
    for history in histories:
        if not history or now - history[-1].at > FRESH:
            continue
        part = _of_pod(history, backend)
        if part is None:
            found = replace(found, waiting=found.waiting + 1)
            continue
        counts, span = part
        seconds = span.total_seconds()
        found = Measured(
            found.pods + 1,
            found.waiting,
            found.counts + counts,
            found.per_second + counts.well / seconds,
            found.offered_per_second + (counts.ended + counts.refused) / seconds,
        )
    return found


def _of_pod(history: History, backend: str) -> tuple[Counts, timedelta] | None:
    """Counts and the time in which they came; None while there is nothing to compare with."""
    last = history[-1]
    began = last.began
    if began is not None and SPACING <= last.at - began <= WINDOW:
        return last.of(backend), last.at - began
    first = history[0]
    if last.at - first.at < SPACING:
        return None
    counts = last.of(backend).since(first.of(backend))
    return None if counts is None else (counts, last.at - first.at)


def restarted(last: Sample, sample: Sample) -> bool:
    """Whether Envoy started again since the sample before: by its uptime, or since a count went down."""
    if sample.began is not None and sample.began > last.at:
        return True
    return any(sample.of(name).since(counts) is None for name, counts in last.counts.items())
