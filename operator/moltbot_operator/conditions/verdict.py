"""What somebody who waits for an object may conclude from its status (pure)."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from moltbot_operator.conditions.reasons import ConditionType

__all__ = ["Outcome", "Waited", "conclude", "condition"]


class Outcome(StrEnum):
    """How it stands."""

    DONE = "Done"
    FAILED = "Failed"
    PAUSED = "Paused"
    """A person has to decide."""
    WAITING = "Waiting"


@dataclass(frozen=True)
class Waited:
    """An outcome, and why in a sentence."""

    outcome: Outcome
    message: str


def condition(manifest: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    """The condition of a type; empty if there is none."""
    found = (manifest.get("status") or {}).get("conditions") or []
    return next((each for each in found if each.get("type") == kind), {})


def conclude(  # noqa: PLR0911 - one for each rule, in the order in which they count
    manifest: Mapping[str, Any], wanted: str = ConditionType.READY
) -> Waited:
    """How an object stands on its way to the condition `wanted` being True for the present spec.

    What may still mend itself, such as a reference to something that is not there yet, is waited for. With
    another condition than Ready, only that one counts, and what makes it impossible.
    """
    meta, status = manifest["metadata"], manifest.get("status") or {}
    if meta.get("deletionTimestamp"):
        return Waited(Outcome.FAILED, "It is being deleted.")
    if status.get("observedGeneration") != meta.get("generation"):
        return Waited(Outcome.WAITING, "The operator has not looked at this spec yet.")
    found = condition(manifest, wanted)
    holds = found.get("status") == "True"
    if wanted != ConditionType.READY and holds:
        return Waited(Outcome.DONE, _message(found))
    if _is(manifest, ConditionType.STALLED):
        return Waited(Outcome.FAILED, _message(condition(manifest, ConditionType.STALLED)))
    failed = (status.get("rollout") or {}).get("failed")
    if failed:
        said = f"Revision {failed.get('revision')} was given up ({failed.get('reason')})"
        return Waited(Outcome.FAILED, f"{said}: {failed.get('message', '')}")
    if _is(manifest, ConditionType.ROLLOUT_PAUSED):
        return Waited(Outcome.PAUSED, _message(condition(manifest, ConditionType.ROLLOUT_PAUSED)))
    for kind in (ConditionType.RECONCILING, ConditionType.DEGRADED):
        if _is(manifest, kind):
            return Waited(Outcome.WAITING, _message(condition(manifest, kind)))
    if holds:
        return Waited(Outcome.DONE, _message(found))
    return Waited(Outcome.WAITING, _message(found) if found else f"It has no condition {wanted} yet.")


def _is(manifest: Mapping[str, Any], kind: str) -> bool:
    return condition(manifest, kind).get("status") == "True"


def _message(found: Mapping[str, Any]) -> str:
    return f"{found.get('reason', '')}: {found.get('message', '')}"
