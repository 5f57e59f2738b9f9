"""The store of a single process: the same contract, in memory, and gone with the process."""

import asyncio
import collections
import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from moltbot_worker.store.contract import Backlog, Delivery, JobFields, Submitted

__all__ = ["EmbeddedStore"]

_DEAD_KEPT: Final = 1000
_OVERHEAD: Final = 200
"""Bytes that an entry costs beside its key and value, about."""


@dataclass
class _Place:
    job: str
    at: float
    holder: str | None = None
    heard: float = 0.0


@dataclass
class _Queue:
    places: dict[str, _Place] = field(default_factory=dict)
    filled: asyncio.Event = field(default_factory=asyncio.Event)


class EmbeddedStore:
    """`max_bytes` bounds cached values, least recently used first; `clock` is monotonic, in seconds."""

    def __init__(self, max_bytes: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._max_bytes = max_bytes
        self._clock = clock
        self._cache: collections.OrderedDict[str, tuple[bytes, float]] = collections.OrderedDict()
        self.bytes_used = 0
        self._locks: dict[str, tuple[str, float]] = {}
        self._queues: dict[str, _Queue] = collections.defaultdict(_Queue)
        self._jobs: dict[str, JobFields] = {}
        self._ends: dict[str, float] = {}
        self._once: dict[str, tuple[str, float]] = {}
        self._dead: collections.deque[str] = collections.deque(maxlen=_DEAD_KEPT)
        self._number = 0

    @property
    def up(self) -> bool:
        """Always."""
        return True

    async def get(self, key: str) -> bytes | None:
        """See the contract."""
        found = self._cache.get(key)
        if found is None:
            return None
        if found[1] <= self._clock():
            self._drop(key)
            return None
        self._cache.move_to_end(key)
        return found[0]

    async def put(self, key: str, value: bytes, ttl: float) -> None:
        """See the contract."""
        self._drop(key)
        size = len(key) + len(value) + _OVERHEAD
        if size > self._max_bytes:
            return
        self._cache[key] = (value, self._clock() + ttl)
        self.bytes_used += size
        while self.bytes_used > self._max_bytes:
            self._drop(next(iter(self._cache)))

    def _drop(self, key: str) -> None:
        gone = self._cache.pop(key, None)
        if gone is not None:
            self.bytes_used -= len(key) + len(gone[0]) + _OVERHEAD

    async def claim(self, name: str, owner: str, ttl: float) -> bool:
        """See the contract."""
        now = self._clock()
        holder, end = self._locks.get(name, (owner, 0.0))
        if holder != owner and end > now:
            return False
        self._locks[name] = (owner, now + ttl)
        return True

    async def release(self, name: str, owner: str) -> None:
        """See the contract."""
        if self._locks.get(name, ("", 0.0))[0] == owner:
            del self._locks[name]

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
        """See the contract."""
        now = self._clock()
        self._expire(now)
        if once is not None and once in self._once:
            return Submitted(self._once[once][0], new=False)
        if len(self._queues[queue].places) >= most:
            return None
        if once is not None:
            self._once[once] = (job, now + once_ttl)
        self._jobs[job] = {**fields, "state": b"queued", "tries": b"0"}
        self._enqueue(queue, job)
        return Submitted(job, new=True)

    def _enqueue(self, queue: str, job: str) -> None:
        self._number += 1
        self._queues[queue].places[str(self._number)] = _Place(job, self._clock())
        self._queues[queue].filled.set()

    def _expire(self, now: float) -> None:
        for job in [job for job, end in self._ends.items() if end <= now]:
            self._ends.pop(job)
            self._jobs.pop(job, None)
        for name in [name for name, (_, end) in self._once.items() if end <= now]:
            del self._once[name]

    async def take(self, queue: str, worker: str, count: int, *, lease: float, wait: float) -> list[Delivery]:
        """See the contract."""
        places = self._queues[queue]
        end = self._clock() + wait
        while True:
            now = self._clock()
            open_ = (
                (entry, place)
                for entry, place in places.places.items()
                if place.holder is None or place.heard + lease <= now
            )
            free = list(itertools.islice(open_, count))
            for _, place in free:
                place.holder, place.heard = worker, now
            if free or now >= end:
                return [Delivery(queue, entry, place.job) for entry, place in free]
            places.filled.clear()
            try:
                async with asyncio.timeout(min(end - now, lease)):
                    await places.filled.wait()
            except TimeoutError:
                continue

    async def renew(self, worker: str, deliveries: Sequence[Delivery]) -> None:
        """See the contract."""
        for delivery in deliveries:
            place = self._queues[delivery.queue].places.get(delivery.entry)
            if place is not None and place.holder == worker:
                place.heard = self._clock()

    async def begin(self, delivery: Delivery) -> tuple[int, JobFields] | None:
        """See the contract."""
        found = self._jobs.get(delivery.job)
        if found is None or found["state"] == b"ended":
            await self.forget(delivery)
            return None
        tries = int(found["tries"]) + 1
        found |= {"state": b"running", "tries": str(tries).encode()}
        return tries, dict(found)

    async def finish(
        self,
        delivery: Delivery,
        fields: Mapping[str, bytes],
        *,
        ttl: float,
        then: str | None,
        dead: bool = False,
    ) -> bool:
        """See the contract."""
        await self.forget(delivery)
        found = self._jobs.get(delivery.job)
        if found is None or found["state"] == b"ended":
            return False
        found |= {**fields, "state": b"ended"}
        self._ends[delivery.job] = self._clock() + ttl
        if then is not None:
            self._enqueue(then, delivery.job)
        if dead:
            self._dead.appendleft(delivery.job)
        return True

    async def give_back(self, queue: str, worker: str) -> None:
        """See the contract."""
        for place in self._queues[queue].places.values():
            if place.holder != worker:
                continue
            place.holder = None
            self._queues[queue].filled.set()
            found = self._jobs.get(place.job)
            if found is not None and found["state"] == b"running":
                found |= {"state": b"queued", "tries": str(int(found["tries"]) - 1).encode()}

    async def forget(self, delivery: Delivery) -> None:
        """See the contract."""
        self._queues[delivery.queue].places.pop(delivery.entry, None)

    async def job(self, job: str) -> JobFields | None:
        """See the contract."""
        self._expire(self._clock())
        found = self._jobs.get(job)
        return None if found is None else dict(found)

    async def note(self, job: str, fields: Mapping[str, bytes]) -> bool:
        """See the contract."""
        if job not in self._jobs:
            return False
        self._jobs[job] |= fields
        return True

    async def remove(self, job: str) -> bool:
        """See the contract."""
        self._ends.pop(job, None)
        return self._jobs.pop(job, None) is not None

    async def dead(self, count: int) -> list[str]:
        """See the contract."""
        return list(self._dead)[:count]

    async def backlog(self, queue: str) -> Backlog:
        """See the contract."""
        places = self._queues[queue].places
        now = self._clock()
        return Backlog(len(places), now - min((place.at for place in places.values()), default=now))

    async def close(self) -> None:
        """Nothing to give up."""
