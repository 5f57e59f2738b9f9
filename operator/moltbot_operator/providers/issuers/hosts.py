"""How fast, and how many calls at once, go to one host: an issuer is called within its limits.

`Bucket` is pure: the time is passed in. `Hosts` makes calls wait their turn, shortly; who would have to wait
long is told when to come again, so that a host with a queue before it holds up nobody else's.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from moltbot_operator.errors import NothingHappened

__all__ = ["CALLS_AT_ONCE", "CALLS_PER_SECOND", "LONGEST_WAIT", "Bucket", "Hosts"]

CALLS_PER_SECOND: Final = 5.0
"""To one host. Documents of key management name no limits; this is far below what users of it report."""

BURST: Final = 10
"""Calls that may go at once after a pause: one rotation makes five."""

CALLS_AT_ONCE: Final = 4
"""Under way to one host."""

LONGEST_WAIT: Final = timedelta(seconds=2)
"""How long a call waits for its turn."""

_FORGOTTEN_AFTER: Final = 1000
"""Hosts that are remembered, at most."""


@dataclass
class Bucket:
    """A token bucket: `rate` calls a second, `burst` at once. Times: seconds of a clock that only rises."""

    rate: float
    burst: int
    level: float
    """Calls that may go now; below zero: turns that are given away already."""
    at: float
    closed_until: float = 0.0

    @classmethod
    def full(cls, rate: float, burst: int, now: float) -> "Bucket":
        """A bucket that nobody has used yet."""
        return cls(rate, burst, float(burst), now)

    def wait(self, now: float) -> float:
        """Seconds until a call may go, if it is decided now."""
        self._fill(now)
        return max(0.0, (1.0 - self.level) / self.rate, self.closed_until - now)

    def take(self, now: float) -> None:
        """Count a call that goes, now or when `wait` has passed."""
        self._fill(now)
        self.level -= 1.0

    def close(self, now: float, seconds: float) -> None:
        """Let nothing go for so long, as the host has asked."""
        self.closed_until = max(self.closed_until, now + seconds)

    def _fill(self, now: float) -> None:
        self.level = min(float(self.burst), self.level + max(0.0, now - self.at) * self.rate)
        self.at = max(self.at, now)


class Hosts:
    """Turns of calls, by host and port."""

    def __init__(
        self,
        clock: Callable[[], float],
        *,
        rate: float = CALLS_PER_SECOND,
        burst: int = BURST,
        at_once: int = CALLS_AT_ONCE,
        longest_wait: timedelta = LONGEST_WAIT,
    ) -> None:
        self._clock = clock
        self._rate, self._burst, self._at_once = rate, burst, at_once
        self._longest = longest_wait.total_seconds()
        self._known: dict[str, tuple[Bucket, asyncio.Semaphore]] = {}

    @contextlib.asynccontextmanager
    async def turn(self, host: str) -> AsyncIterator[None]:
        """Wait for a turn and hold it. NothingHappened with `retry_after` where that would take too long."""
        bucket, places = self._of(host)
        wait = bucket.wait(self._clock())
        if wait > self._longest:
            raise _later(host, wait)
        bucket.take(self._clock())
        if wait > 0:
            await asyncio.sleep(wait)
        try:
            async with asyncio.timeout(self._longest):
                await places.acquire()
        except TimeoutError:
            raise _later(host, self._longest) from None
        try:
            yield
        finally:
            places.release()

    def close(self, host: str, pause: timedelta) -> None:
        """The host asked to be left alone for so long (429 with Retry-After)."""
        self._of(host)[0].close(self._clock(), pause.total_seconds())

    def _of(self, host: str) -> tuple[Bucket, asyncio.Semaphore]:
        found = self._known.get(host)
        if found is None:
            while len(self._known) >= _FORGOTTEN_AFTER:
                self._known.pop(next(iter(self._known)))
            bucket = Bucket.full(self._rate, self._burst, self._clock())
            found = self._known[host] = (bucket, asyncio.Semaphore(self._at_once))
        return found


def _later(host: str, wait: float) -> NothingHappened:
    return NothingHappened(f"calls to {host} wait for their turn", timedelta(seconds=wait))
