"""Judging a measurement: success and failure need data, and enough of it."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moltbot_operator.api import Analysis, Rollout
from moltbot_operator.rollout import Measurement, Reading, Run
from moltbot_operator.rollout.analysis import Verdict, compared, judge, measurable, taken


def analysis(*conditions: tuple[str, str | None], source: str = "Gateway") -> Analysis:
    more = {"source": "Prometheus", "url": "http://p"} if source == "Prometheus" else {}
    metrics = [
        {"name": f"m{n}", "query": "SuccessRate", "successCondition": success, **more}
        | ({"failureCondition": failure} if failure else {})
        for n, (success, failure) in enumerate(conditions)
    ]
    return Analysis.model_validate({"metrics": metrics})


def verdict(
    success: str, value: float | None, active: float | None = None, failure: str | None = None
) -> str:
    found = Measurement({"m0": Reading(value, 50)})
    return judge(analysis((success, failure)), ["m0"], found, {"m0": active}).verdict


@pytest.mark.parametrize(
    ("condition", "value", "holds"),
    [
        (">= 0.99", 0.99, True),
        (">= 0.99", 0.98, False),
        ("> 1", 1, False),
        ("<1.5", 1, True),
        ("<= 2", 2, True),
        ("== 3", 3, True),
        ("!= 3", 3, False),
        ("< 5", math.inf, False),
    ],
)
def test_a_value_that_does_not_succeed_fails(condition: str, value: float, holds: bool) -> None:
    assert verdict(condition, value) == ("passed" if holds else "failed")


@pytest.mark.parametrize("condition", ["<= 1.2 * active", "<= 1.2*active"])
def test_a_value_is_compared_with_the_active_revisions(condition: str) -> None:
    assert verdict(condition, 0.23, active=0.2) == "passed"
    assert verdict(condition, 0.25, active=0.2) == "failed"
    assert verdict(condition, 0.25) == "inconclusive", "nothing to compare with"


def test_between_both_conditions_there_is_no_verdict() -> None:
    assert verdict(">= 0.99", 0.97, failure="< 0.95") == "inconclusive"
    assert verdict(">= 0.99", 0.9, failure="< 0.95") == "failed"
    assert verdict(">= 0.99", 0.99, failure="< 0.95") == "passed"
    assert verdict("<= 1.2 * active", 9, active=1, failure="> 2 * active") == "failed"


@pytest.mark.parametrize(
    "reading",
    [Reading(None, 50), Reading(math.nan, 50), Reading(1.0, 49), Reading(0.0, 49), Reading(None, None)],
)
def test_without_enough_data_it_is_neither_success_nor_failure(reading: Reading) -> None:
    for condition in (">= 0.99", "< 0.99"):
        found = judge(analysis((condition, None)), ["m0"], Measurement({"m0": reading}), {})
        assert found.verdict is Verdict.INCONCLUSIVE


def test_the_gravest_of_several_metrics_decides() -> None:
    spec = analysis((">= 1", None), (">= 1", None), (">= 1", None))
    good, bad, none, down = Reading(1, 50), Reading(0, 50), Reading(1, 1), Reading(error="down")

    def of(*readings: Reading) -> Verdict:
        found = Measurement({f"m{n}": reading for n, reading in enumerate(readings)})
        return judge(spec, ["m0", "m1", "m2"], found, {}).verdict

    assert of(good, good, good) is Verdict.PASSED
    assert of(good, none, good) is Verdict.INCONCLUSIVE
    assert of(good, none, down) is Verdict.ERROR
    assert of(down, none, bad) is Verdict.FAILED
    assert judge(spec, ["m0"], Measurement({"m0": good, "m1": bad}), {}).verdict is Verdict.PASSED


def test_a_run_counts_and_keeps_what_was_measured_of_the_active_revision() -> None:
    spec = analysis(("<= 1.2 * active", None))
    assert compared(spec) == ("m0",)
    run = Run()
    for reading, live in ((Reading(0.2, 50, 0.3, 60), True), (Reading(0.2, 50, 0.9, 3), True)):
        found = Measurement({"m0": reading})
        run = taken(run, judge(spec, ["m0"], found, {"m0": 0.3}), found, live=live, minimum=50)
    assert (run.measurements, run.failed, run.inconclusive, run.errors) == (2, 0, 0, 0)
    assert run.baseline("m0") == 0.3, "of too few requests nothing is kept"
    down = Measurement({"m0": Reading(error="down")})
    run = taken(run, judge(spec, ["m0"], down, {}), down, live=False, minimum=50)
    assert (run.measurements, run.errors, run.message, run.baseline("m0")) == (2, 1, "m0: down", 0.3)


def test_a_preview_without_test_requests_has_only_prometheus() -> None:
    spec = {
        "analysis": {
            "metrics": [
                {"name": "own", "query": "SuccessRate", "successCondition": "> 0"},
                {
                    "name": "slo",
                    "source": "Prometheus",
                    "url": "http://p",
                    "query": "q",
                    "successCondition": "> 0",
                },
            ]
        }
    }
    assert measurable(Rollout.model_validate(spec), preview=True) == ("slo",)
    assert measurable(Rollout.model_validate(spec), preview=False) == ("own", "slo")
    tested = spec | {"testing": {"requests": [{"path": "/"}]}}
    assert measurable(Rollout.model_validate(tested), preview=True) == ("own", "slo")
    assert measurable(Rollout(), preview=False) == ()


@given(
    st.from_regex(r"(<|<=|>|>=|==|!=) {0,3}[0-9]{1,5}(\.[0-9]{1,5})?( {0,3}\* {0,3}active)?", fullmatch=True),
    st.floats(allow_nan=True),
    st.floats(0, 1e9),
)
def test_every_condition_that_the_schema_takes_can_be_judged(
    condition: str, value: float, active: float
) -> None:
    expected = {"inconclusive"} if math.isnan(value) else {"passed", "failed"}
    assert verdict(condition, value, active) in expected
