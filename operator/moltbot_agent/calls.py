"""How Envoy counts calls of clients, under OpenTelemetry's names for generative AI.

The public listener writes to stats loggers once a call: its time by backend, operation and status, the
tokens where they are known, and the calls of each consumer; its router the time to the first token once an
attempt. All values of tags come from the configuration (backends, consumers) or are statuses, and operations
are a closed list told apart by the loggers' filters, so that series are bounded. (CEL could tell more of
them, and cost 3 to 5 µs each time.)

The compiler puts :func:`call_log` into the listener's access log, :func:`first_token_log` into its router's
upstream log and :func:`histogram_settings` into the bootstrap; :func:`families` reads the counts back.

Source: https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-metrics/,
envoy/extensions/access_loggers/stats/v3/stats.proto.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from moltbot_agent import clients
from moltbot_agent.attempts import PREFIX
from moltbot_agent.config import Served

if TYPE_CHECKING:
    from prometheus_client.core import Metric

__all__ = ["OPERATIONS", "call_log", "families", "first_token_log", "histogram_settings"]

OPERATIONS: Final = ("chat", "embeddings", "other")
"""`gen_ai.operation.name`: by the path, see :func:`_of`."""

_SECONDS: Final = (10, 20, 40, 80, 160, 320, 640, 1280, 2560, 5120, 10_240, 20_480, 40_960, 81_920, 300_000)
_FIRST: Final = (1, 5, 10, 20, 40, 60, 80, 100, 250, 500, 750, 1000, 2500, 5000, 7500, 10_000)
_TOKENS: Final = tuple(4**power for power in range(11))
_BUCKETS: Final = {
    "call_time": _SECONDS,
    "first_token": _FIRST,
    "input_tokens": _TOKENS,
    "output_tokens": _TOKENS,
}
"""Upper bounds, as the conventions advise: milliseconds, or tokens."""

_USAGE: Final = {"input_tokens": "prompt_tokens", "output_tokens": "completion_tokens"}


_CODE: Final = {"name": "code", "value_format": "%RESPONSE_CODE%"}

Logger = dict[str, Any]
"""Item of an access log."""


def call_log(consumer: str, backend: str, *, tokens: bool) -> list[Logger]:
    """Loggers of the public listener.

    `consumer` and `backend` are formats of their names, `tokens` says whether any are read.
    """
    calls = {
        "stat": {"name": "calls", "tags": [{"name": "consumer", "value_format": consumer}, _CODE]},
        "value_fixed": 1,
    }
    # lists of models are our own, and have no time of a backend's
    good = _all(_status("EQ", 200), _path("/models", absent=True))
    answered = {**_logger(histograms=[clients.answer_time()]), "filter": good}
    loggers = [_logger(counters=[calls, clients.answers(backend)]), answered]
    for operation in OPERATIONS:
        time = _histogram("call_time", operation, "%DURATION%", backend, _CODE, unit="Milliseconds")
        loggers.append({**_logger(histograms=[time]), "filter": _all(*_of(operation))})
        for name, key in _USAGE.items() if tokens else ():
            counted = _histogram(name, operation, f"%DYNAMIC_METADATA({PREFIX}:{key})%", backend)
            loggers.append({**_logger(histograms=[counted]), "filter": _all(*_of(operation), _known(key))})
    return loggers


def first_token_log(backend: str) -> list[Logger]:
    """Loggers of the public router: from an attempt's request sent to a good answer's first byte of body.

    `backend` is the format of its name.
    """
    ok = [_status("GE", 200), _status("LE", 299)]
    time = "%COMMON_DURATION(US_TX_BEG:US_RX_BODY_BEG:ms)%"
    return [
        {
            **_logger(histograms=[_histogram("first_token", operation, time, backend, unit="Milliseconds")]),
            "filter": _all(*_of(operation), *ok),
        }
        for operation in OPERATIONS
    ]


def _histogram(
    name: str, operation: str, value: str, backend: str, *tags: dict[str, str], unit: str = "Unspecified"
) -> dict[str, Any]:
    told = {"name": "backend", "value_format": backend}
    stat = {"name": f"{name}_{operation}", "tags": [told, *tags]}
    return {"stat": stat, "unit": unit, "value_format": value}


def _logger(**stats: Any) -> Logger:
    kind = "type.googleapis.com/envoy.extensions.access_loggers.stats.v3.Config"
    config = {"@type": kind, "stats_scope": {"prefix": PREFIX}, **stats}
    return {"name": "envoy.access_loggers.stats", "typed_config": config}


Filter = dict[str, Any]
"""An access log's filter."""


def _all(*filters: Filter) -> Filter:
    return filters[0] if len(filters) == 1 else {"and_filter": {"filters": list(filters)}}


def _status(comparison: str, number: int) -> Filter:
    value = {"default_value": number, "runtime_key": f"{PREFIX}.unused"}
    return {"status_code_filter": {"comparison": {"op": comparison, "value": value}}}


def _path(text: str, *, absent: bool = False) -> Filter:
    header = {"name": ":path", "string_match": {"contains": text}}
    return {"header_filter": {"header": {**header, "invert_match": True} if absent else header}}


def _of(operation: str) -> list[Filter]:
    """Exactly one operation's filters hold for any path; those of the others fail soon for chat, the most."""
    chat, messages, embeddings = "/chat/completions", "/messages", "/embeddings"
    no_chat = [_path(chat, absent=True), _path(messages, absent=True)]
    match operation:
        case "chat":
            return [{"or_filter": {"filters": [_path(chat), _path(messages)]}}]
        case "embeddings":
            return [_path(embeddings), *no_chat]
    return [*no_chat, _path(embeddings, absent=True)]


def _known(key: str) -> Filter:
    matcher = {"filter": PREFIX, "path": [{"key": key}], "value": {"present_match": True}}
    return {"metadata_filter": {"matcher": matcher, "match_if_key_not_found": False}}


def histogram_settings() -> list[dict[str, Any]]:
    """Items of `stats_config.histogram_bucket_settings`."""
    return [
        {"match": {"prefix": f"{PREFIX}.{name}_"}, "buckets": [float(bound) for bound in bounds]}
        for name, bounds in _BUCKETS.items()
    ] + clients.histogram_settings()


_LINE: Final = re.compile(
    rf"^envoy_{PREFIX}_(?:(calls)|({'|'.join(_BUCKETS)})_({'|'.join(OPERATIONS)})_(bucket|sum))"
    r"\{([^}]*)\} (\S+)$",
    re.MULTILINE,
)
_LABEL: Final = re.compile(r'(\w+)="([^"]*)"')


@dataclass
class _Series:
    buckets: dict[str, float] = field(default_factory=dict)
    total: float = 0.0


_LABELS: Final = ("route", "backend", "gen_ai_operation_name", "gen_ai_provider_name", "gen_ai_request_model")


def families(
    text: str, route: str, namespace: str, served: Mapping[str, Served], consumers: Iterable[str]
) -> "Iterable[Metric]":
    """Families of `/metrics` from `/stats?format=prometheus`.

    A backend or consumer that is not of the configuration counts under the empty name.
    """
    known = set(consumers)
    counted: dict[tuple[str, str], float] = {}
    series: dict[tuple[str, tuple[str, ...]], _Series] = {}
    for call, name, operation, kind, written, value in _LINE.findall(text):
        labels = dict(_LABEL.findall(written))
        if call:
            consumer = labels.get("consumer", "")
            key = (consumer if consumer in known else "", _class(labels["code"]))
            counted[key] = counted.get(key, 0) + float(value)
            continue
        backend = labels.get("backend", "")
        full = backend if "/" in backend else f"{namespace}/{backend}"
        if full not in served:  # no backend was asked
            full = ""
        facts = served.get(full, Served())
        last = _error(labels["code"]) if name == "call_time" else name.removesuffix("_tokens")
        found = series.setdefault(
            (name, (route, full, operation, facts.provider, facts.model, last)), _Series()
        )
        scale = 1 if name in _USAGE else 1000
        if kind == "sum":
            found.total += float(value) / scale
        else:
            bound = labels["le"] if labels["le"] == "+Inf" else f"{float(labels['le']) / scale:g}"
            found.buckets[bound] = found.buckets.get(bound, 0) + float(value)
    yield from _written(route, counted, series)


def _written(
    route: str,
    counted: Mapping[tuple[str, str], float],
    series: Mapping[tuple[str, tuple[str, ...]], _Series],
) -> "Iterable[Metric]":
    from prometheus_client.core import (  # noqa: PLC0415 - the compiler needs this module without it
        CounterMetricFamily,
        HistogramMetricFamily,
    )

    calls = CounterMetricFamily(
        "moltbot_consumer_requests", "Answers to each consumer", labels=["route", "consumer", "code"]
    )
    for (consumer, code), number in counted.items():
        calls.add_metric([route, consumer, code], number)
    duration = HistogramMetricFamily(
        "gen_ai_server_request_duration_seconds", "Time of a call", labels=[*_LABELS, "error_type"]
    )
    first = HistogramMetricFamily(
        "gen_ai_server_time_to_first_token_seconds", "Time to the first byte of the body", labels=_LABELS
    )
    tokens = HistogramMetricFamily(
        "gen_ai_client_token_usage", "Tokens of a call", labels=[*_LABELS, "gen_ai_token_type"]
    )
    for (name, labels), found in series.items():
        buckets = list(found.buckets.items())
        if not buckets:
            continue
        if name == "first_token":
            first.add_metric(labels[:-1], buckets, found.total)
        else:
            (duration if name == "call_time" else tokens).add_metric(labels, buckets, found.total)
    yield from (calls, duration, first, tokens)


def _class(code: str) -> str:
    return f"{code[0]}xx" if code[:1] in {"1", "2", "3", "4", "5"} else "none"


def _error(code: str) -> str:
    """`error.type`: empty where all went well; a client that left saw no status."""
    if code == "0":
        return "client_disconnected"
    return code if code >= "400" else ""
