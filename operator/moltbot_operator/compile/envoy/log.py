"""The access log: one JSON object a request, from a list of allowed fields.

Never a credential and never content: queries and headers may hold keys and are not written.
"""

from typing import Final

from moltbot_operator.compile.envoy import names
from moltbot_operator.compile.envoy.proto import Json, extension
from moltbot_operator.compile.ir import Gateway

__all__ = ["FIELDS", "access_log"]

FIELDS: Final = {
    "time": "%START_TIME%",
    "request_id": "%REQ(X-REQUEST-ID)%",
    "method": "%REQ(:METHOD)%",
    "path": f"%FILTER_STATE({names.STATE_PATH}:PLAIN)%",
    "rule": "%ROUTE_NAME%",
    "model": f"%DYNAMIC_METADATA({names.NAMESPACE}:model)%",
    "backend": f"%UPSTREAM_METADATA({names.NAMESPACE}:name)%",
    "attempts": "%UPSTREAM_REQUEST_ATTEMPT_COUNT%",
    "status": "%RESPONSE_CODE%",
    "flags": "%RESPONSE_FLAGS%",
    "details": "%RESPONSE_CODE_DETAILS%",
    "duration_ms": "%DURATION%",
    "first_byte_ms": "%RESPONSE_DURATION%",
    "bytes_received": "%BYTES_RECEIVED%",
    "bytes_sent": "%BYTES_SENT%",
}
"""Fields whose value is Envoy's (https://www.envoyproxy.io/docs/envoy/v1.40.0/configuration/observability/access_log/usage)."""

_STDOUT: Final = "/dev/stdout"


def access_log(gateway: Gateway) -> list[Json]:
    """`access_log` of the public listener."""
    consumer = gateway.anonymous or f"%FILTER_STATE({names.STATE_CONSUMER}:PLAIN)%"
    fields = {**FIELDS, "route": f"{gateway.namespace}/{gateway.route}", "consumer": consumer}
    form = {"json_format": fields}
    if gateway.files.access_log == _STDOUT:
        return [
            extension(
                "envoy.access_loggers.stdout",
                "extensions.access_loggers.stream.v3.StdoutAccessLog",
                log_format=form,
            )
        ]
    return [
        extension(
            "envoy.access_loggers.file",
            "extensions.access_loggers.file.v3.FileAccessLog",
            path=gateway.files.access_log,
            log_format=form,
        )
    ]
