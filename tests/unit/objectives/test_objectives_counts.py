"""Counts behave like the attempts that they count."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moltbot_operator.objectives import Counts

BOUNDS = (0.005, 0.1, 0.3, 1.0, 10.0, math.inf)
LATENCIES = st.lists(st.one_of(st.floats(0.001, 20), st.just(math.inf)), max_size=60)
"""Seconds; infinite for an attempt without an answer."""


def counted(latencies, well=None):
    answered = [each for each in latencies if not math.isinf(each)]
    buckets = tuple((bound, sum(1 for each in answered if each <= bound)) for bound in BOUNDS)
    missing = len(latencies) - len(answered)
    good = len(answered) if well is None else well
    return Counts(len(latencies), good, missing, 0, buckets if answered else ())


@given(LATENCIES.filter(bool), st.integers(1, 99))
def test_a_percentile_lies_in_the_bucket_of_the_true_one(latencies, percent):
    true = sorted(latencies)[math.ceil(len(latencies) * percent / 100) - 1]
    found = counted(latencies).percentile(percent)
    upper = next((bound for bound in BOUNDS if true <= bound), math.inf)
    lower = max([0.0, *(bound for bound in BOUNDS if bound < upper)])
    assert lower <= found <= upper


@given(LATENCIES.filter(bool))
def test_a_higher_percentile_is_never_faster(latencies):
    counts = counted(latencies)
    found = [counts.percentile(percent) for percent in range(1, 100)]
    assert found == sorted(found)


@given(LATENCIES.filter(bool), st.integers(1, 99), st.sampled_from(BOUNDS[:-1]))
def test_at_a_bound_the_verdict_is_exact(latencies, percent, bound):
    keep = sum(1 for each in latencies if each <= bound)
    assert (counted(latencies).percentile(percent) <= bound) == (keep * 100 >= len(latencies) * percent)


@given(LATENCIES, LATENCIES)
def test_differences_undo_sums(one, other):
    before, after = counted(one), counted(one) + counted(other)
    assert after == counted([*one, *other])
    since = after.since(before)
    assert since is not None
    assert (since.ended, since.well, since.unanswered, since.answered) == (
        len(other),
        counted(other).well,
        counted(other).unanswered,
        counted(other).answered,
    )


@given(LATENCIES.filter(bool), LATENCIES)
def test_a_count_that_went_down_is_seen(one, other):
    if len(other) < len(one):
        assert counted(other).since(counted(one)) is None


def test_histograms_with_other_bounds_meet_at_common_ones():
    one = Counts(4, 4, 0, 0, ((0.1, 1), (0.3, 2), (math.inf, 4)))
    other = Counts(4, 4, 0, 0, ((0.2, 1), (0.3, 4), (math.inf, 4)))
    assert (one + other).buckets == ((0.3, 6), (math.inf, 8))
    assert one.since(other) is None


def test_nothing_has_no_percentile():
    with pytest.raises(ValueError, match="no attempt"):
        Counts().percentile(95)
