"""Runs jobs: takes them from their queues, calls, ends them, and tells webhooks.

A job is taken on a lease and renewed while it is at work; a worker that dies is followed by another one when
the lease is over. What can't be written to the store is written later, for as long as it takes: until then
the lease is not renewed either, so somebody else may run the job again. At least once, never lost.

An answer is an end, whatever its status, but for 408, 409, 425, 429 and 5xx: those are tried again with
growing pauses, until `max_attempts`; then the job ends `failed` with the last answer. A job that was begun so
often without any end took its workers down: it ends `dead`.
"""

import asyncio
import contextlib
import logging
import secrets
import time
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Final

import orjson

from moltbot_worker.config import Jobs, Rule
from moltbot_worker.errors import StoreAway, WorkerError
from moltbot_worker.exchange import Handler, collected
from moltbot_worker.jobs.record import Job, ended_with, request_of
from moltbot_worker.jobs.webhooks import Webhooks
from moltbot_worker.metrics import Metrics
from moltbot_worker.store import Delivery, JobFields, Store

__all__ = ["HOOKS", "JobRunner", "pause"]

HOOKS: Final = "webhooks"
"""Queue of ended jobs whose webhooks are to be told; no job's own queue has this name."""

HOOK_TRIES: Final = 8

_AGAIN: Final = frozenset({408, 409, 425, 429})
_ERROR: Final = 400
_SERVER_ERROR: Final = 500
_WAIT_S: Final = 2.0

_log = logging.getLogger(__name__)


def pause(tries: int) -> float:
    """Seconds before the next try: 1, 2, 4 … 60."""
    return float(min(2 ** (tries - 1), 60))


class JobRunner:
    """`handlers`: what answers a rule's requests, by rule. `limit`: longest answer that is kept, in bytes."""

    def __init__(
        self,
        jobs: Jobs,
        *,
        rules: dict[str, tuple[Rule, Handler]],
        store: Store,
        webhooks: Webhooks,
        metrics: Metrics,
        limit: int,
    ) -> None:
        self._jobs = jobs
        self._rules = rules
        self._store = store
        self._webhooks = webhooks
        self._metrics = metrics
        self._limit = limit
        self.name = f"worker-{secrets.token_hex(8)}"
        self._queues = {rule.async_.queue for rule, _ in rules.values() if rule.async_ is not None}
        self._at_work: dict[Delivery, asyncio.Task[None]] = {}
        self._free = asyncio.Semaphore(jobs.concurrency)
        self._takers: list[asyncio.Task[None]] = []

    async def run(self) -> None:
        """Until cancelled: jobs still at work are given up then, and taken over by others after the lease."""
        try:
            async with asyncio.TaskGroup() as group:
                self._takers = [
                    *(group.create_task(self._serve(queue, self._do)) for queue in sorted(self._queues)),
                    group.create_task(self._serve(HOOKS, self._tell)),
                ]
                group.create_task(self._renewing())
                group.create_task(self._measuring())
        finally:
            for task in self._at_work.values():
                task.cancel()

    def leave_off(self) -> None:
        """Take no more jobs."""
        for task in self._takers:
            task.cancel()

    async def drain(self, limit: float) -> None:
        """Give the jobs at work at most `limit` seconds; others take at once what is not over then."""
        if self._at_work and limit > 0:
            await asyncio.wait(self._at_work.values(), timeout=limit)
        left = list(self._at_work.values())
        for task in left:
            task.cancel()
        if left:
            _log.info("jobs given back", extra={"jobs": [each.job for each in self._at_work]})
            await asyncio.wait(left)
        with contextlib.suppress(StoreAway):  # then their leases must end
            for queue in sorted({*self._queues, HOOKS}):
                await self._store.give_back(queue, self.name)

    async def _serve(self, queue: str, work: Callable[[Delivery], Coroutine[Any, Any, None]]) -> None:
        while True:
            async with self._free:
                pass  # no job is taken that nobody has time for
            try:
                found = await self._store.take(queue, self.name, 1, lease=self._jobs.lease, wait=_WAIT_S)
            except StoreAway:
                await asyncio.sleep(0.2)
                continue
            for delivery in found:
                await self._free.acquire()
                self._at_work[delivery] = asyncio.create_task(self._worked(delivery, work))

    async def _worked(
        self, delivery: Delivery, work: Callable[[Delivery], Coroutine[Any, Any, None]]
    ) -> None:
        self._metrics.in_flight.inc()
        try:
            await work(delivery)
        except StoreAway:
            _log.info("job given up until its lease ends", extra={"job": delivery.job})
        except Exception:  # noqa: BLE001 - one job's defect is not the others'
            _log.exception("defect in a job")
        finally:
            self._metrics.in_flight.dec()
            self._at_work.pop(delivery, None)
            self._free.release()

    async def _renewing(self) -> None:
        """Leases, and jobs that were removed meanwhile: their calls end."""
        while True:
            await asyncio.sleep(min(self._jobs.lease / 4, 5.0))
            with contextlib.suppress(StoreAway):
                await self._store.renew(self.name, list(self._at_work))
                for delivery, task in list(self._at_work.items()):
                    if await self._store.job(delivery.job) is None:
                        task.cancel()
                        # Or its place would count as waiting until the lease is over.
                        await self._store.forget(delivery)

    async def _measuring(self) -> None:
        while True:
            try:
                found = {queue: await self._store.backlog(queue) for queue in sorted(self._queues)}
            except StoreAway:
                self._metrics.backlog = {}
            else:
                self._metrics.backlog = {name: (each.depth, each.oldest_s) for name, each in found.items()}
            await asyncio.sleep(2)

    async def _do(self, delivery: Delivery) -> None:
        begun = await self._store.begin(delivery)
        if begun is None:
            return
        tries, fields = begun
        job = Job.of(delivery.job, fields)
        rule = self._rules.get(job.rule)
        if rule is None:
            await self._end(delivery, job, "failed", why=f"the route has no rule {job.rule} any more")
        elif tries > self._jobs.max_attempts:
            why = f"{self._jobs.max_attempts} tries were begun and none came to an end"
            await self._end(delivery, job, "dead", why=why)
        else:
            await self._call(delivery, job, fields, rule, tries)

    async def _call(
        self, delivery: Delivery, job: Job, fields: JobFields, rule: tuple[Rule, Handler], tries: int
    ) -> None:
        request = request_of(job.id, fields, rule[0])
        while True:
            try:
                answer = await rule[1](request)
                body = await collected(answer, self._limit)
            except WorkerError as error:
                status, kind, body, why = None, "", b"", f"the call failed: {error}"
            else:
                status, why = answer.status, ""
                kind = answer.header(b"content-type").decode("latin-1")
                if status not in _AGAIN and status < _SERVER_ERROR:
                    state = "succeeded" if status < _ERROR else "failed"
                    await self._end(delivery, job, state, status=status, content_type=kind, body=body)
                    return
            if tries >= self._jobs.max_attempts:
                more = {"status": status, "content_type": kind, "body": body}
                await self._end(delivery, job, "failed", why=why, **more)
                return
            self._metrics.jobs.labels(delivery.queue, "retried").inc()
            await asyncio.sleep(pause(tries))
            begun = await self._persist(lambda: self._store.begin(delivery))
            if begun is None:
                return
            tries = begun[0]

    async def _end(self, delivery: Delivery, job: Job, state: str, **more: Any) -> None:
        fields = ended_with(state, time.time(), **more)
        then = HOOKS if job.webhook is not None else None
        ttl = self._jobs.result_ttl
        ended = await self._persist(
            lambda: self._store.finish(delivery, fields, ttl=ttl, then=then, dead=state == "dead")
        )
        if ended:
            self._metrics.jobs.labels(delivery.queue, state).inc()

    async def _persist(self, write: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
        """Write, as soon as the store is there."""
        while True:
            try:
                return await write()
            except StoreAway:
                await asyncio.sleep(0.5)

    async def _tell(self, delivery: Delivery) -> None:
        """A webhook that does not answer well is tried again, also by other workers, and then given up."""
        fields = await self._store.job(delivery.job)
        job = None if fields is None else Job.of(delivery.job, fields)
        if fields is None or job is None or job.webhook is None:
            await self._store.forget(delivery)
            return
        tries = int(fields.get("told", b"0"))
        body = orjson.dumps({"type": "job.ended", "data": job.document(fields.get("result"))})
        while not await self._webhooks.tell(job.webhook, job.id, body, int(time.time())):
            tries += 1
            told = {"told": str(tries).encode()}
            await self._persist(partial(self._store.note, job.id, told))
            if tries >= HOOK_TRIES:
                self._metrics.webhooks.labels("given_up").inc()
                _log.warning("webhook given up", extra={"job": job.id, "tries": tries})
                break
            self._metrics.webhooks.labels("retried").inc()
            await asyncio.sleep(pause(tries))
        else:
            self._metrics.webhooks.labels("delivered").inc()
        await self._persist(lambda: self._store.forget(delivery))
