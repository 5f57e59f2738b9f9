"""How Envoy counts what clients got, for the judgement on a revision.

Beside what :mod:`moltbot_agent.calls` counts under the conventions' names, the public listener counts each
answer by the backend that gave it and its status, and the time from a request's first byte to the first byte
of its answer's body, with all attempts and pauses in it: what failover costs is in it, and what a long answer
takes is not. The operator's own test requests have a listener of their own, which counts nothing.

:mod:`moltbot_agent.calls` puts :func:`answers` and :func:`answer_time` into its loggers and
:func:`histogram_settings` into the bootstrap; :func:`parse` reads the counts back.
"""

import re
from dataclasses import dataclass
from typing import Any, Final

from moltbot_agent.attempts import BUCKETS_MS, PREFIX, well_answered

__all__ = ["ClientCalls", "answer_time", "answers", "histogram_settings", "parse"]


def answers(backend: str) -> dict[str, Any]:
    """A counter of a stats logger: calls by backend and status (`0`: the client left before its answer).

    `backend` is the format of its name.
    """
    told = {"name": "backend", "value_format": backend}
    code = {"name": "code", "value_format": "%RESPONSE_CODE%"}
    return {"stat": {"name": "answers", "tags": [told, code]}, "value_fixed": 1}


def answer_time() -> dict[str, Any]:
    """A histogram of a stats logger: time to the first byte of a good answer's body.

    To be kept from answers without one, for which Envoy would log an error.
    """
    return {
        "stat": {"name": "answer_time"},
        "unit": "Milliseconds",
        "value_format": "%COMMON_DURATION(DS_RX_BEG:US_RX_BODY_BEG:ms)%",
    }


def histogram_settings() -> list[dict[str, Any]]:
    """Items of `stats_config.histogram_bucket_settings`."""
    return [{"match": {"prefix": f"{PREFIX}.answer_time"}, "buckets": [float(bound) for bound in BUCKETS_MS]}]


@dataclass(frozen=True)
class ClientCalls:
    """What clients got since Envoy's start."""

    ended: int = 0
    """Calls that a backend answered, or that failed here (5xx). Neither those that the gateway refused for
    the client's own fault (no key, no such rule), nor those whose client left."""
    well: int = 0
    """Of those, the ones that a backend answered well, see moltbot_agent.attempts.well_answered."""
    buckets: tuple[tuple[str, int], ...] = ()
    """Time to the first byte of good answers (200): upper bound in seconds (the last is `+Inf`), and calls
    up to it, ascending. Envoy tells of these some seconds later than of those that ended."""


_ANSWERS: Final = re.compile(rf"^envoy_{PREFIX}_answers\{{([^}}]*)\}} (\d+)$", re.MULTILINE)
_TIME: Final = re.compile(rf'^envoy_{PREFIX}_answer_time_bucket\{{le="([^"]*)"\}} (\S+)$', re.MULTILINE)
_LABEL: Final = re.compile(r'(\w+)="([^"]*)"')


def parse(text: str) -> ClientCalls:
    """Counts from `/stats?format=prometheus`."""
    ended = well = 0
    for written, value in _ANSWERS.findall(text):
        labels = dict(_LABEL.findall(written))
        code = labels.get("code", "0")
        asked = labels.get("backend", "-") not in {"", "-"}
        if code == "0" or not (asked or code.startswith("5")):
            continue
        ended += int(value)
        well += int(value) if asked and well_answered(code) else 0
    buckets = tuple(
        (bound if bound == "+Inf" else f"{float(bound) / 1000:g}", int(float(value)))
        for bound, value in _TIME.findall(text)
    )
    return ClientCalls(ended, well, buckets)
