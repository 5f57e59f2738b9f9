"""What a gateway counted of one backend, and arithmetic on it."""

import math
from dataclasses import dataclass

__all__ = ["Counts"]


@dataclass(frozen=True)
class Counts:
    """Cumulative since Envoy's start, or the difference of two of those."""

    ended: int = 0
    """Attempts that ended, answered or not."""
    well: int = 0
    """Of those, the ones that speak for the backend (moltbot_agent.attempts.well_answered)."""
    unanswered: int = 0
    """Of those, the ones without an answer: refused, reset, out of time, or the client left."""
    refused: int = 0
    """Attempts that its limits kept from it."""
    buckets: tuple[tuple[float, int], ...] = ()
    """Latency to the first byte: upper bound in seconds, ascending, and answered attempts up to it."""

    @property
    def answered(self) -> int:
        """Attempts with a latency. Envoy tells of these some seconds later than of those that ended."""
        return self.buckets[-1][1] if self.buckets else 0

    @property
    def known(self) -> int:
        """Attempts of which a latency, or the lack of one, is known."""
        return self.answered + self.unanswered

    def since(self, before: "Counts") -> "Counts | None":
        """What came after `before`; None if a count went down: the counting began anew in between."""
        earlier = dict(before.buckets)
        if earlier and earlier.keys() != dict(self.buckets).keys():
            return None
        found = Counts(
            self.ended - before.ended,
            self.well - before.well,
            self.unanswered - before.unanswered,
            self.refused - before.refused,
            tuple((bound, count - earlier.get(bound, 0)) for bound, count in self.buckets),
        )
        simple = (found.ended, found.well, found.unanswered, found.refused)
        return None if min(*simple, *dict(found.buckets).values()) < 0 else found

    def __add__(self, other: "Counts") -> "Counts":
        """Both together; of different histograms the bounds that both have, at which counts are exact."""
        mine, theirs = dict(self.buckets), dict(other.buckets)
        if mine and theirs:
            buckets = tuple((bound, mine[bound] + theirs[bound]) for bound in mine if bound in theirs)
        else:
            buckets = self.buckets or other.buckets
        return Counts(
            self.ended + other.ended,
            self.well + other.well,
            self.unanswered + other.unanswered,
            self.refused + other.refused,
            buckets,
        )

    def percentile(self, percent: int) -> float:
        """Latency in seconds that `percent` of all attempts keep to; infinite if fewer have an answer at all.

        An attempt without an answer is slower than any. Exact at the bounds, interpolated between them;
        infinite also above the last finite bound. Needs at least one attempt.
        """
        if self.known == 0:
            raise ValueError("no attempt, no percentile")
        rank = self.known * percent / 100
        below, lower = 0, 0.0
        for bound, count in self.buckets:
            if count >= rank and count > below:
                if math.isinf(bound):
                    return math.inf
                return lower + (bound - lower) * (rank - below) / (count - below)
            below, lower = count, bound
        return math.inf
