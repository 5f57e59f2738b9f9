"""A job in the store, and as its consumer sees it."""

import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import orjson

from moltbot_worker.config import Rule
from moltbot_worker.exchange import Request

__all__ = ["NOT_SENT_ON", "Job", "ended_with", "fields_of", "is_owner", "request_of"]

NOT_SENT_ON: Final = (
    b"x-moltbot-async",
    b"x-moltbot-webhook",
    b"idempotency-key",
    b"content-length",
    b"host",
)
"""Headers that are for the job and not for its call."""


@dataclass(frozen=True)
class Job:
    """What a job's fields say. Times are seconds since 1970."""

    id: str
    consumer: str
    rule: str
    state: str
    """`queued`, `running`, and at its end `succeeded`, `failed` or `dead`."""
    tries: int
    created: float
    ended: float | None
    path: str
    webhook: str | None
    status: int | None
    """Of the answer."""
    headers: list[tuple[bytes, bytes]] = field(repr=False)
    """Of the request."""
    content_type: str
    """Of the answer."""
    why: str

    @classmethod
    def of(cls, identity: str, fields: Mapping[str, bytes]) -> "Job":
        """From the store's fields."""
        head = orjson.loads(fields["head"])
        outcome = orjson.loads(fields["outcome"]) if "outcome" in fields else {}
        state = fields["state"].decode()
        return cls(
            id=identity,
            consumer=head["consumer"],
            rule=head["rule"],
            state=outcome.get("state", "failed") if state == "ended" else state,
            tries=int(fields["tries"]),
            created=head["created"],
            ended=outcome.get("ended"),
            path=head["path"],
            webhook=head["webhook"],
            status=outcome.get("status"),
            headers=[(name.encode("latin-1"), value.encode("latin-1")) for name, value in head["headers"]],
            content_type=outcome.get("contentType", ""),
            why=outcome.get("why", ""),
        )

    def document(self, result: bytes | None = None) -> dict[str, Any]:
        """As the API shows it (docs/jobs.openapi.yaml); `result` is the answer's body."""
        made: dict[str, Any] = {
            "id": self.id,
            "object": "job",
            "status": self.state,
            "created_at": _written(self.created),
            "ended_at": None if self.ended is None else _written(self.ended),
            "tries": self.tries,
            "error": {"message": self.why} if self.why else None,
            "response": None,
        }
        if self.status is not None and result is not None:
            made["response"] = {"status_code": self.status, "body": _body(result)}
        return made


def fields_of(request: Request, webhook: str | None, now: float) -> dict[str, bytes]:
    """The fields of a new job."""
    headers = [
        [name.decode("latin-1"), value.decode("latin-1")]
        for name, value in request.headers
        if name not in NOT_SENT_ON
    ]
    head = {
        "consumer": request.consumer,
        "rule": request.rule.name,
        "path": request.path,
        "model": request.asked_model,
        "requestId": request.request_id.decode("latin-1"),
        "created": now,
        "webhook": webhook,
        "headers": headers,
    }
    return {"head": orjson.dumps(head), "body": request.body}


def request_of(identity: str, fields: Mapping[str, bytes], rule: Rule) -> Request:
    """The request that a job stands for; at every try with the same `idempotency-key`."""
    head = orjson.loads(fields["head"])
    return Request(
        method="POST",
        path=head["path"],
        headers=[(name.encode("latin-1"), value.encode("latin-1")) for name, value in head["headers"]],
        body=fields["body"],
        rule=rule,
        consumer=head["consumer"],
        asked_model=head["model"],
        request_id=head["requestId"].encode("latin-1"),
        more=[(b"idempotency-key", identity.encode())],
    )


def ended_with(
    state: str,
    now: float,
    *,
    status: int | None = None,
    content_type: str = "",
    body: bytes = b"",
    why: str = "",
) -> dict[str, bytes]:
    """The fields that an end adds."""
    outcome = {"state": state, "ended": now, "status": status, "contentType": content_type, "why": why}
    return {"outcome": orjson.dumps(outcome), "result": body}


def is_owner(job: Job, consumer: str) -> bool:
    """Whether this consumer submitted the job: to all others it does not exist."""
    return hmac.compare_digest(job.consumer.encode(), consumer.encode())


def _written(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _body(result: bytes) -> Any:
    try:
        return orjson.loads(result)
    except orjson.JSONDecodeError:
        return result.decode("utf-8", "replace")
