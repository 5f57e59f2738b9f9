from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moltbot_operator.api import Gateway, GatewayService, GatewayTLS, SecretRef
from moltbot_operator.compile.result import BackendReport, RuleReport
from moltbot_operator.compile.sources import BackendRef, Problem
from moltbot_operator.reconcile.status import (
    MAX_REASON,
    address,
    backend_items,
    patch,
    revision_status,
    rollout_status,
    rule_items,
)
from moltbot_operator.rollout import Phase, Plan, State

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def apply_merge_patch(target: Any, change: Any) -> Any:
    """RFC 7386, section 2."""
    if not isinstance(change, dict):
        return change
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in change.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = apply_merge_patch(result.get(key), value)
    return result


VALUES = st.one_of(
    st.integers(),
    st.lists(st.integers(), max_size=2),
    st.dictionaries(st.sampled_from("xyz"), st.integers(), max_size=3),
)
STATUS = st.dictionaries(st.sampled_from("abcd"), VALUES, max_size=4)


@given(STATUS, STATUS)
def test_the_patch_leads_to_the_desired_members_and_touches_no_other(live: dict, desired: dict) -> None:
    after = apply_merge_patch(live, patch(live, desired))
    assert {key: after.get(key) for key in desired} == desired
    assert {k: v for k, v in after.items() if k not in desired} == {
        k: v for k, v in live.items() if k not in desired
    }


@given(STATUS)
def test_nothing_changed_is_nothing_to_write(live: dict) -> None:
    assert patch(live, live) == {}


def test_none_removes() -> None:
    assert patch({"a": 1}, {"a": None}) == {"a": None}
    assert patch({}, {"a": None}) == {}


@pytest.mark.parametrize(
    ("port", "tls", "expected"),
    [
        (80, False, "http://r.n.svc"),
        (8080, False, "http://r.n.svc:8080"),
        (443, True, "https://r.n.svc"),
        (80, True, "https://r.n.svc:80"),
    ],
)
def test_the_address_names_the_port_where_it_must(port: int, tls: bool, expected: str) -> None:
    shown = GatewayTLS(secret_ref=SecretRef(name="shown")) if tls else None
    assert address("n", "r", Gateway(service=GatewayService(port=port), tls=shown)) == expected


def test_rules_and_backends_are_named_as_the_route_names_them() -> None:
    problem = Problem("BackendNotFound", "gone")
    assert rule_items([RuleReport("a", serving=True), RuleReport("b", serving=False, problem=problem)]) == [
        {"name": "a", "accepted": True, "reason": ""},
        {"name": "b", "accepted": False, "reason": "gone"},
    ]
    reports = [BackendReport(BackendRef("n", "x"), 70), BackendReport(BackendRef("m", "y"), 0, problem)]
    assert backend_items(reports, "n") == [
        {"name": "x", "ready": True, "weight": 70, "reason": ""},
        {"name": "m/y", "ready": False, "weight": 0, "reason": "gone"},
    ]


def test_long_reasons_are_cut() -> None:
    (item,) = rule_items([RuleReport("a", serving=False, problem=Problem("X", "y" * 5000))])
    assert len(item["reason"]) == MAX_REASON


def test_the_revision_shown_as_active_is_the_one_that_serves() -> None:
    plan = Plan(Phase.PROMOTING, "b", None, state=State(history=("x",)))
    assert revision_status(plan, "a") == {"active": "a", "stable": ["x"]}
    assert revision_status(replace(plan, preview="b"), None) == {"stable": ["x"], "preview": "b"}


def test_a_rollout_says_what_it_waits_for_and_which_commands_do_nothing() -> None:
    plan = Plan(Phase.STABLE, "b", None)
    assert rollout_status(plan) == {"phase": "Stable"}
    going = Plan(
        Phase.PREPARING,
        "a",
        "b",
        waiting="pods",
        remarks=("promote names c: it has no effect.",),
        state=State(Phase.PREPARING, "b", started_at=NOW),
    )
    assert rollout_status(going) == {
        "phase": "Preparing",
        "revision": "b",
        "startedAt": "2026-01-01T00:00:00Z",
        "message": "pods. promote names c: it has no effect.",
    }
