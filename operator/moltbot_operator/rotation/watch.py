"""Sees by how much a wall clock was set ahead: a wait that has a reason must last as long as it was to.

A clock that can't be set runs beside it. It reaches as far as one process does; the time between two of them
is told by what the first stored last (`State.watched`), and counts for no wait (`timing.put_off`).
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

__all__ = ["Watch"]

LEAST: Final = timedelta(seconds=5)
"""Less is no jump: the two clocks are not read at the same moment, and corrections are as small."""


class Watch:
    """Both clocks of one driver."""

    def __init__(self, clock: Callable[[], datetime], steady: Callable[[], timedelta]) -> None:
        """`steady`: time since any fixed moment, by a clock that nobody sets."""
        self._clock = clock
        self._steady = steady
        self._zero: datetime | None = None
        """What the wall clock showed when the other one was zero, as far as jumps were allowed for."""

    def ahead(self) -> timedelta:
        """By how much the clock was set ahead since the last `allow`; zero if less than 5 s."""
        zero = self._clock() - self._steady()
        known = self._zero = (
            zero if self._zero is None else min(self._zero, zero)
        )  # it was set back meanwhile
        return zero - known if zero - known > LEAST else timedelta(0)

    def allow(self, ahead: timedelta) -> None:
        """So much was allowed for, durably: what is stored has been put off by it."""
        if self._zero is not None:
            self._zero += ahead
