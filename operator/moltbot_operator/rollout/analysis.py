"""Judging one measurement of an analysis, and what it means for the whole run.

A metric without data, with too few requests, or with neither of its conditions met has no verdict: it is
inconclusive, never a success and never a failure. A source that can't be asked is an error, which is none of
the three.
"""

import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from moltbot_operator.api import Analysis, AnalysisMetric, MetricSource, Rollout
from moltbot_operator.rollout.state import Run, Shown
from moltbot_operator.rollout.view import Measurement, Reading

__all__ = ["ERRORS", "Judged", "Verdict", "compared", "judge", "measurable", "taken"]

ERRORS: Final = 4
"""Errors of a source in a row that are borne with; one more ends the rollout."""

_CONDITION = re.compile(
    r"(?P<operator><=|>=|==|!=|<|>) *(?P<number>[0-9]+(?:\.[0-9]+)?)(?P<relative> *\* *active)?"
)

_OPERATORS: Mapping[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}


class Verdict(StrEnum):
    """What a measurement says; of several metrics the first of these that any of them has."""

    FAILED = "failed"
    ERROR = "error"
    INCONCLUSIVE = "inconclusive"
    PASSED = "passed"


@dataclass(frozen=True)
class Judged:
    """A verdict and the figures that led to it."""

    verdict: Verdict
    message: str


def compared(analysis: Analysis) -> tuple[str, ...]:
    """Names of metrics with a condition that speaks of the active revision."""
    return tuple(metric.name for metric in analysis.metrics if _relative(metric))


def measurable(settings: Rollout, *, preview: bool) -> tuple[str, ...]:
    """Names of metrics that can be judged: the gateway's own of a preview only by test requests."""
    if settings.analysis is None:
        return ()
    return tuple(
        metric.name
        for metric in settings.analysis.metrics
        if not preview or metric.source is MetricSource.PROMETHEUS or settings.testing.requests
    )


def judge(
    analysis: Analysis, names: Sequence[str], measurement: Measurement, baseline: Mapping[str, float | None]
) -> Judged:
    """One measurement of the metrics `names`; `baseline`: what each was of the active revision."""
    judged = [
        _judge(metric, measurement.readings.get(metric.name, Reading()), baseline.get(metric.name), analysis)
        for metric in analysis.metrics
        if metric.name in names
    ]
    verdicts = {each.verdict for each in judged}
    verdict = next((each for each in Verdict if each in verdicts), Verdict.PASSED)
    return Judged(verdict, "; ".join(each.message for each in judged))


def taken(run: Run, judged: Judged, measurement: Measurement, *, live: bool, minimum: int) -> Run:
    """The run with one more measurement; `live`: readings of the active revision are of the present."""
    counted = judged.verdict is not Verdict.ERROR
    known = {shown.name: shown for shown in run.metrics}
    for name, reading in measurement.readings.items():
        before = known.get(name, Shown(name)).active
        now = _sound(reading.active, reading.active_samples, minimum) if live else None
        known[name] = Shown(name, _number(reading.value), before if now is None else now)
    return replace(
        run,
        measurements=run.measurements + counted,
        failed=run.failed + (judged.verdict is Verdict.FAILED),
        inconclusive=run.inconclusive + (judged.verdict is Verdict.INCONCLUSIVE),
        errors=0 if counted else run.errors + 1,
        message=judged.message,
        doubt=judged.message if judged.verdict is Verdict.INCONCLUSIVE else run.doubt,
        metrics=tuple(known.values()),
    )


def _judge(metric: AnalysisMetric, reading: Reading, active: float | None, analysis: Analysis) -> Judged:
    name = metric.name
    if reading.error:
        return Judged(Verdict.ERROR, f"{name}: {reading.error}")
    value = _number(reading.value)
    if reading.samples is not None and reading.samples < analysis.minimum_sample_size:
        least = analysis.minimum_sample_size
        return Judged(Verdict.INCONCLUSIVE, f"{name}: {reading.samples} requests, fewer than {least}")
    if value is None:
        return Judged(Verdict.INCONCLUSIVE, f"{name}: no data")
    success = _holds(metric.success_condition, value, active)
    if success is None:
        text = f"{name} {value:.4g}: nothing of the active revision to compare with"
        return Judged(Verdict.INCONCLUSIVE, text)
    if success:
        return Judged(Verdict.PASSED, f"{name} {_compared(metric.success_condition, value, active)}")
    failure = True
    if metric.failure_condition is not None:
        found = _holds(metric.failure_condition, value, active)
        failure = bool(found)
    text = f"{name} {value:.4g}, not {_wanted(metric.success_condition, active)}"
    return Judged(Verdict.FAILED if failure else Verdict.INCONCLUSIVE, text)


def _relative(metric: AnalysisMetric) -> bool:
    return any("active" in (text or "") for text in (metric.success_condition, metric.failure_condition))


def _holds(condition: str, value: float, active: float | None) -> bool | None:
    """None if the condition needs the active revision's value and there is none."""
    found = _CONDITION.fullmatch(condition)
    assert found is not None, condition  # noqa: S101 — the schema's pattern says so
    bound = float(found["number"])
    if found["relative"]:
        if active is None:
            return None
        bound *= active
    return _OPERATORS[found["operator"]](value, bound)


def _wanted(condition: str, active: float | None) -> str:
    return (
        f"{condition} (active: {active:.4g})" if "active" in condition and active is not None else condition
    )


def _compared(condition: str, value: float, active: float | None) -> str:
    return f"{value:.4g} is {_wanted(condition, active)}"


def _number(value: float | None) -> float | None:
    """Infinity is a value (slower than any bound), NaN is none."""
    return None if value is None or math.isnan(value) else value


def _sound(value: float | None, samples: int | None, minimum: int) -> float | None:
    if samples is not None and samples < minimum:
        return None
    found = _number(value)
    return None if found is None or math.isinf(found) else found
