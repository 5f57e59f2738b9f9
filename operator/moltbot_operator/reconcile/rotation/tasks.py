"""A task for each rotation that has something to do, a timer for the rest."""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

import structlog

from moltbot_operator.errors import Conflict, LeaseLost, MoltBotError
from moltbot_operator.kube.queue import Backoff
from moltbot_operator.rotation.driver import Driver
from moltbot_operator.rotation.state import Policy
from moltbot_operator.rotation.telling import Announcement

__all__ = ["AT_ONCE", "Rotation", "Tasks"]

AT_ONCE: Final = 4
"""Rotations that call the same issuer at a time."""

LONGEST_SLEEP: Final = timedelta(hours=1)
"""A timer does not see the clock being set, so it is looked at again after this."""

Place = tuple[str, str]
"""Namespace, and name of a ModelBackend or Secret."""


@dataclass
class Rotation:
    """One credential's."""

    place: Place
    driver: Driver
    policy: Policy
    issuer: str
    """Whom it calls: those with the same share how many run at a time."""
    tell: Callable[[Announcement], Awaitable[None]]
    stamp: object = None
    """Another one means that what is asked for has changed."""
    task: asyncio.Task[None] | None = None
    timer: asyncio.TimerHandle | None = None
    again: bool = False
    """Something changed while the task ran."""
    failures: int = 0
    backoff: Backoff = field(default_factory=Backoff)


class Tasks:
    """Those of an operator, for one kind of owner."""

    def __init__(self, clock: Callable[[], datetime], what: str) -> None:
        """`what`: the word for a place in log lines."""
        self._clock = clock
        self._what = what
        self._rotations: dict[Place, Rotation] = {}
        self._slots: defaultdict[str, asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(AT_ONCE))
        self._closed = False
        self._log = structlog.get_logger(__name__)

    def keep(self, place: Place, stamp: object, make: Callable[[bool], Rotation]) -> None:
        """Go on with this one, made anew where `stamp` is another; `make` hears whether it replaces one."""
        if self._closed:
            return
        known = self._rotations.get(place)
        if known is None or known.stamp != stamp:
            self.forget(place)
            known = self._rotations[place] = make(known is not None)
            known.stamp = stamp
        self._start(known)

    def forget(self, place: Place) -> None:
        """It is gone, or not rotated any more."""
        known = self._rotations.pop(place, None)
        if known is None:
            return
        if known.timer is not None:
            known.timer.cancel()
        if known.task is not None:
            known.task.cancel()

    async def close(self) -> None:
        """End all of them; each goes on from where it is under the next leader."""
        self._closed = True
        tasks = [known.task for known in self._rotations.values() if known.task is not None]
        for place in list(self._rotations):
            self.forget(place)
        await asyncio.gather(*tasks, return_exceptions=True)

    def _start(self, known: Rotation) -> None:
        if known.timer is not None:
            known.timer.cancel()
            known.timer = None
        if known.task is not None and not known.task.done():
            known.again = True
            return
        known.task = asyncio.create_task(self._run(known), name=f"rotation of {'/'.join(known.place)}")

    async def _run(self, known: Rotation) -> None:
        while True:
            known.again = False
            wait = await self._advance(known)
            if not known.again:
                break
        if wait is None or self._rotations.get(known.place) is not known:
            return
        seconds = max(min(wait, LONGEST_SLEEP).total_seconds(), 0.05)
        known.timer = asyncio.get_running_loop().call_later(seconds, self._wake, known)

    def _wake(self, known: Rotation) -> None:
        known.timer = None
        known.task = None
        self._start(known)

    async def _advance(self, known: Rotation) -> timedelta | None:
        """How long to wait; None: for a change."""
        log = self._log.bind(**{self._what: "/".join(known.place)})
        try:
            async with self._slots[known.issuer]:
                again = await known.driver.advance(known.policy)
        except LeaseLost:
            return None
        except MoltBotError as error:
            known.failures += 1
            log.warning("rotation is held up", error=str(error))
            if isinstance(error, Conflict):  # somebody has to do something about it
                await known.tell(Announcement("Warning", "CredentialRotationHeldUp", str(error)))
        except Exception:
            known.failures += 1
            log.exception("rotation crashed; this is a defect")
        else:
            known.failures = 0
            return None if again is None else again - self._clock()
        return known.backoff.delay(known.failures)
