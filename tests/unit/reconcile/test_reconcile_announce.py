from typing import Any

from moltbot_operator.reconcile.announce import condition_announcements, rollout_announcements
from moltbot_operator.rollout import Create, Delete, Flip, Note, Phase, Plan


def condition(type_: str, status: str, reason: str, message: str = "") -> dict[str, Any]:
    return {"type": type_, "status": status, "reason": reason, "message": message or f"{type_} is {status}."}


SOUND = [condition("Accepted", "True", "Accepted"), condition("ResolvedRefs", "True", "Resolved")]
MISSING = condition("ResolvedRefs", "False", "SecretNotFound", "Secret a is missing.")


def test_a_new_sound_resource_is_no_news() -> None:
    assert condition_announcements([], SOUND) == []
    coming = condition("Programmed", "False", "NoActiveRevision")
    assert condition_announcements([], [*SOUND, coming]) == []


def test_what_turned_bad_is_a_warning_once() -> None:
    (told,) = condition_announcements(SOUND, [SOUND[0], MISSING])
    assert (told.type, told.reason, told.message) == ("Warning", "SecretNotFound", "Secret a is missing.")
    assert condition_announcements([MISSING], [MISSING]) == []


def test_another_reason_is_news() -> None:
    other = condition("ResolvedRefs", "False", "SecretKeyNotFound")
    (told,) = condition_announcements([MISSING], [other])
    assert told.reason == "SecretKeyNotFound"


def test_a_recovery_is_told() -> None:
    (told,) = condition_announcements([MISSING], SOUND)
    assert (told.type, told.message) == ("Normal", "ResolvedRefs again: ResolvedRefs is True.")
    gone = condition_announcements([condition("Degraded", "True", "PodsUnavailable")], SOUND)
    assert gone == []


def test_what_is_not_known_any_more_is_no_recovery() -> None:
    bad = condition("ObjectivesMet", "False", "LatencyTooHigh", "p95 is 400ms.")
    unknown = condition("ObjectivesMet", "Unknown", "NoData")
    assert condition_announcements([bad], [unknown]) == []
    assert [each.message for each in condition_announcements([unknown], [bad])] == ["p95 is 400ms."]


def test_what_repeats_another_condition_is_not_told_twice() -> None:
    degraded = condition("Degraded", "True", "PartlyServed", "The rest is served. Secret a is missing.")
    assert [told.reason for told in condition_announcements([], [MISSING, degraded])] == ["SecretNotFound"]
    alone = condition("Degraded", "True", "PodsUnavailable", "1 of 2.")
    assert [told.reason for told in condition_announcements([], [alone])] == ["PodsUnavailable"]


def test_each_step_of_a_rollout_is_told() -> None:
    note = Note("Warning", "RolledBack", "Revision b was rolled back.")
    plan = Plan(Phase.PREPARING, "a", "b", (Create("b"), Flip("b"), Delete("a")), notes=(note,))
    told = rollout_announcements(plan)
    assert [(each.type, each.reason) for each in told] == [
        ("Normal", "RevisionCreated"),
        ("Normal", "RevisionRemoved"),
        ("Warning", "RolledBack"),
    ]


def test_a_revision_that_was_given_up_is_told_once_and_not_by_both_conditions() -> None:
    both = [condition(kind, "True", "TestsFailed", "Revision b: no.") for kind in ("Stalled", "Degraded")]
    assert [told.reason for told in condition_announcements([], both)] == ["TestsFailed"]
