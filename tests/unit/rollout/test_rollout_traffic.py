"""Windows of what clients got, over the pods of a revision."""

import math
from datetime import UTC, datetime, timedelta
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from moltbot_operator.objectives import Counts, Sample
from moltbot_operator.rollout.traffic import CLIENTS, Look, between, latency, success_rate

START = datetime(2026, 1, 1, tzinfo=UTC)
BOUNDS = (0.1, 1.0, math.inf)


def at(seconds):
    return START + timedelta(seconds=seconds)


def counted(well, bad=0, fast=None):
    fast = well if fast is None else fast
    return Counts(ended=well + bad, well=well, buckets=((0.1, fast), (1.0, well), (math.inf, well)))


def look(seconds, **pods):
    """Each pod: (uptime in seconds or None, counts)."""
    found = {
        uid: Sample(at(seconds), None if up is None else timedelta(seconds=up), {CLIENTS: counts})
        for uid, (up, counts) in pods.items()
    }
    return Look(at(seconds), found)


def test_all_pods_count_together_and_only_what_came_in_between():
    before = look(0, a=(100, counted(50, 5)), b=(100, counted(10)))
    after = look(10, a=(110, counted(70, 5)), b=(110, counted(40, 10)))
    found = between(before, after)
    assert (found.ended, found.well) == (60, 50)
    assert success_rate(found) == 50 / 60


def test_a_pod_that_started_again_counts_from_zero():
    before = look(0, a=(100, counted(50)))
    assert between(before, look(10, a=(3, counted(60)))).ended == 60
    assert between(before, look(10, a=(None, counted(4)))).ended == 4


def test_a_pod_that_came_later_counts_whole():
    assert between(look(0), look(10, a=(5, counted(7, 1)))).ended == 8


def test_a_pod_that_was_there_and_not_looked_at_is_left_out():
    assert between(look(0), look(10, a=(50, counted(7)))).ended == 0
    assert between(look(0), look(10, a=(None, counted(7)))).ended == 0


def test_a_pod_that_went_takes_its_figures_along():
    assert between(look(0, a=(9, counted(5))), look(10)).ended == 0


def test_without_calls_there_is_no_figure():
    nothing = between(look(0, a=(9, counted(5))), look(10, a=(19, counted(5))))
    assert success_rate(nothing) is None
    assert latency(nothing, 95) is None


def test_latency_is_that_of_the_window_alone():
    before = look(0, a=(100, counted(100, fast=0)))
    after = look(10, a=(110, counted(200, fast=100)))
    assert latency(between(before, after), 95) <= 0.1
    slow = look(20, a=(120, counted(300, fast=100)))
    assert latency(between(after, slow), 50) > 0.1


GROWTH = st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), min_size=2, max_size=8)


@given(st.dictionaries(st.sampled_from("abc"), GROWTH, min_size=1))
def test_windows_one_after_the_other_add_up(pods):
    """However it is cut into windows, each call is counted once."""
    length = min(map(len, pods.values()))
    looks = []
    for step in range(length):
        told = {}
        for uid, growth in pods.items():
            well, bad = (sum(each[i] for each in growth[: step + 1]) for i in (0, 1))
            told[uid] = (1000 + step, counted(well, bad))
        looks.append(look(step, **told))
    total = sum((between(*pair) for pair in pairwise(looks)), Counts())
    assert total.ended == between(looks[0], looks[-1]).ended
    rate = success_rate(total)
    assert rate is None or 0 <= rate <= 1
