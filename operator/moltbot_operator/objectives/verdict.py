"""What the figures mean for the objectives."""

import math
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from moltbot_operator.api.duration import format_duration
from moltbot_operator.api.objectives import (
    AccuracyObjective,
    LatencyObjective,
    Objectives,
    ThroughputObjective,
)
from moltbot_operator.objectives.score import NoScore, Score
from moltbot_operator.objectives.window import Measured

__all__ = ["AHEAD", "FEWEST", "Figures", "Judgement", "Verdict", "judge"]

FEWEST: Final = 10
"""Attempts in the window below which nothing is concluded about latency."""

AHEAD: Final = timedelta(minutes=5)
"""How far ahead of our clock a score's time may be."""


class Verdict(StrEnum):
    """Of an objective, and of all of them: the worst counts, and Unknown is worse than Met."""

    MET = "Met"
    NO_DATA = "NoData"
    """Nothing was measured yet, or too little."""
    NOT_OFFERED = "NotOffered"
    """Too few requests came to say whether the throughput would be reached; speaks against nothing."""
    FEED_UNUSABLE = "FeedUnusable"
    FEED_STALE = "FeedStale"
    LATENCY_TOO_HIGH = "LatencyTooHigh"
    THROUGHPUT_TOO_LOW = "ThroughputTooLow"
    ACCURACY_TOO_LOW = "AccuracyTooLow"

    @property
    def met(self) -> bool | None:
        """None: not known."""
        if self is Verdict.MET:
            return True
        return False if self in _FAILED else None


_FAILED: Final = frozenset({Verdict.LATENCY_TOO_HIGH, Verdict.THROUGHPUT_TOO_LOW, Verdict.ACCURACY_TOO_LOW})


@dataclass(frozen=True)
class Figures:
    """`status.observed`, rounded to two significant digits so that noise is no change."""

    per_second: float
    success_rate: float | None = None
    latency: timedelta | None = None
    """At the objective's percentile; None without data, or where it is above what is measured."""


@dataclass(frozen=True)
class Judgement:
    """All objectives together. `lines` has a sentence for each; `figures` is None before a measurement."""

    verdict: Verdict
    lines: tuple[str, ...]
    figures: Figures | None
    traffic: bool = False
    """Whether any attempt ended, or was kept away, in the window."""


def judge(
    objectives: Objectives, measured: Measured, score: Score | NoScore | None, now: datetime
) -> Judgement:
    """The verdict on a backend; `score` is what was found in the feed, if there is one to look into."""
    found: list[tuple[Verdict, str]] = []
    if objectives.latency:
        found.append(_latency(objectives.latency, measured))
    if objectives.throughput:
        found.append(_throughput(objectives.throughput, measured))
    if objectives.accuracy:
        found.append(_accuracy(objectives.accuracy, score, now))
    verdicts = [verdict for verdict, _ in found]
    failed = [verdict for verdict in verdicts if verdict.met is False]
    unknown = [verdict for verdict in verdicts if verdict.met is None and verdict is not Verdict.NOT_OFFERED]
    met = [verdict for verdict in verdicts if verdict.met]
    overall = next(iter([*failed, *unknown, *met, *verdicts]), Verdict.NO_DATA)
    percentile = (objectives.latency or _DEFAULT).percentile
    lines = tuple(line for _, line in found)
    return Judgement(overall, lines, _figures(measured, percentile), measured.offered_per_second > 0)


_DEFAULT: Final = LatencyObjective(threshold=timedelta(seconds=1))


def _figures(measured: Measured, percentile: int) -> Figures | None:
    if not measured.pods:
        return None
    counts = measured.counts
    if not counts.ended:
        return Figures(_rounded(measured.per_second))
    latency = counts.percentile(percentile) if counts.known else math.inf
    return Figures(
        _rounded(measured.per_second),
        round(counts.well / counts.ended, 3),
        None if math.isinf(latency) else _whole(latency),
    )


def _latency(wanted: LatencyObjective, measured: Measured) -> tuple[Verdict, str]:
    name, counts = f"Latency: p{wanted.percentile}", measured.counts
    asked = f"at most {format_duration(wanted.threshold)} is asked for"
    if lacking := _lacking(measured):
        return Verdict.NO_DATA, f"{name} is not known: {lacking}"
    found = counts.percentile(wanted.percentile)
    share = 100 - wanted.percentile
    if counts.answered * 100 < counts.known * wanted.percentile:
        return (
            Verdict.LATENCY_TOO_HIGH,
            f"{name} is out of reach: more than {share} % got no answer ({asked})",
        )
    if math.isinf(found):
        last = timedelta(seconds=max(bound for bound, _ in counts.buckets if not math.isinf(bound)))
        if wanted.threshold > last:
            return Verdict.NO_DATA, f"{name} is above {format_duration(last)}, where measuring ends ({asked})"
        return Verdict.LATENCY_TOO_HIGH, f"{name} is above {format_duration(last)}; {asked}"
    verdict = Verdict.MET if found <= wanted.threshold.total_seconds() else Verdict.LATENCY_TOO_HIGH
    shown = format_duration(_whole(found))
    if verdict is Verdict.LATENCY_TOO_HIGH and _whole(found) <= wanted.threshold:
        shown = f"a little more than {format_duration(wanted.threshold)}"
    return verdict, f"{name} is {shown}, {asked}"


def _throughput(wanted: ThroughputObjective, measured: Measured) -> tuple[Verdict, str]:
    rate, offered = measured.per_second, measured.offered_per_second
    asked = f"at least {wanted.minimum_per_second:g}/s is asked for"
    if not measured.pods:
        return Verdict.NO_DATA, f"Throughput is not known: {_lacking(measured)}"
    if rate >= wanted.minimum_per_second:
        return Verdict.MET, f"Throughput: {_rounded(rate):g}/s answered well, {asked}"
    if offered < wanted.minimum_per_second:
        said = f"Throughput: only {_rounded(offered):g}/s came, too few to tell; {asked} when offered"
        return Verdict.NOT_OFFERED, said
    said = f"Throughput: {_rounded(rate):g}/s answered well of {_rounded(offered):g}/s, {asked}"
    return Verdict.THROUGHPUT_TOO_LOW, said


def _accuracy(wanted: AccuracyObjective, score: Score | NoScore | None, now: datetime) -> tuple[Verdict, str]:
    feed = f"ConfigMap {wanted.feed.config_map_ref.name}"
    if not isinstance(score, Score):
        why = score.why if score else "was not read"
        return Verdict.FEED_UNUSABLE, f"Accuracy is not known: {feed} {why}"
    age = now - score.at
    of = f"{score.value:g} of {score.at.isoformat(timespec='seconds')}"
    if age < -AHEAD:
        return Verdict.FEED_UNUSABLE, f"Accuracy is not known: {of} in {feed} is in the future; mend its time"
    if age > wanted.stale_after:
        stale = f"older than {format_duration(wanted.stale_after)}"
        return Verdict.FEED_STALE, f"Accuracy is not known: {of} in {feed} is {stale}; run the evaluation"
    verdict = Verdict.MET if score.value >= wanted.minimum else Verdict.ACCURACY_TOO_LOW
    return verdict, f"Accuracy: {of}, at least {wanted.minimum:g} is asked for"


def _lacking(measured: Measured) -> str:
    """What is missing to say something about latency; empty if nothing is."""
    if not measured.pods:
        if measured.waiting:
            return "its gateways were looked at once, and it takes two looks, a minute apart"
        return "no gateway that uses it has reported in the last minutes"
    if measured.counts.known < FEWEST:
        return f"only {measured.counts.known} requests in the last 5 minutes, {FEWEST} are needed"
    return ""


def _whole(seconds: float) -> timedelta:
    """Two significant digits, at least a millisecond."""
    return timedelta(milliseconds=max(1, int(_rounded(seconds * 1000))))


def _rounded(value: float) -> float:
    """Two significant digits."""
    return float(f"{value:.2g}")
