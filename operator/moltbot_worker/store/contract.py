"""The contract that both stores keep; tests/unit/worker/test_worker_store.py runs over both.

Every operation raises StoreAway where the store can't be reached in time; whoever calls leaves its feature
out.

Jobs. A job is a set of named fields. Its id goes through a queue::

    submit ─► waiting ─► take ─► begin (counts a try) ─► finish ─► ended, kept for a time
                 ▲                     │ the worker dies: nobody renews
                 └─────────────────────┘ take gives it to another one after the lease

Delivery is at least once. `finish` is once: whoever comes second changes nothing. A job that is
removed while it waits or runs is never given out again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

__all__ = ["Backlog", "Delivery", "JobFields", "Store", "Submitted"]

JobFields = dict[str, bytes]


@dataclass(frozen=True)
class Delivery:
    """A job given to a worker: `entry` names this place in the queue."""

    queue: str
    entry: str
    job: str


@dataclass(frozen=True)
class Submitted:
    """`job` is the new one's id, or that of an earlier one with the same `once`."""

    job: str
    new: bool


@dataclass(frozen=True)
class Backlog:
    """Jobs that wait or run."""

    depth: int
    oldest_s: float
    """Age of the oldest; 0 if there is none."""


class Store(Protocol):
    """See the module's docstring. Times are seconds."""

    @property
    def up(self) -> bool:
        """Whether the last operations went through."""

    async def get(self, key: str) -> bytes | None:
        """A cached value."""

    async def put(self, key: str, value: bytes, ttl: float) -> None:
        """Cache a value; it may be dropped at any time to make room."""

    async def claim(self, name: str, owner: str, ttl: float) -> bool:
        """Whether `owner` now holds the lock, which ends by itself; the holder may claim it again."""

    async def release(self, name: str, owner: str) -> None:
        """Give a lock back, if `owner` holds it."""

    async def submit(
        self,
        queue: str,
        job: str,
        fields: Mapping[str, bytes],
        *,
        once: str | None,
        most: int,
        once_ttl: float,
    ) -> Submitted | None:
        """Put a job in; None where the queue holds `most`. `once` names a job that is wanted only once."""

    async def take(self, queue: str, worker: str, count: int, *, lease: float, wait: float) -> list[Delivery]:
        """At most `count` jobs: those whose lease is over first; waits `wait` for one."""

    async def renew(self, worker: str, deliveries: Sequence[Delivery]) -> None:
        """Say that these are still at work."""

    async def begin(self, delivery: Delivery) -> tuple[int, JobFields] | None:
        """The number of this try, from 1, and the fields; None where the job has ended or was removed."""

    async def finish(
        self,
        delivery: Delivery,
        fields: Mapping[str, bytes],
        *,
        ttl: float,
        then: str | None,
        dead: bool = False,
    ) -> bool:
        """End a job with these fields, which are added; False where it had ended or was removed.

        `then`: queue that its id goes to next, in the same step. `dead`: its id is listed among the dead.
        """

    async def give_back(self, queue: str, worker: str) -> None:
        """Others may take at once what this worker holds; tries that were begun do not count."""

    async def forget(self, delivery: Delivery) -> None:
        """Take a place out of its queue and leave the job as it is."""

    async def job(self, job: str) -> JobFields | None:
        """The fields, with `state` (`queued`, `running`, `ended`) and `tries`."""

    async def note(self, job: str, fields: Mapping[str, bytes]) -> bool:
        """Add fields to a job in any state; False where it was removed."""

    async def remove(self, job: str) -> bool:
        """Forget a job in any state; whether there was one."""

    async def dead(self, count: int) -> list[str]:
        """Ids of the last dead jobs."""

    async def backlog(self, queue: str) -> Backlog:
        """How much waits or runs."""

    async def close(self) -> None:
        """Give up connections."""
