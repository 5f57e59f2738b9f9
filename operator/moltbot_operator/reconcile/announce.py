"""Which changes are worth an event (pure): conditions that turn bad or good again, and steps of a rollout."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from moltbot_operator.conditions import ConditionType
from moltbot_operator.rollout import Action, Create, Delete, Flip, Plan

__all__ = ["Announcement", "condition_announcements", "rollout_announcements"]

WHEN_FALSE = frozenset(
    {
        ConditionType.ACCEPTED,
        ConditionType.RESOLVED_REFS,
        ConditionType.PROGRAMMED,
        ConditionType.CREDENTIAL_READY,
        ConditionType.OBJECTIVES_MET,
    }
)
"""Types that are bad when False. Ready is left out: it follows from these."""

WHEN_TRUE = frozenset({ConditionType.STALLED, ConditionType.DEGRADED})
"""Types that are bad when True, and absent otherwise."""

TRANSIENT = frozenset({"NoActiveRevision"})
"""Reasons of something that is on its way and no fault."""


@dataclass(frozen=True)
class Announcement:
    """An event about the resource."""

    type: Literal["Normal", "Warning"]
    reason: str
    action: str
    message: str


def condition_announcements(
    before: Sequence[Mapping[str, Any]], after: Sequence[Mapping[str, Any]]
) -> list[Announcement]:
    """A Warning for each condition that turned bad or is so for another reason, a Normal if it recovered."""
    was = {condition["type"]: condition["reason"] for condition in before if _bad(condition)}
    now = {condition["type"]: condition for condition in after if _bad(condition)}
    found = [
        Announcement("Warning", condition["reason"], "Reconcile", condition["message"])
        for type_, condition in now.items()
        if was.get(type_) != condition["reason"] and not _said(condition, now)
    ]
    recovered = {
        condition["type"]: condition
        for condition in after
        if condition["type"] in was.keys() - now.keys() and condition["status"] != "Unknown"
    }
    found += [
        Announcement("Normal", condition["reason"], "Reconcile", f"{type_} again: {condition['message']}")
        for type_, condition in recovered.items()
    ]
    return found


def rollout_announcements(plan: Plan) -> list[Announcement]:
    """One for each revision that is made or goes, and for what the machine has to say."""
    steps = [step for action in plan.actions if (step := _step(action))]
    return steps + [
        Announcement(note.type, note.reason, "Rollout", note.message[:1024]) for note in plan.notes
    ]


def _step(action: Action) -> Announcement | None:
    match action:
        case Create(revision):
            message = f"Revision {revision} is being brought up."
            return Announcement("Normal", "RevisionCreated", "Rollout", message)
        case Delete(revision):
            message = f"Revision {revision} is no longer needed; its pods drain and go."
            return Announcement("Normal", "RevisionRemoved", "Rollout", message)
        case Flip():
            return None  # told once it is seen: a flip that fails is tried again


def _bad(condition: Mapping[str, Any]) -> bool:
    if condition["reason"] in TRANSIENT:
        return False
    kind, status = condition["type"], condition["status"]
    return (kind in WHEN_FALSE and status == "False") or (kind in WHEN_TRUE and status == "True")


def _said(condition: Mapping[str, Any], bad: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether another condition says the same: Stalled repeats Accepted, Degraded repeats ResolvedRefs.

    Of a revision that was given up both speak.
    """
    if condition["type"] in WHEN_FALSE:
        return False
    louder = WHEN_FALSE | ({ConditionType.STALLED} if condition["type"] == ConditionType.DEGRADED else set())
    return any(other["type"] in louder and other["message"] in condition["message"] for other in bad.values())
