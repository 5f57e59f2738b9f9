from datetime import UTC, datetime, timedelta

from moltbot_operator.reconcile.pace import CALM, FIRST_PAUSE, FREE, LONGEST_PAUSE, Pace

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ZERO = timedelta(0)


def fight(pace: Pace, rounds: int, now: datetime = NOW) -> None:
    for _ in range(rounds):
        pace.corrected("x", now)


def test_a_few_corrections_are_made_at_once() -> None:
    pace = Pace()
    assert pace.pause("x", NOW) == ZERO
    fight(pace, FREE - 1)
    assert pace.pause("x", NOW) == ZERO


def test_then_they_get_rarer_up_to_a_limit() -> None:
    pace = Pace()
    fight(pace, FREE)
    assert pace.pause("x", NOW) == FIRST_PAUSE
    assert pace.pause("x", NOW + FIRST_PAUSE) == ZERO
    fight(pace, 1)
    assert pace.pause("x", NOW) == 2 * FIRST_PAUSE
    fight(pace, 100)
    assert pace.pause("x", NOW) == LONGEST_PAUSE


def test_other_objects_do_not_wait() -> None:
    pace = Pace()
    fight(pace, 100)
    assert pace.pause("y", NOW) == ZERO


def test_calm_ends_it() -> None:
    pace = Pace()
    fight(pace, 100)
    assert pace.pause("x", NOW + CALM + timedelta(seconds=1)) == ZERO
    fight(pace, 1)
    assert pace.pause("x", NOW) == ZERO


def test_a_route_that_is_gone_is_forgotten() -> None:
    pace = Pace()
    fight(pace, 100)
    pace.forget("x")
    assert pace.pause("x", NOW) == ZERO
