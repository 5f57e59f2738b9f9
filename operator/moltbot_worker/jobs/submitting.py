"""Which requests become jobs, and what is answered."""

import logging
import secrets
import time
from collections.abc import Callable

import orjson

from moltbot_worker import protocol
from moltbot_worker.config import Async, Jobs
from moltbot_worker.errors import StoreAway, StoreFull
from moltbot_worker.exchange import JSON, Answer, Handler, Request, refusal
from moltbot_worker.jobs.record import Job, fields_of
from moltbot_worker.jobs.webhooks import Webhooks
from moltbot_worker.metrics import Metrics
from moltbot_worker.store import Store

__all__ = ["Submitting"]

_log = logging.getLogger(__name__)

LONGEST_KEY = 255


class Submitting:
    """Puts requests into the queue; `inner` answers the others, and all while the store is away."""

    def __init__(
        self,
        settings: Async,
        jobs: Jobs,
        *,
        store: Store,
        webhooks: Webhooks,
        inner: Handler,
        metrics: Metrics,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._queue = settings.queue
        self._jobs = jobs
        self._store = store
        self._webhooks = webhooks
        self._inner = inner
        self._metrics = metrics
        self._clock = clock

    async def __call__(self, request: Request) -> Answer:
        """202 with the job, or the answer of a request that is none."""
        asked = request.header(protocol.ASYNC).strip().lower()
        if asked == "false" or request.method != "POST":
            return await self._inner(request)
        webhook = request.header(protocol.WEBHOOK).strip() or None
        once = request.header(b"idempotency-key").strip()
        if why := self._wrong(request, asked, webhook, once):
            return refusal(400, why, "invalid_request")
        try:
            return await self._submitted(request, webhook, once)
        except StoreFull:
            return self._full("The store has no room for more jobs")
        except StoreAway as error:
            _log.warning("job answered at once", extra={"rule": request.rule.name, "why": str(error)})
            return await self._inner(request)

    def _wrong(self, request: Request, asked: str, webhook: str | None, once: str) -> str | None:
        if asked not in {"", "true"}:
            return "The header x-moltbot-async must be true or false."
        if request.streams:
            return "A job has no stream: leave stream out, or send x-moltbot-async: false to be answered now."
        if len(once) > LONGEST_KEY:
            return f"An idempotency-key has at most {LONGEST_KEY} characters."
        return None if webhook is None else self._webhooks.refused(webhook)

    async def _submitted(self, request: Request, webhook: str | None, once: str) -> Answer:
        identity = f"job_{secrets.token_hex(16)}"
        fields = fields_of(request, webhook, self._clock())
        name = f"{len(request.consumer)}:{request.consumer}:{request.rule.name}:{once}" if once else None
        made = await self._store.submit(
            self._queue,
            identity,
            fields,
            once=name,
            most=self._jobs.max_queued,
            once_ttl=self._jobs.result_ttl,
        )
        if made is None:
            return self._full(
                f"The queue {self._queue} holds {self._jobs.max_queued} jobs, which is its limit"
            )
        if made.new:
            self._metrics.jobs.labels(self._queue, "queued").inc()
        else:
            fields = await self._store.job(made.job) or {}
        if "head" not in fields:
            return refusal(409, "The job with this idempotency-key was deleted.", "job_deleted")
        job = Job.of(made.job, {"state": b"queued", "tries": b"0", **fields})
        document = job.document()
        if job.webhook is not None:
            document["webhook"] = {"url": job.webhook, "secret": self._webhooks.secret_of(job.id)}
        headers = [JSON, (protocol.JOB, job.id.encode()), (b"location", f"/v1/jobs/{job.id}".encode())]
        return Answer(202, headers, orjson.dumps(document))

    def _full(self, why: str) -> Answer:
        self._metrics.rejected.labels("queue").inc()
        message = f"{why}: try again later."
        return refusal(429, message, "queue_full", kind="requests", headers=[(b"retry-after", b"10")])
