"""The audit record: one JSON object a call, and one for each attempt that failed (docs/audit.md).

Never a credential and never content: values come from a list of fields; queries and headers may hold keys and
are not written. Attempts have records of their own since Envoy forgets a failed attempt once it makes the
next one: only the router's `upstream_log`, which is called for each, knows how it ended. A call whose only
attempt succeeds costs nothing for that.
"""

from collections.abc import Mapping
from typing import Final

from moltbot_agent.attempts import NAMED
from moltbot_agent.calls import call_log, first_token_log
from moltbot_operator.api import Audit, AuditField
from moltbot_operator.compile.envoy import names
from moltbot_operator.compile.envoy.otlp import collector_logger
from moltbot_operator.compile.envoy.proto import Json, extension
from moltbot_operator.compile.envoy.shapes import cel
from moltbot_operator.compile.ir import Gateway

__all__ = ["ATTEMPT_FIELDS", "FIELDS", "REDACTED", "access_log", "attempt_log", "served_by"]

FIELDS: Final = {
    "record": "call",
    "time": "%START_TIME%",
    "request_id": "%REQ(X-REQUEST-ID)%",
    "traceparent": "%REQ(TRACEPARENT):55%",
    "method": "%REQ(:METHOD)%",
    "path": f"%FILTER_STATE({names.STATE_PATH}:PLAIN)%",
    "rule": "%ROUTE_NAME%",
    "task": f"%DYNAMIC_METADATA({names.NAMESPACE}:task)%",
    "task_reason": f"%DYNAMIC_METADATA({names.NAMESPACE}:task_reason)%",
    "model": f"%FILTER_STATE({names.STATE_MODEL}:PLAIN)%",
    "model_served": f"%UPSTREAM_METADATA({names.NAMESPACE}:model)%",
    "backend": NAMED,
    "attempts": "%UPSTREAM_REQUEST_ATTEMPT_COUNT%",
    "status": "%RESPONSE_CODE%",
    "flags": "%RESPONSE_FLAGS%",
    "details": "%RESPONSE_CODE_DETAILS%",
    "content_type": "%RESP(CONTENT-TYPE):100%",
    "duration_ms": "%DURATION%",
    "first_byte_ms": "%RESPONSE_DURATION%",
    "first_token_ms": "%COMMON_DURATION(DS_RX_BEG:US_RX_BODY_BEG:ms)%",
    "bytes_received": "%BYTES_RECEIVED%",
    "bytes_sent": "%BYTES_SENT%",
    "prompt_tokens": f"%DYNAMIC_METADATA({names.NAMESPACE}:prompt_tokens)%",
    "completion_tokens": f"%DYNAMIC_METADATA({names.NAMESPACE}:completion_tokens)%",
    "total_tokens": f"%DYNAMIC_METADATA({names.NAMESPACE}:total_tokens)%",
}
"""Fields of a call whose value is Envoy's, beside `route` and `consumer`
(https://www.envoyproxy.io/docs/envoy/v1.40.0/configuration/observability/access_log/usage)."""

ATTEMPT_FIELDS: Final = {
    "record": "attempt",
    "time": "%START_TIME%",
    "request_id": "%REQ(X-REQUEST-ID)%",
    "backend": FIELDS["backend"],
    "status": "%RESPONSE_CODE%",
    # what the inner tier says of a backend that did not answer comes first: there its own answer is a 503
    "flags": f'%COALESCE({{"operators": [{{"command": "RESP", "param": "{names.FAULT}"}}, '
    '{"command": "RESPONSE_FLAGS"}]})%',
    "duration_ms": "%DURATION%",
}
"""Fields of an attempt, beside `route`."""

REDACTED: Final = "redacted"
"""In place of a value that `audit.redact` names."""

_NOT_A_WORKERS: Final = (
    f"!('{names.PART}' in xds.upstream_host_metadata.filter_metadata['{names.NAMESPACE}']) || "
    f"response.flags != 0 || '{names.FAULT}' in response.headers"
)
"""What a worker answers is no failure of its own: its call's attempts have records already."""

_STDOUT: Final = "/dev/stdout"


_OF_TASKS: Final = ("task", "task_reason")
_OF_BODIES: Final = ("model", "prompt_tokens", "completion_tokens", "total_tokens")


def _unset(gateway: Gateway) -> dict[str, None]:
    """Fields that nothing in this gateway sets: each look for one costs a hundredth of a whole request."""
    reads = any(
        any(each.scanned for each in rule.conditions) or any(rule.reads(choice) for choice in rule.choices)
        for rule in gateway.every_rule
    )
    unset: tuple[str, ...] = () if reads else _OF_BODIES
    if gateway.task_models is None:
        unset += _OF_TASKS
    if all(backend.model is None for backend in gateway.backends.values()):
        unset += ("model_served",)
    return dict.fromkeys(unset)


def _chosen(fields: Mapping[str, str | None], audit: Audit) -> Json:
    """What `audit` leaves of the fields."""
    wanted = {name for name in AuditField if name.always or name in audit.fields or not audit.fields}
    return {
        name: REDACTED if name in audit.redact else value for name, value in fields.items() if name in wanted
    }


def _logger(gateway: Gateway, fields: Mapping[str, str | None]) -> Json:
    chosen = _chosen(fields, gateway.audit)
    if gateway.collector is not None:
        return collector_logger(gateway, gateway.collector, chosen)
    form = {"json_format": chosen}
    if gateway.files.access_log == _STDOUT:
        return extension(
            "envoy.access_loggers.stdout",
            "extensions.access_loggers.stream.v3.StdoutAccessLog",
            log_format=form,
        )
    return extension(
        "envoy.access_loggers.file",
        "extensions.access_loggers.file.v3.FileAccessLog",
        path=gateway.files.access_log,
        log_format=form,
    )


def served_by(gateway: Gateway) -> str:
    """Format of the backend that answered; where there are workers, as they say of their own answers.

    A provider's own header of that name counts for nothing: an endpoint with a backend's name comes first.
    """
    if not gateway.worked:
        return FIELDS["backend"]
    return _either(("UPSTREAM_METADATA", f"{names.NAMESPACE}:name"), ("RESP", "X-MOLTBOT-BACKEND"))


def _model_served(gateway: Gateway) -> str:
    """Behind a worker the script finds it by the backend that is said to have answered."""
    if not gateway.worked:
        return FIELDS["model_served"]
    return _either(
        ("UPSTREAM_METADATA", f"{names.NAMESPACE}:model"),
        ("DYNAMIC_METADATA", f"{names.NAMESPACE}:model_served"),
    )


def _either(*operators: tuple[str, str]) -> str:
    """Format of the first of these commands, with its parameter, that gives anything."""
    each = ", ".join(f'{{"command": "{command}", "param": "{param}"}}' for command, param in operators)
    return f'%COALESCE({{"operators": [{each}]}})%'


def access_log(gateway: Gateway, *, counted: bool = True) -> list[Json]:
    """`access_log` of the public listener; not `counted` are the operator's own test requests."""
    consumer = gateway.anonymous or f"%FILTER_STATE({names.STATE_CONSUMER}:PLAIN)%"
    own = {
        "route": _route(gateway),
        "consumer": consumer,
        "backend": served_by(gateway),
        "model_served": _model_served(gateway),
    }
    fields = {**FIELDS, **own, **_unset(gateway)}
    counts = call_log(consumer, served_by(gateway), tokens=gateway.reads_bodies) if counted else []
    return [_logger(gateway, fields), *counts]


def attempt_log(gateway: Gateway, *, counted: bool = True) -> list[Json]:
    """`upstream_log` of the public router: attempts that were answered with an error, cut or not answered.

    And the figures on first tokens, where they are `counted`.
    """
    threshold = {"default_value": 400, "runtime_key": "moltbot.failed"}
    error = {"status_code_filter": {"comparison": {"op": "GE", "value": threshold}}}
    failed: Json = {"or_filter": {"filters": [error, {"response_flag_filter": {}}]}}
    fields = {**ATTEMPT_FIELDS, "route": _route(gateway)}
    if gateway.worked:
        named = f"{names.NAMESPACE}:name", f"{names.NAMESPACE}:{names.PART}"
        fields["backend"] = _either(*(("UPSTREAM_METADATA", each) for each in named))
        failed = {"and_filter": {"filters": [failed, cel(_NOT_A_WORKERS)]}}
    attempts = {**_logger(gateway, fields), "filter": failed}
    return [attempts, *(first_token_log(served_by(gateway)) if counted else ())]


def _route(gateway: Gateway) -> str:
    return f"{gateway.namespace}/{gateway.route}"
