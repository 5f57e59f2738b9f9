from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from moltbot_operator.compile.result import RuleReport
from moltbot_operator.compile.sources import Problem
from moltbot_operator.conditions import Reason, RouteFacts, Statement, merge, route_conditions
from moltbot_operator.conditions.route import joined
from moltbot_operator.rollout import Failure, Observed, Phase, Plan, Stage, State

STABLE = Plan(Phase.STABLE, "abc", None, (), {"abc": 2})
GOOD = Observed(2, 2, 2)
MISSING = Problem("BackendNotFound", "ModelBackend a/b does not exist: create it.")
SOUND = RouteFacts(
    refused=None,
    unresolved=(),
    rules=(RuleReport("r", serving=True),),
    warnings=(),
    plan=STABLE,
    active=GOOD,
    wanted=2,
)


def by_type(facts: RouteFacts) -> dict[str, Statement]:
    return {str(statement.type): statement for statement in route_conditions(facts)}


def kstatus(conditions: list[dict[str, Any]]) -> str:
    """What sigs.k8s.io/cli-utils' kstatus computes of a resource whose generation is observed."""
    found = {condition["type"]: condition["status"] for condition in conditions}
    if found.get("Reconciling") == "True":
        return "InProgress"
    if found.get("Stalled") == "True":
        return "Failed"
    if "Ready" in found:
        return "Current" if found["Ready"] == "True" else "InProgress"
    return "Current"


def status_of(facts: RouteFacts) -> str:
    return kstatus(merge([], route_conditions(facts), 1, datetime(2026, 1, 1, tzinfo=UTC)))


def test_a_sound_route_has_four_conditions_and_is_current() -> None:
    assert {kind: s.status for kind, s in by_type(SOUND).items()} == dict.fromkeys(
        ("Accepted", "ResolvedRefs", "Programmed", "Ready"), "True"
    )
    assert status_of(SOUND) == "Current"


def test_a_refused_spec_says_what_goes_on_serving() -> None:
    facts = replace(SOUND, refused=Problem("CompileFailed", "too many"), rules=())
    found = by_type(facts)
    assert found["Accepted"].reason is Reason.COMPILE_FAILED
    assert found["Ready"].message == "too many. Revision abc goes on serving the last accepted spec."
    assert found["Programmed"].status == "True"
    assert found["ResolvedRefs"].status == "Unknown"
    assert found["Stalled"].reason is Reason.COMPILE_FAILED
    assert status_of(facts) == "Failed"
    nothing = replace(facts, plan=Plan(Phase.FAILED, None, None), active=None)
    assert by_type(nothing)["Ready"].message == "too many. Nothing serves."
    assert "see Accepted" in by_type(nothing)["Programmed"].message


def test_a_first_rollout_is_in_progress() -> None:
    plan = Plan(Phase.PREPARING, None, "abc", (), {}, "revision abc: 0 of 2 pods are ready")
    facts = replace(SOUND, plan=plan, active=None)
    found = by_type(facts)
    assert found["Reconciling"].message == "Waiting: revision abc: 0 of 2 pods are ready."
    assert found["Programmed"].reason is Reason.NO_ACTIVE_REVISION
    assert found["Ready"].reason is Reason.NOT_PROGRAMMED
    assert status_of(facts) == "InProgress"


def test_a_later_rollout_leaves_the_route_ready() -> None:
    plan = Plan(Phase.PREPARING, "abc", "def", (), {}, "revision def: 0 of 2 pods are ready")
    found = by_type(replace(SOUND, plan=plan))
    assert found["Ready"].status == found["Reconciling"].status == "True"


def test_a_stuck_rollout_stalls() -> None:
    plan = Plan(Phase.PREPARING, "abc", "def", (), {}, "revision def: 0 of 2 pods are ready")
    facts = replace(SOUND, plan=replace(plan, stalled="Not ready within the progress deadline."))
    found = by_type(facts)
    assert found["Stalled"].reason is Reason.ROLLOUT_STUCK
    assert "Reconciling" not in found
    assert status_of(facts) == "Failed"


def test_a_revision_that_was_given_up_degrades_what_serves_and_stalls() -> None:
    plan = Plan(Phase.FAILED, "abc", None, state=State(Phase.FAILED, failed=FAILURE), stalled=FAILURE.message)
    facts = replace(SOUND, plan=plan)
    found = by_type(facts)
    assert found["Degraded"].reason is found["Stalled"].reason is Reason.ANALYSIS_FAILED
    assert found["Degraded"].message == FAILURE.message
    assert found["Ready"].status == "True", "what served before goes on"
    assert status_of(facts) == "Failed"


@pytest.mark.parametrize(
    ("stage", "reason"),
    [
        (Stage.HELD, Reason.HELD),
        (Stage.PROMOTION, Reason.AWAITING_PROMOTION),
        (Stage.INCONCLUSIVE, Reason.INCONCLUSIVE),
    ],
)
def test_a_paused_rollout_says_what_it_waits_for_and_is_not_current(stage: Stage, reason: Reason) -> None:
    plan = Plan(Phase.PAUSED, "abc", "def", waiting="set promote", state=State(Phase.PAUSED, stage=stage))
    facts = replace(SOUND, plan=plan)
    found = by_type(facts)
    assert found["RolloutPaused"].reason is found["Reconciling"].reason is reason
    assert found["RolloutPaused"].message == "Paused: set promote."
    assert status_of(facts) == "InProgress"


def test_objects_that_cannot_be_written_stall() -> None:
    facts = replace(SOUND, blocked=Problem("ApplyRejected", "quota"))
    assert by_type(facts)["Stalled"].reason is Reason.APPLY_REJECTED
    assert status_of(facts) == "Failed"


def test_pods_that_do_not_prove_it_are_not_programmed() -> None:
    silent = by_type(replace(SOUND, active=Observed(2, 2, 1, "pod x: its Envoy is not live")))
    assert silent["Programmed"].reason is Reason.REVISION_NOT_REPORTED
    assert "1 of 2 ready pods" in silent["Programmed"].message
    assert "its Envoy is not live" in silent["Programmed"].message
    for gone in (None, Observed(2, 0, 0), Observed(2, 0, 0, "pod x: CrashLoopBackOff")):
        found = by_type(replace(SOUND, active=gone))
        assert found["Programmed"].reason is Reason.NO_READY_PODS
        assert found["Ready"].reason is Reason.NOT_PROGRAMMED
        assert "Degraded" not in found
    assert "CrashLoopBackOff" in found["Programmed"].message


def test_a_rule_that_answers_503_makes_it_not_ready_but_may_heal() -> None:
    rules = (RuleReport("good", serving=True), RuleReport("bad", serving=False, problem=MISSING))
    facts = replace(SOUND, rules=rules, unresolved=(MISSING,))
    found = by_type(facts)
    assert found["Ready"].reason is Reason.RULES_NOT_SERVED
    assert found["Ready"].message.startswith("1 of 2 rules answer 503 (bad): ModelBackend a/b")
    assert found["ResolvedRefs"].reason is Reason.BACKEND_NOT_FOUND
    assert found["Degraded"].reason is Reason.PARTLY_SERVED
    assert status_of(facts) == "InProgress"


def test_a_rule_served_by_what_is_left_is_degraded_and_ready() -> None:
    rules = (RuleReport("r", serving=True, problem=Problem("InvalidRegex", "matches[1]: no")),)
    found = by_type(replace(SOUND, rules=rules))
    assert found["Ready"].status == "True"
    assert found["Degraded"].message == "matches[1]: no."


def test_fewer_pods_than_asked_for_is_degraded() -> None:
    found = by_type(replace(SOUND, active=Observed(2, 1, 1, "pod x is not scheduled: no room")))
    assert found["Ready"].status == "True"
    assert found["Degraded"].reason is Reason.PODS_UNAVAILABLE
    assert "no room" in found["Degraded"].message
    assert by_type(replace(SOUND, active=Observed(2, 1, 1)))["Degraded"].message == "1 of 2 pods are ready."


def test_warnings_are_told_where_people_look() -> None:
    found = by_type(replace(SOUND, warnings=(Problem("NoConsumers", "every request gets 401"),)))
    assert found["Accepted"].message == "The spec is valid. Mind: every request gets 401."


def test_many_problems_are_counted_not_listed() -> None:
    problems = [Problem("BackendNotFound", f"b{n}") for n in range(8)]
    assert joined([*problems, problems[0]]) == "b0. b1. b2. b3. b4. And 3 more."


PROBLEM = st.builds(Problem, st.sampled_from([*map(str, Reason), "Other"]), st.text(min_size=1, max_size=20))
OBSERVED = st.builds(
    lambda replicas, ready, lost, trouble: Observed(replicas, ready, max(0, ready - lost), trouble),
    st.integers(0, 3),
    st.integers(0, 3),
    st.integers(0, 3),
    st.sampled_from(["", "pod x"]),
)
NAME = st.one_of(st.none(), st.just("abc"))
FAILURE = Failure(
    "def", "AnalysisFailed", "Revision def: p95 was too high.", datetime(2026, 1, 1, tzinfo=UTC), 3
)
STATES = st.builds(
    State,
    stage=st.sampled_from([None, Stage.HELD, Stage.PROMOTION, Stage.INCONCLUSIVE]),
    failed=st.sampled_from([None, FAILURE]),
)
PLANS = st.builds(
    Plan,
    st.sampled_from(Phase),
    NAME,
    NAME,
    waiting=st.just("something"),
    state=STATES,
    stalled=st.sampled_from(["", "Revision def: p95 was too high."]),
)
FACTS = st.builds(
    RouteFacts,
    refused=st.one_of(st.none(), PROBLEM),
    unresolved=st.lists(PROBLEM, max_size=3),
    rules=st.lists(
        st.builds(RuleReport, st.just("r"), st.booleans(), st.one_of(st.none(), PROBLEM)), max_size=3
    ),
    warnings=st.lists(PROBLEM, max_size=2),
    plan=PLANS,
    active=st.one_of(st.none(), OBSERVED),
    wanted=st.integers(0, 3),
    blocked=st.one_of(st.none(), PROBLEM),
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(FACTS)
def test_conditions_never_contradict_each_other(facts: RouteFacts) -> None:
    statements = route_conditions(facts)
    found = {str(statement.type): statement for statement in statements}
    assert len(found) == len(statements), "each type once"
    assert list(found)[:4] == ["Accepted", "ResolvedRefs", "Programmed", "Ready"]
    for kind in ("Reconciling", "RolloutPaused", "Stalled", "Degraded"):
        assert kind not in found or found[kind].status == "True"
    if found["Ready"].status == "True":
        assert found["Accepted"].status == found["Programmed"].status == "True"
    if "Stalled" in found:
        assert "Reconciling" not in found
    assert all(statement.message for statement in statements)
    assert all(statement.reason in Reason for statement in statements)
