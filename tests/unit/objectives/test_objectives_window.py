"""The window tells what really happened, whatever pods come, go and restart."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moltbot_operator.objectives import WINDOW, Counts, Measured, Sample, added, measure

START = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)


def at(seconds):
    return START + timedelta(seconds=seconds)


def sample(seconds, ended, uptime=DAY, well=None):
    counts = Counts(ended, ended if well is None else well)
    return Sample(at(seconds), uptime, {"n/a": counts} if ended else {})


def history(*samples):
    made = ()
    for each in samples:
        made = added(made, each)
    return made


def look(*histories, seconds):
    return measure(histories, "n/a", at(seconds))


def test_nobody_has_reported():
    assert look(seconds=0) == Measured()


def test_one_look_is_not_enough_unless_the_pod_is_young():
    old, young = history(sample(0, 600)), history(sample(0, 600, timedelta(minutes=1)))
    assert look(old, seconds=0) == Measured(waiting=1)
    assert look(young, seconds=0).per_second == pytest.approx(10)


def test_two_looks_give_a_rate():
    found = look(history(sample(0, 1000), sample(60, 1300, well=1240)), seconds=60)
    assert (found.pods, found.counts.ended, found.counts.well) == (1, 300, 240)
    assert found.per_second == pytest.approx(4)
    assert found.offered_per_second == pytest.approx(5)


def test_looks_a_second_apart_wait_for_one_that_is_further_away():
    looks = [sample(number, 100 + number) for number in range(14)]
    assert look(history(*looks), seconds=14).pods == 0
    looks += [sample(number, 100 + number) for number in range(14, 400)]
    made = history(*looks)
    assert look(made, seconds=400).per_second == pytest.approx(1)
    assert len(made) <= WINDOW / timedelta(seconds=15) + 3


def test_pods_add_up():
    one = history(sample(0, 0), sample(60, 60))
    two = history(sample(30, 500), sample(90, 620))
    assert look(one, two, seconds=90).per_second == pytest.approx(3)


def test_a_pod_that_is_not_heard_of_any_more_does_not_count():
    gone = history(sample(0, 0), sample(60, 60))
    assert look(gone, seconds=60).pods == 1
    assert look(gone, seconds=60 + 181) == Measured()


@pytest.mark.parametrize("after", [10, 1000])
def test_a_restarted_envoy_counts_from_its_start(after):
    """Whether its new count is below the old one or has already overtaken it."""
    seen = history(sample(0, 500), sample(60, 560), sample(120, after, timedelta(seconds=40)))
    found = look(seen, seconds=120)
    assert found.counts.ended == after
    assert found.per_second == pytest.approx(after / 40)


def test_a_restart_without_a_known_uptime_is_seen_by_the_count():
    seen = history(sample(0, 500, None), sample(60, 560, None), sample(120, 10, None))
    assert look(seen, seconds=120) == Measured(waiting=1)
    seen = added(seen, sample(180, 70, None))
    assert look(seen, seconds=180).per_second == pytest.approx(1)


def test_a_backend_that_was_never_tried_is_at_rest():
    found = look(history(sample(0, 0), sample(60, 0)), seconds=60)
    assert (found.pods, found.per_second, found.counts.ended) == (1, 0, 0)


def test_time_that_goes_back_is_ignored():
    seen = history(sample(60, 5), sample(0, 3))
    assert [each.at for each in seen] == [at(60)]


@given(st.lists(st.tuples(st.integers(15, 90), st.integers(0, 500)), min_size=2, max_size=40))
def test_the_window_holds_the_attempts_of_its_own_time(steps):
    """`steps`: seconds to the next look, and attempts that ended in between."""
    made, now, total, ends = (), 0, 10_000, [(0, 10_000)]
    made = added(made, sample(0, total))
    for seconds, count in steps:
        now, total = now + seconds, total + count
        ends.append((now, total))
        made = added(made, sample(now, total))
    base = max(
        (end for end in ends if end[0] <= now - WINDOW.total_seconds()),
        default=ends[0],
    )
    found = look(made, seconds=now)
    assert found.counts.ended == total - base[1]
    assert found.per_second == pytest.approx((total - base[1]) / (now - base[0]))
