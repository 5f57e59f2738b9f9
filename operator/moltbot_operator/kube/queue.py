"""The queue between events and reconcilers: keys, not events, so that a burst is one piece of work.

Rules (those of client-go's work queue):

- a key that waits is held once, however often it is added;
- a key that is being worked on is never given to a second worker; added meanwhile, it runs once more after;
- a key that fails comes back after a delay that grows with its own failures in a row; no other key waits;
- a delayed key that is added without delay runs at once.

One rule is ours: a key that was added while it was failing waits for a second at least, since the event may
come from its own half-done work, and that must not make a hot loop.
"""

import asyncio
import random
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final, Literal

import structlog

from moltbot_operator.errors import LeaseLost, MoltBotError

__all__ = ["Backoff", "Key", "Outcome", "Queue", "QueueClosed", "Work"]

DEADLINE: Final = timedelta(minutes=2)
"""Longest that one key may occupy a worker; every call inside has a shorter limit of its own."""

AFTER_FAILURE: Final = timedelta(seconds=1)
"""Longest delay of a failed key that an event asked for meanwhile."""


@dataclass(frozen=True, order=True)
class Key:
    """What is reconciled: one resource of ours."""

    kind: Literal["Route", "Backend", "Workers"]
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}"


Work = Callable[[Key], Awaitable[timedelta | None]]
"""Reconciles a key; returns when to look again by itself, None for not before the next event."""

Outcome = Literal["success", "error", "crash"]
"""`error`: an error of ours (cluster unreachable…); `crash`: anything else, a defect."""


class QueueClosed(Exception):  # noqa: N818
    """No more work will be given out."""


@dataclass
class Backoff:
    """Delay before a failed key is tried again: base, 2·base, 4·base… up to the ceiling, ± jitter."""

    base: timedelta = timedelta(milliseconds=250)
    ceiling: timedelta = timedelta(minutes=5)
    jitter: float = 0.2
    """Share of the delay by which it is varied, so that keys that failed together don't return together."""
    random: Callable[[], float] = field(default_factory=lambda: random.Random().random)  # noqa: S311

    def delay(self, failures: int) -> timedelta:
        """Delay after the `failures`-th failure in a row (1, 2…)."""
        doublings = min(failures - 1, 32)
        plain: timedelta = min(self.base * (1 << doublings), self.ceiling)
        return plain * (1 + self.jitter * (2 * self.random() - 1))


class Queue:
    """Keys waiting for a worker; belongs to one event loop."""

    def __init__(self, backoff: Backoff | None = None) -> None:
        self._backoff = backoff or Backoff()
        self._waiting: deque[Key] = deque()
        self._dirty: set[Key] = set()
        self._working: set[Key] = set()
        self._timers: dict[Key, asyncio.TimerHandle] = {}
        self._failures: dict[Key, int] = {}
        self._getters: deque[asyncio.Future[None]] = deque()
        self._closed = False
        self.retries = 0
        """Failed keys given a delay so far."""

    @property
    def depth(self) -> int:
        """Keys ready for a worker."""
        return len(self._waiting)

    @property
    def delayed(self) -> int:
        """Keys that wait for their time."""
        return len(self._timers)

    @property
    def idle(self) -> bool:
        """Nothing is waiting or being worked on (delayed keys apart)."""
        return not self._dirty and not self._working

    def add(self, key: Key) -> None:
        """Have the key reconciled as soon as a worker is free."""
        if self._closed or key in self._dirty:
            return
        self._cancel_timer(key)
        self._dirty.add(key)
        if key not in self._working:
            self._ready(key)

    def add_after(self, key: Key, delay: timedelta) -> None:
        """Have the key reconciled after the delay; of several delays the earliest counts."""
        if self._closed or key in self._dirty:
            return
        loop = asyncio.get_running_loop()
        when = loop.time() + delay.total_seconds()
        if (timer := self._timers.get(key)) is not None and timer.when() <= when:
            return
        self._cancel_timer(key)
        self._timers[key] = loop.call_at(when, self._due, key)

    async def get(self) -> Key:
        """The next key, now the caller's until `done`; raises QueueClosed."""
        while not self._waiting:
            if self._closed:
                raise QueueClosed
            getter = asyncio.get_running_loop().create_future()
            self._getters.append(getter)
            try:
                await getter
            except asyncio.CancelledError:
                if getter.done() and not getter.cancelled():
                    self._wake()  # it was told of a key that it will not take: tell another
                raise
        if self._closed:
            raise QueueClosed
        key = self._waiting.popleft()
        self._dirty.discard(key)
        self._working.add(key)
        return key

    def done(self, key: Key, *, failed: bool = False, again: timedelta | None = None) -> None:
        """Give back a key: failed ones return after a growing delay, others after `again` if given."""
        self._working.discard(key)
        if failed:
            failures = self._failures[key] = self._failures.get(key, 0) + 1
            self.retries += 1
            again = self._backoff.delay(failures)
        else:
            self._failures.pop(key, None)
        if key in self._dirty and not failed:
            self._ready(key)
        elif key in self._dirty and again is not None:
            self._dirty.discard(key)
            self.add_after(key, min(again, AFTER_FAILURE))
        elif again is not None:
            self.add_after(key, again)

    def failures(self, key: Key) -> int:
        """How often in a row the key has failed."""
        return self._failures.get(key, 0)

    def close(self) -> None:
        """Give out no more keys; workers end after the one that they have."""
        self._closed = True
        for key in list(self._timers):
            self._cancel_timer(key)
        for getter in self._getters:
            if not getter.done():
                getter.set_result(None)

    async def run(
        self,
        work: Work,
        *,
        concurrency: int,
        deadline: timedelta = DEADLINE,
        observe: Callable[[Key, Outcome, timedelta], None] | None = None,
    ) -> None:
        """Work off keys with `concurrency` workers until closed; `observe` is told of each piece of work.

        LeaseLost ends the run: nothing may be written any more. All other errors are the key's own.
        """
        async with asyncio.TaskGroup() as workers:
            for _ in range(concurrency):
                workers.create_task(self._worker(work, deadline, observe))

    async def _worker(
        self,
        work: Work,
        deadline: timedelta,
        observe: Callable[[Key, Outcome, timedelta], None] | None,
    ) -> None:
        log = structlog.get_logger(__name__)
        loop = asyncio.get_running_loop()
        while True:
            try:
                key = await self.get()
            except QueueClosed:
                return
            began = loop.time()
            again: timedelta | None = None
            outcome: Outcome = "success"
            try:
                async with asyncio.timeout(deadline.total_seconds()):
                    again = await work(key)
            except LeaseLost:
                raise
            except (MoltBotError, TimeoutError) as error:
                outcome = "error"
                log.warning("reconcile failed", key=str(key), error=str(error) or f"took over {deadline}")
            except Exception:
                outcome = "crash"
                log.exception("reconcile crashed", key=str(key))
            finally:
                self.done(key, failed=outcome != "success", again=again)
            if observe is not None:
                observe(key, outcome, timedelta(seconds=loop.time() - began))

    def _ready(self, key: Key) -> None:
        self._waiting.append(key)
        self._wake()

    def _wake(self) -> None:
        while self._getters:
            getter = self._getters.popleft()
            if not getter.done():
                getter.set_result(None)
                return

    def _due(self, key: Key) -> None:
        del self._timers[key]
        self.add(key)

    def _cancel_timer(self, key: Key) -> None:
        if (timer := self._timers.pop(key, None)) is not None:
            timer.cancel()
