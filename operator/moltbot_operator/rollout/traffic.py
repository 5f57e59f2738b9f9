"""What clients got from a revision between two looks at its pods (pure).

Each look gives what every pod has counted since its Envoy's start. A pod that started again or came in
between has counted from zero within the window, so that all it tells belongs there; of a pod that was there
before and not looked at, the part within the window is not known, and it is left out. A pod that went takes
its last figures along.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from moltbot_operator.objectives.counts import Counts
from moltbot_operator.objectives.window import Sample, restarted

__all__ = ["CLIENTS", "Look", "between", "latency", "success_rate"]

CLIENTS: Final = ""
"""Key of a sample's counts of clients' calls; a backend's is its name."""


@dataclass(frozen=True)
class Look:
    """All pods of a revision at one time, by uid."""

    at: datetime
    pods: Mapping[str, Sample] = field(default_factory=dict)


def between(before: Look, after: Look) -> Counts:
    """The calls of clients that ended between two looks, over all pods."""
    total = Counts()
    for uid, sample in after.pods.items():
        part = _of_pod(before, before.pods.get(uid), sample)
        if part is not None:
            total += part
    return total


def _of_pod(look: Look, earlier: Sample | None, sample: Sample) -> Counts | None:
    told = sample.of(CLIENTS)
    if earlier is not None and not restarted(earlier, sample):
        return told.since(earlier.of(CLIENTS))
    if earlier is None and (sample.began is None or sample.began < look.at):
        return None
    return told


def success_rate(counts: Counts) -> float | None:
    """Share of calls that ended well, 0 to 1; None without any."""
    return counts.well / counts.ended if counts.ended else None


def latency(counts: Counts, percent: int) -> float | None:
    """Seconds to the first byte that `percent` of the good answers keep to; None without any.

    Infinite above the last bound of the histogram (300 s).
    """
    return counts.percentile(percent) if counts.known else None
