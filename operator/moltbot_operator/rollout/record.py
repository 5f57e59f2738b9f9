"""The state as the route's status holds it, and back."""

from collections.abc import Mapping
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any

from pydantic import ValidationError

from moltbot_operator.api import (
    AnalysisRun,
    FailedRevision,
    NotificationEvent,
    PendingNotification,
    RolloutStatus,
)
from moltbot_operator.rollout.state import Failure, Old, Pending, Phase, Run, Shown, Stage, State

__all__ = ["progress_status", "recorded"]


def recorded(status: Mapping[str, Any]) -> State:
    """The state that a route's `status` holds; what can't be read is taken for a route at rest.

    A status of a version that did not record its rollouts begins the one under way anew.
    """
    history = tuple(str(name) for name in (status.get("revision") or {}).get("stable") or ())
    try:
        found = RolloutStatus.model_validate(status.get("rollout") or {})
        phase = Phase(found.phase or Phase.STABLE)
        state = State(
            phase=phase,
            target=found.revision,
            rollback_to=found.rollback_to,
            started_at=found.started_at,
            deadline=found.deadline,
            promoted_at=found.promoted_at,
            stage=Stage(found.stage) if found.stage else None,
            resume=Phase(found.resume) if found.resume else None,
            gates=found.gates,
            attempt=found.attempt,
            not_before=found.not_before,
            overridden=found.overridden,
            promote_generation=found.promote_generation,
            reason=found.reason or "",
            message=found.cause,
            run=_run(found.analysis) if found.analysis else None,
            failed=_failure(found.failed) if found.failed else None,
            old=tuple(Old(each.revision, each.until) for each in found.old),
            pending=tuple(_pending(each) for each in found.pending),
            history=history,
        )
    except (ValidationError, ValueError):
        return State(history=history)
    if state.target is None and phase is not Phase.FAILED:
        return state.rest()
    return state


def progress_status(state: State, message: str) -> dict[str, Any]:
    """`status.rollout`; without members that are empty."""
    found: dict[str, Any] = {
        "phase": str(state.phase),
        "revision": state.target,
        "rollbackTo": state.rollback_to,
        "startedAt": _time(state.started_at),
        "deadline": _time(state.deadline),
        "promotedAt": _time(state.promoted_at),
        "stage": str(state.stage) if state.stage else None,
        "resume": str(state.resume) if state.resume else None,
        "gates": state.gates,
        "attempt": state.attempt,
        "notBefore": _time(state.not_before),
        "overridden": state.overridden,
        "promoteGeneration": state.promote_generation,
        "message": message[:4096],
        "cause": state.message[:4096],
        "reason": state.reason,
        "analysis": _run_status(state.run) if state.run else None,
        "failed": _failure_status(state.failed) if state.failed else None,
        "old": [{"revision": each.revision, "until": _time(each.until)} for each in state.old],
        "pending": [_pending_status(each) for each in state.pending],
    }
    return {name: value for name, value in found.items() if value}


def _time(moment: datetime | None) -> str | None:
    """RFC 3339 with microseconds where there are any, so that what is read back is what was written."""
    return None if moment is None else moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _run(found: AnalysisRun) -> Run:
    return Run(
        found.measurements,
        found.failed,
        found.inconclusive,
        found.errors,
        found.message,
        found.inconclusive_message,
        tuple(Shown(each.name, _float(each.value), _float(each.active)) for each in found.metrics),
    )


def _run_status(run: Run) -> dict[str, Any]:
    metrics = [
        {"name": each.name, "value": _decimal(each.value), "active": _decimal(each.active)}
        for each in run.metrics
    ]
    return {
        "measurements": run.measurements,
        "failed": run.failed,
        "inconclusive": run.inconclusive,
        "errors": run.errors,
        "message": run.message[:4096],
        **({"inconclusiveMessage": run.doubt[:4096]} if run.doubt else {}),
        "metrics": metrics,
    }


def _failure(found: FailedRevision) -> Failure:
    return Failure(found.revision, found.reason, found.message, found.at, found.generation)


def _failure_status(failure: Failure) -> dict[str, Any]:
    return {
        "revision": failure.revision,
        "reason": failure.reason,
        "message": failure.message[:4096],
        "at": _time(failure.at),
        "generation": failure.generation,
    }


def _pending(found: PendingNotification) -> Pending:
    return Pending(
        found.id,
        NotificationEvent(found.event),
        found.revision,
        found.previous or None,
        found.message,
        found.at,
        found.sent,
    )


def _pending_status(pending: Pending) -> dict[str, Any]:
    return {
        "id": pending.id,
        "event": str(pending.event),
        "revision": pending.revision,
        "previous": pending.previous or "",
        "message": pending.message,
        "at": _time(pending.at),
        "sent": list(pending.sent),
    }


def _float(text: str) -> float | None:
    return float(text) if text else None


def _decimal(value: float | None) -> str:
    return "" if value is None else repr(value)


assert len(fields(State)) == 20, "a new field of the state has to be recorded as well"  # noqa: S101, PLR2004
