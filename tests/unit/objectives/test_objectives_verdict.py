"""Verdicts, and that what is shown does not move by itself."""

import math
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moltbot_operator.api import Objectives
from moltbot_operator.objectives import (
    Counts,
    Judgement,
    Measured,
    NoScore,
    Score,
    Steady,
    Verdict,
    judge,
    settle,
)

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
LATENCY = {"latency": {"percentile": 95, "threshold": "300ms"}}
THROUGHPUT = {"throughput": {"minimumPerSecond": 50}}
ACCURACY = {"accuracy": {"minimum": 0.92, "feed": {"configMapRef": {"name": "eval", "key": "score"}}}}


def measured(fast, slow=0, unanswered=0, *, refused=0, well=None):
    """`fast` attempts of 0.2 to 0.3 s, `slow` ones of 0.3 to 0.5 s."""
    ended, good = fast + slow + unanswered, fast + slow if well is None else well
    seconds = 300
    buckets = ((0.2, 0), (0.3, fast), (0.5, fast + slow), (math.inf, fast + slow))
    counts = Counts(ended, good, unanswered, refused, buckets if fast + slow else ())
    return Measured(2, 0, counts, good / seconds, (ended + refused) / seconds)


def judged(objectives, found, score=None, now=NOW):
    return judge(Objectives.model_validate(objectives), found, score, now)


def scored(value, age=timedelta()):
    return Score(value, NOW - age)


@pytest.mark.parametrize(
    ("objectives", "found", "score", "verdict", "says"),
    [
        (LATENCY, measured(1000), None, "Met", "p95 is 300ms, at most 300ms"),
        (LATENCY, measured(950, 50), None, "Met", "at most 300ms is asked for"),
        (LATENCY, measured(949, 51), None, "LatencyTooHigh", "a little more than 300ms"),
        (LATENCY, measured(100, 900), None, "LatencyTooHigh", "p95 is 490ms"),
        (LATENCY, measured(1000, 0, 60), None, "LatencyTooHigh", "more than 5 % got no answer"),
        (LATENCY, measured(0, 0, 60), None, "LatencyTooHigh", "no answer"),
        (LATENCY, measured(5, 4), None, "NoData", "only 9 requests"),
        (LATENCY, Measured(), None, "NoData", "no gateway"),
        (LATENCY, Measured(waiting=1), None, "NoData", "two looks"),
        (THROUGHPUT, measured(15_000), None, "Met", "50/s answered well"),
        (THROUGHPUT, measured(14_000), None, "NotOffered", "only 47/s came"),
        (THROUGHPUT, measured(14_000, refused=2000), None, "ThroughputTooLow", "47/s answered well of 53/s"),
        (THROUGHPUT, measured(18_000, well=9000), None, "ThroughputTooLow", "30/s answered well of 60/s"),
        (THROUGHPUT, Measured(), None, "NoData", "not known"),
        (ACCURACY, Measured(), scored(0.92), "Met", "0.92 of 2026-01-31T12:00:00+00:00"),
        (ACCURACY, Measured(), scored(0.919), "AccuracyTooLow", "at least 0.92"),
        (ACCURACY, Measured(), scored(0.99, timedelta(hours=24, seconds=1)), "FeedStale", "older than 24h"),
        (ACCURACY, Measured(), scored(0.99, timedelta(hours=24)), "Met", "0.99"),
        (ACCURACY, Measured(), scored(0.99, timedelta(minutes=-6)), "FeedUnusable", "future"),
        (ACCURACY, Measured(), NoScore("does not exist"), "FeedUnusable", "ConfigMap eval does not exist"),
        ({}, measured(10), None, "NoData", ""),
        # all together: what fails first, then what is not known; too little traffic speaks against nothing
        (LATENCY | THROUGHPUT, measured(1000), None, "Met", "too few to tell"),
        (LATENCY | THROUGHPUT | ACCURACY, measured(1000), scored(0.5), "AccuracyTooLow", "0.5"),
        (LATENCY | ACCURACY, Measured(), scored(0.5), "AccuracyTooLow", "0.5"),
        (LATENCY | ACCURACY, Measured(), scored(0.95), "NoData", "0.95"),
        (LATENCY | ACCURACY, measured(1000), NoScore("x"), "FeedUnusable", "p95"),
    ],
)
def test_verdicts(objectives, found, score, verdict, says):
    result = judged(objectives, found, score)
    assert result.verdict == verdict
    assert says in "; ".join(result.lines)


def test_a_latency_above_all_bounds():
    counts = Counts(20, 20, 0, 0, ((300.0, 0), (math.inf, 20)))
    found = Measured(1, 0, counts, 1, 1)
    assert judged(LATENCY, found).verdict is Verdict.LATENCY_TOO_HIGH
    long = {"latency": {"threshold": "10m"}}
    assert judged(long, found).verdict is Verdict.NO_DATA
    assert judged(long, found).figures.latency is None


def test_figures_are_rounded():
    figures = judged(LATENCY, measured(987, 654, 3)).figures
    assert (figures.per_second, figures.success_rate, figures.latency) == (
        5.5,
        0.998,
        timedelta(milliseconds=480),
    )


def shown_over(judgements, shown=None, step=MINUTE, waiting=False):
    """What is shown after each look, a minute apart."""
    found, now = [], NOW
    for judgement in judgements:
        shown = settle(shown, judgement, now, waiting=waiting)
        found.append(shown)
        now += step
    return found


def changes(found):
    return sum(1 for one, other in pairwise(found) if one != other)


@given(st.lists(st.integers(960, 1040), min_size=30, max_size=30))
def test_noise_is_no_news(counts):
    """Half an hour of even traffic: figures every ten minutes, nothing else."""
    found = shown_over([judged(LATENCY | THROUGHPUT, measured(count)) for count in counts])
    assert changes(found) <= 3


def test_at_rest_nothing_changes():
    rest = judged(LATENCY | THROUGHPUT, Measured(2, 0))
    assert changes(shown_over([rest] * 300)) == 0
    stale = judged(ACCURACY, Measured(), scored(0.9, timedelta(days=2)))
    assert changes(shown_over([stale] * 300)) == 0


def test_not_met_is_shown_at_once_and_met_again_after_five_minutes():
    good, bad = judged(LATENCY, measured(1000)), judged(LATENCY, measured(100, 900))
    found = shown_over([good, good, bad, *[good] * 7])
    assert [each.verdict.met for each in found] == [True, True, False, *[False] * 5, True, True]
    assert "Within the objectives again since 2026-01-31T12:03:00Z" in found[4].message
    assert found[3] == found[7], "one write while it waits"


def test_what_fails_again_meanwhile_starts_anew():
    good, bad = judged(LATENCY, measured(1000)), judged(LATENCY, measured(100, 900))
    found = shown_over([bad, good, good, good, bad, good, good, good])
    assert not any(each.verdict.met for each in found)
    assert "again" not in found[4].message


@given(st.lists(st.booleans(), min_size=60, max_size=60))
def test_a_value_at_the_threshold_does_not_flap(goods):
    good, bad = judged(LATENCY, measured(950, 50)), judged(LATENCY, measured(949, 51))
    found = shown_over([good if each else bad for each in goods])
    turns = sum(1 for one, other in pairwise(found) if one.verdict.met is not other.verdict.met)
    assert turns <= 2 * 60 / 6 + 1


def test_too_little_traffic_keeps_the_verdict_for_ten_minutes():
    good, few = judged(LATENCY, measured(1000)), judged(LATENCY, measured(5))
    found = shown_over([good, *[few] * 15])
    assert [each.verdict for each in found[:11]] == [Verdict.MET] * 11
    assert found[-1].verdict is Verdict.NO_DATA
    none = judged(LATENCY, Measured(2))
    assert shown_over([good, none])[-1].verdict is Verdict.NO_DATA, "no traffic at all is told at once"


def test_a_new_score_is_news_and_an_old_one_is_not():
    looks = [judged(ACCURACY, Measured(), scored(value)) for value in (0.95, 0.95, 0.96, 0.96)]
    assert changes(shown_over(looks)) == 1


def test_an_operator_that_starts_shows_what_was_shown():
    bad = judged(LATENCY, measured(100, 900))
    before = shown_over([bad])[-1]
    recorded = Steady.recorded(before.verdict, before.message, before.figures, before.at)
    first = judged(LATENCY, Measured(waiting=2))
    assert shown_over([first, first, bad], recorded, waiting=True) == [before] * 3
    late = settle(recorded, first, NOW + 11 * MINUTE, waiting=True)
    assert late.verdict is Verdict.NO_DATA


def test_a_recorded_wait_for_met_again_is_taken_up():
    good, bad = judged(LATENCY, measured(1000)), judged(LATENCY, measured(100, 900))
    before = shown_over([bad, good])[-1]
    recorded = Steady.recorded(before.verdict, before.message, before.figures, before.at)
    assert recorded.said == before.said
    assert not settle(recorded, good, NOW + MINUTE, waiting=False).verdict.met


@given(
    st.builds(
        Judgement,
        st.sampled_from(Verdict),
        st.just(("latency",)),
        st.just(judged(LATENCY, measured(1000)).figures),
        st.booleans(),
    )
)
def test_the_same_again_changes_nothing(judgement):
    first = settle(None, judgement, NOW, waiting=False)
    assert settle(first, judgement, NOW + MINUTE, waiting=False) == first
