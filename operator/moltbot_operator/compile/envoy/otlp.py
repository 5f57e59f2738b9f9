"""Audit records to a collector of OpenTelemetry logs (OTLP over HTTP).

Each worker of Envoy gathers records and sends them in the background; a call is over before its record is
made, so it never waits. What a collector does not take is dropped at once and not sent again, so a dead one
costs a bounded amount of memory: `_BATCH` for each of `_AT_ONCE` exports under way and as many that wait.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Final

from moltbot_operator.api import AuditField
from moltbot_operator.api.endpoint import resolve_url
from moltbot_operator.compile.envoy.proto import Json, extension, seconds
from moltbot_operator.compile.envoy.servers import server_cluster
from moltbot_operator.compile.ir import Gateway

__all__ = ["collector_clusters", "collector_logger", "collector_stats"]

_CLUSTER: Final = "otlp"
_SERVICE: Final = "moltbot-gateway"

_TIMEOUT: Final = timedelta(seconds=5)
"""How long the collector may take to connect, and to answer."""

_EVERY: Final = timedelta(seconds=1)
"""How old a record gets before it is sent."""

_BATCH: Final = 64 * 1024
"""Bytes of records that are sent before that."""

_AT_ONCE: Final = 8
"""Exports under way at once, and as many that wait for a connection."""

_STATS: Final = "access_logs.open_telemetry_access_log."


def collector_logger(gateway: Gateway, url: str, fields: Mapping[str, str | None]) -> Json:
    """The access logger with these fields as attributes: texts all, and `-` where there is no value."""
    resource = {"service.name": _SERVICE}
    if AuditField.ROUTE not in gateway.audit.redact:
        resource["moltbot.route"] = f"{gateway.namespace}/{gateway.route}"
    return extension(
        "envoy.access_loggers.open_telemetry",
        "extensions.access_loggers.open_telemetry.v3.OpenTelemetryAccessLogConfig",
        http_service={"http_uri": {"uri": url, "cluster": _CLUSTER, "timeout": seconds(_TIMEOUT)}},
        disable_builtin_labels=True,
        resource_attributes=_texts(resource),
        attributes=_texts(fields),
        buffer_flush_interval=seconds(_EVERY),
        buffer_size_bytes=_BATCH,
    )


def _texts(values: Mapping[str, str | None]) -> Json:
    """A `KeyValueList` (opentelemetry/proto/common/v1/common.proto)."""
    return {
        "values": [
            {"key": name, "value": {"string_value": "-" if value is None else value}}
            for name, value in values.items()
        ]
    }


def collector_clusters(gateway: Gateway) -> list[Json]:
    """The collector's cluster, where there is one."""
    if gateway.collector is None:
        return []
    endpoint = resolve_url(gateway.collector)
    return [server_cluster(_CLUSTER, endpoint, gateway.files.system_ca, connect=_TIMEOUT, at_once=_AT_ONCE)]


def collector_stats(gateway: Gateway) -> tuple[str, ...]:
    """Prefixes of statistics on what was sent and dropped."""
    return () if gateway.collector is None else (_STATS,)
