import re
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

import moltbot_operator.compile
from moltbot_operator.conditions import ConditionType, Reason, Statement, known_reason, merge
from moltbot_operator.conditions.merge import MAX_MESSAGE, sentence, timestamp

T0 = datetime(2026, 1, 1, tzinfo=UTC)
T1 = T0 + timedelta(minutes=1)
READY = Statement(ConditionType.READY, "True", Reason.READY, "All is well.")


def test_a_new_condition_starts_now() -> None:
    assert merge([], [READY], 3, T0) == [
        {
            "type": "Ready",
            "status": "True",
            "reason": "Ready",
            "message": "All is well.",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
            "observedGeneration": 3,
        }
    ]


def test_the_transition_time_changes_only_with_the_status() -> None:
    before = merge([], [READY], 1, T0)
    (same,) = merge(
        before, [Statement(ConditionType.READY, "True", Reason.PROGRAMMED, "Other words.")], 2, T1
    )
    assert same["lastTransitionTime"] == "2026-01-01T00:00:00Z"
    assert (same["reason"], same["message"], same["observedGeneration"]) == ("Programmed", "Other words.", 2)
    (other,) = merge(before, [Statement(ConditionType.READY, "False", Reason.NOT_ACCEPTED, "No.")], 2, T1)
    assert other["lastTransitionTime"] == "2026-01-01T00:01:00Z"


def test_merging_twice_changes_nothing() -> None:
    once = merge([], [READY], 1, T0)
    assert merge(once, [READY], 1, T1) == once


def test_our_conditions_go_when_no_longer_desired_and_others_stay() -> None:
    stalled = {"type": "Stalled", "status": "True", "reason": "InvalidSpec"}
    foreign = {"type": "their.io/Checked", "status": "True", "reason": "Yes"}
    merged = merge([foreign, stalled], [READY], 1, T0)
    assert [condition["type"] for condition in merged] == ["Ready", "their.io/Checked"]
    assert merged[1] == foreign


def test_an_existing_condition_without_a_time_gets_one() -> None:
    (found,) = merge([{"type": "Ready", "status": "True"}], [READY], 1, T0)
    assert found["lastTransitionTime"] == "2026-01-01T00:00:00Z"


def test_long_messages_are_cut() -> None:
    (found,) = merge([], [Statement(ConditionType.READY, "True", Reason.READY, "x" * 10_000)], 1, T0)
    assert len(found["message"]) == MAX_MESSAGE
    assert found["message"].endswith("…")


@pytest.mark.parametrize(("text", "expected"), [("a", "a."), ("a.", "a."), ("a!", "a!"), ("a?", "a?")])
def test_messages_are_sentences(text: str, expected: str) -> None:
    assert sentence(text) == expected


def test_times_are_utc_in_whole_seconds() -> None:
    assert (
        timestamp(datetime(2026, 1, 1, 2, 0, 0, 999, timezone(timedelta(hours=2)))) == "2026-01-01T00:00:00Z"
    )


def test_a_reason_off_the_list_becomes_rule_refused() -> None:
    assert known_reason("BackendNotFound") is Reason.BACKEND_NOT_FOUND
    assert known_reason("Whatever") is Reason.RULE_REFUSED


def test_reasons_and_types_are_camel_case() -> None:
    for word in [*Reason, *ConditionType]:
        assert word.isalnum()
        assert word[0].isupper()


def test_every_reason_that_the_compiler_gives_is_on_the_list() -> None:
    folder = Path(moltbot_operator.compile.__file__).parent
    given = {
        reason
        for file in folder.rglob("*.py")
        for reason in re.findall(r'Problem\(\s*"(\w+)"', file.read_text())
    }
    assert "BackendNotFound" in given, "the search finds what it looks for"
    assert given <= set(Reason)
