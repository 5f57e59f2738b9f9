"""How often the same object may be put right before it counts as a fight (pure: the time is passed in).

A person who edits an owned object is undone at once. A controller that undoes the undoing would make both
spin, so after a few corrections in a row they get rarer: 5 at once, then one after 10 s, 20 s, 40 s … up
to 5 minutes.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

__all__ = ["Pace"]

FREE: Final = 5
"""Corrections in a row that are made at once."""

FIRST_PAUSE: Final = timedelta(seconds=10)
LONGEST_PAUSE: Final = timedelta(minutes=5)

CALM: Final = timedelta(minutes=10)
"""An object left alone for this long starts anew."""


@dataclass
class _Fight:
    corrections: int = 0
    latest: datetime | None = None


@dataclass
class Pace:
    """Corrections of each object, by whatever identifies it."""

    _fights: dict[str, _Fight] = field(default_factory=dict)

    def pause(self, identity: str, now: datetime) -> timedelta:
        """How long to wait before the object may be corrected again; zero: now."""
        fight = self._fights.get(identity)
        if fight is None or fight.latest is None:
            return timedelta(0)
        if now - fight.latest > CALM:
            del self._fights[identity]
            return timedelta(0)
        if fight.corrections < FREE:
            return timedelta(0)
        doublings = min(fight.corrections - FREE, 16)
        between: timedelta = min(FIRST_PAUSE * 2**doublings, LONGEST_PAUSE)
        due = fight.latest + between
        return max(due - now, timedelta(0))

    def corrected(self, identity: str, now: datetime) -> None:
        """Tell of a correction."""
        fight = self._fights.setdefault(identity, _Fight())
        fight.corrections += 1
        fight.latest = now

    def forget(self, prefix: str) -> None:
        """Forget the objects whose identity begins so."""
        for identity in [known for known in self._fights if known.startswith(prefix)]:
            del self._fights[identity]
