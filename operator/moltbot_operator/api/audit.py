"""The record of every model call."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from moltbot_operator.api.constraints import Unique
from moltbot_operator.api.fields import HttpUrl
from moltbot_operator.api.model import ApiModel, Check

__all__ = ["Audit", "AuditDestination", "AuditField", "AuditOTLP"]


class AuditDestination(StrEnum):
    """Where records go."""

    STDOUT = "Stdout"
    OTLP = "OTLP"


class AuditField(StrEnum):
    """A field of the record; docs/audit.md says what each holds. There is none for content."""

    RECORD = "record"
    TIME = "time"
    REQUEST_ID = "request_id"
    TRACEPARENT = "traceparent"
    METHOD = "method"
    PATH = "path"
    ROUTE = "route"
    RULE = "rule"
    CONSUMER = "consumer"
    TASK = "task"
    TASK_REASON = "task_reason"
    MODEL = "model"
    MODEL_SERVED = "model_served"
    BACKEND = "backend"
    ATTEMPTS = "attempts"
    STATUS = "status"
    FLAGS = "flags"
    DETAILS = "details"
    CONTENT_TYPE = "content_type"
    DURATION_MS = "duration_ms"
    FIRST_BYTE_MS = "first_byte_ms"
    FIRST_TOKEN_MS = "first_token_ms"  # noqa: S105 - a token of text
    BYTES_RECEIVED = "bytes_received"
    BYTES_SENT = "bytes_sent"
    PROMPT_TOKENS = "prompt_tokens"
    COMPLETION_TOKENS = "completion_tokens"
    TOTAL_TOKENS = "total_tokens"

    @property
    def always(self) -> bool:
        """Whether every record has it, as it is: without it attempts could not be told from calls."""
        return self in {AuditField.RECORD, AuditField.TIME, AuditField.REQUEST_ID}


class AuditOTLP(ApiModel):
    """A collector of OpenTelemetry's protocol over HTTP."""

    url: HttpUrl
    """Where it takes logs, as it is, such as http://collector.observability:4318/v1/logs; over TLS with a
    public CA for https."""


class Audit(ApiModel):
    """The record of every model call; never holds credentials or content."""

    destination: AuditDestination = AuditDestination.STDOUT
    """Stdout: one JSON object a line on the gateway's standard output. OTLP: log records sent to a collector
    instead; those that it does not take are lost, and no call waits for it."""
    otlp: AuditOTLP | None = None
    """The collector; with destination OTLP."""
    fields: Annotated[tuple[AuditField, ...], Field(max_length=64), Unique()] = ()
    """Fields to write, beside record, time and request_id; empty: all. Content of requests and answers is no
    field and is never written."""
    redact: Annotated[tuple[AuditField, ...], Field(max_length=64), Unique()] = ()
    """Fields whose value is replaced by the word redacted, such as consumer or path. Not record, time and
    request_id."""

    checks = (
        Check(
            "(has(self.destination) && self.destination == 'OTLP') == has(self.otlp)",
            lambda self: (self.destination is AuditDestination.OTLP) == (self.otlp is not None),
            "destination OTLP and otlp go together: write destination: OTLP and otlp: {url: "
            "http://collector:4318/v1/logs}, or neither",
        ),
        Check(
            "!has(self.redact) || !self.redact.exists(f, f in ['record', 'time', 'request_id'])",
            lambda self: not any(field.always for field in self.redact),
            "record, time and request_id tell calls and their attempts apart and are always written: take "
            "them out of redact",
            ".redact",
        ),
    )
