"""Deadlines, spread and pauses (pure).

What is due at the same moment is spread by a share from 0 to 1 that follows from the owner's uid: the same
after each restart, and different for each owner.
"""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Final

from moltbot_operator.rotation.state import Policy, State

__all__ = [
    "BEAT",
    "CLOCK_SLACK",
    "LATE",
    "LATE_ANSWER",
    "clamp",
    "ends_of_waits",
    "moment_of",
    "next_due",
    "pause",
    "put_off",
    "share_of",
    "start_of",
]

SPREAD: Final = 0.1
"""Share of the interval by which deadlines come earlier, each by its own share."""

CATCH_UP: Final = timedelta(minutes=10)
"""Missed deadlines are caught up with over this time, or a tenth of the interval if that is less."""

LATE: Final = timedelta(minutes=2)
"""A deadline that is past by more was missed, by a stop or a set clock, and with it perhaps many others."""

FIRST_PAUSE: Final = timedelta(minutes=1)
LONGEST_PAUSE: Final = timedelta(hours=1)
"""Between rotations that fail."""

FIRST_STEP_PAUSE: Final = timedelta(seconds=5)
"""Between tries of one step."""

LATE_ANSWER: Final = timedelta(minutes=5)
"""When to look for what a call may have made after all that nobody knows the outcome of."""

BEAT: Final = timedelta(seconds=20)
"""How often a process that found a wait under way stores how far that is, lest restarts make it endless."""

CLOCK_SLACK: Final = timedelta(minutes=1)
"""How far ahead of what is possible a stored time may be before the clock is taken to have been set back."""


def moment_of(text: object) -> datetime | None:
    """A time as people write it (RFC 3339; UTC where it names no zone); None for what is no time."""
    try:
        found = datetime.fromisoformat(text) if isinstance(text, str) else None
        return found and (found if found.tzinfo is not None else found.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def share_of(uid: str) -> float:
    """From 0 to 1, spread evenly over uids."""
    return int.from_bytes(sha256(uid.encode()).digest()[:8]) / 2**64


def next_due(policy: Policy, now: datetime, not_after: datetime | None) -> datetime:
    """When a credential that is in use from `now` on is to be replaced, before it expires in any case."""
    due = now + policy.interval * (1 - SPREAD * policy.share)
    if not_after is not None and not_after > now:
        # With a quarter of its life left there is time for an issuer that is down for a while.
        due = min(due, now + (not_after - now) * (0.75 - SPREAD * policy.share))
    return due


def start_of(due: datetime, policy: Policy, overdue_since: datetime | None) -> datetime:
    """When to begin: at the deadline, or, where many may have been missed together, spread from now on."""
    if overdue_since is None or overdue_since - due < LATE:
        return due
    return overdue_since + min(CATCH_UP, policy.interval / 10) * policy.share


def pause(failures: int, first: timedelta, retry_after: timedelta | None = None) -> timedelta:
    """Pause after the `failures`-th failure in a row: doubling from `first` to an hour."""
    plain: timedelta = min(first * (1 << min(max(failures - 1, 0), 16)), LONGEST_PAUSE)
    return min(max(plain, retry_after or timedelta(0)), LONGEST_PAUSE)


def put_off(state: State, unwatched: timedelta) -> State:
    """So much of the time that passed by the clock was watched by nobody: no wait is shorter by it.

    Either the clock was set ahead, or no process ran and it may have been. Deadlines (`due`) and ends of
    credentials are of the calendar and stay.
    """

    def later(moment: datetime | None) -> datetime | None:
        try:
            return None if moment is None else moment + unwatched
        except OverflowError:  # somebody edited it; `clamp` brings it back
            return moment

    if unwatched <= timedelta(0):
        return state
    return replace(
        state,
        until=later(state.until),
        published=later(state.published),
        spare_published=later(state.spare_published),
        sweep=later(state.sweep),
    )


def ends_of_waits(state: State, policy: Policy) -> list[datetime]:
    """When what is waited for, for its own sake, will have lasted long enough: what `put_off` moves."""
    read = [since + policy.settle for since in (state.published, state.spare_published) if since is not None]
    return [*read, *(end for end in (state.until, state.sweep) if end is not None)]


def clamp(state: State, policy: Policy, now: datetime) -> State:
    """No stored time may be further ahead than it can have been set: the clock was ahead then.

    So a clock that was wrong by a week and is put right does not put a rotation off by a week.
    """

    def bound(moment: datetime | None, ahead: timedelta) -> datetime | None:
        return (
            min(moment, now + ahead) if moment is not None and moment > now + ahead + CLOCK_SLACK else moment
        )

    overlap = max(policy.overlap + policy.longest, policy.keep)
    return replace(
        state,
        due=bound(state.due, policy.interval),
        retry=bound(state.retry, LONGEST_PAUSE),
        until=bound(state.until, overlap),
        published=bound(state.published, timedelta(0)),
        spare_published=bound(state.spare_published, timedelta(0)),
        sweep=bound(state.sweep, LONGEST_PAUSE),
    )
