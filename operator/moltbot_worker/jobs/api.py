"""`GET` and `DELETE /v1/jobs/{id}`. A job of another consumer is answered as one that does not exist."""

import re
from typing import Final

import orjson

from moltbot_worker.errors import StoreAway
from moltbot_worker.exchange import JSON, Answer, refusal
from moltbot_worker.jobs.record import Job, is_owner
from moltbot_worker.metrics import Metrics
from moltbot_worker.store import Store

__all__ = ["JobApi"]

_PATH: Final = re.compile(r"/v1/jobs/(job_[0-9a-f]{32})/?", re.ASCII)


class JobApi:
    """The answers, for the consumer that the gateway names."""

    def __init__(self, store: Store, metrics: Metrics) -> None:
        self._store = store
        self._metrics = metrics

    async def __call__(self, method: str, path: str, consumer: str) -> Answer:
        """200 with the job, 404, 405, or 503 while the store is away."""
        found = _PATH.fullmatch(path.partition("?")[0])
        if found is None:
            return _unknown()
        if method not in {"GET", "DELETE"}:
            allowed = [(b"allow", b"DELETE, GET")]
            return refusal(
                405, f"A job takes GET and DELETE, not {method}.", "method_not_allowed", headers=allowed
            )
        try:
            return await self._answer(method, found[1], consumer)
        except StoreAway:
            message = "The store of jobs is away: try again."
            headers = [(b"retry-after", b"2")]
            return refusal(503, message, "store_unavailable", kind="server_error", headers=headers)

    async def _answer(self, method: str, identity: str, consumer: str) -> Answer:
        fields = await self._store.job(identity)
        if fields is None:
            return _unknown()
        job = Job.of(identity, fields)
        if not is_owner(job, consumer):
            return _unknown()
        if method == "GET":
            return Answer(200, [JSON], orjson.dumps(job.document(fields.get("result"))))
        await self._store.remove(identity)
        if job.state in {"queued", "running"}:
            self._metrics.jobs.labels("", "cancelled").inc()
        return Answer(200, [JSON], orjson.dumps({"id": identity, "object": "job", "deleted": True}))


def _unknown() -> Answer:
    return refusal(404, "There is no such job, or it has expired.", "job_not_found")
