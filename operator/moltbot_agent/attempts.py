"""How Envoy counts attempts, so that each backend's figures are exact however it was reached.

Below a composite cluster Envoy 1.40 counts response codes and times under the composite's name, not the
backend's. Hence every router (public and inner) writes to a stats logger as `upstream_log`, which is called
once an attempt: its tag is the name of the endpoint that was really asked. A way to a backend by the inner
listener has another name (:func:`by_inner`), which no backend has, and is left out: the inner router counts
what comes of it. Names and not metadata, since each look into metadata costs some 4,000 instructions.

The compiler puts :func:`upstream_log` into each router filter, these names on endpoints
and :func:`histogram_settings` into the bootstrap's `stats_config`.

:func:`parse` reads the counts back from Envoy's Prometheus text.

Source: envoy/extensions/access_loggers/stats/v3/stats.proto, config/metrics/v3/stats.proto.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any, Final

__all__ = [
    "BUCKETS_MS",
    "NAMED",
    "PREFIX",
    "BackendAttempts",
    "by_inner",
    "histogram_settings",
    "parse",
    "upstream_log",
    "well_answered",
]

PREFIX: Final = "moltbot"
"""First part of the statistics' names, and namespace of the endpoints' metadata."""

BUCKETS_MS: Final = (
    5,
    10,
    25,
    50,
    100,
    200,
    300,
    500,
    750,
    1_000,
    2_500,
    5_000,
    10_000,
    30_000,
    60_000,
    300_000,
)
"""Upper bounds in milliseconds; 300 is the mission's threshold."""

NAMED: Final = "%UPSTREAM_HOST_NAME_WITHOUT_PORT%"
"""Format of the backend's label, however it was reached."""

_BACKEND: Final = {"name": "backend", "value_format": "%UPSTREAM_HOST_NAME%"}


def by_inner(label: str) -> str:
    """`hostname` of an endpoint that leads to this backend by the inner listener."""
    return f"{label}:1"


def upstream_log() -> list[dict[str, Any]]:
    """`upstream_log` of a router filter: one count an attempt, and the time from request sent to first byte.

    The second logger leaves attempts without an answer out: they have no such time, and Envoy would log an
    error.
    """
    code = {"name": "code", "value_format": "%RESPONSE_CODE%"}
    count = {"stat": {"name": "attempts", "tags": [_BACKEND, code]}, "value_fixed": 1}
    first_byte = {
        "stat": {"name": "first_byte", "tags": [_BACKEND]},
        "unit": "Milliseconds",
        "value_format": "%COMMON_DURATION(US_TX_BEG:US_RX_BEG:ms)%",
    }
    threshold = {"default_value": 100, "runtime_key": f"{PREFIX}.answered"}
    answered = {"status_code_filter": {"comparison": {"op": "GE", "value": threshold}}}
    return [_logger({"counters": [count]}), {**_logger({"histograms": [first_byte]}), "filter": answered}]


def _logger(stats: dict[str, Any]) -> dict[str, Any]:
    kind = "type.googleapis.com/envoy.extensions.access_loggers.stats.v3.Config"
    config = {"@type": kind, "stats_scope": {"prefix": PREFIX}, **stats}
    return {"name": "envoy.access_loggers.stats", "typed_config": config}


def histogram_settings() -> list[dict[str, Any]]:
    """`stats_config.histogram_bucket_settings` for the histogram above."""
    return [{"match": {"prefix": f"{PREFIX}.first_byte"}, "buckets": [float(bound) for bound in BUCKETS_MS]}]


@dataclass
class BackendAttempts:
    """What Envoy counted of one backend since its start."""

    codes: dict[str, int] = field(default_factory=dict)
    """Attempts that ended, by class of status: `1xx` … `5xx`, `none` without an answer."""
    well: int = 0
    """Attempts that speak for the backend, see :func:`well_answered`."""
    buckets: list[tuple[str, float]] = field(default_factory=list)
    """Latency: upper bound in seconds (the last is `+Inf`) and attempts up to it, ascending."""
    seconds: float = 0.0
    """Sum of the latencies."""

    @property
    def ended(self) -> int:
        """All attempts that ended."""
        return sum(self.codes.values())


_LINE: Final = re.compile(
    rf'^envoy_{PREFIX}_(attempts|first_byte_bucket|first_byte_sum)\{{backend="([^"]*)"'
    r'(?:,(?:code|le)="([^"]*)")?\} (\S+)$',
    re.MULTILINE,
)


def well_answered(code: str) -> bool:
    """Whether an attempt with this status (`0` = no answer) speaks for the backend.

    A client's own fault (400, 404, …) does; a refused credential, a limit or a timeout does not.
    """
    return code[:1] in {"1", "2", "3", "4"} and code not in {"401", "403", "408", "429"}


def parse(text: str, backends: Collection[str], namespace: str) -> dict[str, BackendAttempts]:
    """Counts by backend (`namespace/name`) from `/stats?format=prometheus`.

    What is not of `backends` is left out; one without a namespace is of `namespace`.
    """
    found = {backend: BackendAttempts() for backend in backends}
    for kind, backend, label, value in _LINE.findall(text):
        counted = found.get(backend if "/" in backend else f"{namespace}/{backend}")
        if counted is None:
            continue
        if kind == "attempts":
            of_class = f"{label[0]}xx" if label[:1] in {"1", "2", "3", "4", "5"} else "none"
            counted.codes[of_class] = counted.codes.get(of_class, 0) + int(value)
            counted.well += int(value) if well_answered(label) else 0
        elif kind == "first_byte_bucket":
            bound = label if label == "+Inf" else f"{float(label) / 1000:g}"
            counted.buckets.append((bound, float(value)))
        else:
            counted.seconds = float(value) / 1000
    return found
