"""Desired conditions over existing ones, keeping what the API conventions say must be kept."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from moltbot_operator.conditions.reasons import ConditionType, Reason

__all__ = ["Statement", "Status", "merge", "sentence", "timestamp"]

Status = Literal["True", "False", "Unknown"]

MAX_MESSAGE = 4096
"""Longest message in characters; metav1.Condition allows 32,768, and nobody reads that."""


@dataclass(frozen=True)
class Statement:
    """A condition as it should be, without the times that only the existing one knows."""

    type: ConditionType
    status: Status
    reason: Reason
    message: str


def sentence(text: str) -> str:
    """The text with a full stop, unless it ends as a sentence already; several of them make one message."""
    return text if text.endswith((".", "!", "?")) else f"{text}."


def timestamp(moment: datetime) -> str:
    """RFC 3339 in whole seconds, as Kubernetes writes metav1.Time."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def merge(
    existing: Sequence[Mapping[str, Any]], desired: Sequence[Statement], generation: int, now: datetime
) -> list[dict[str, Any]]:
    """`status.conditions` in wire form: exactly the `desired` ones, in their order.

    `lastTransitionTime` changes only with `status`; `observedGeneration` is `generation`. A condition of
    ours that is no longer desired goes; one of a type that is not ours stays at the end (another
    controller's word).
    """
    before = {condition.get("type"): condition for condition in existing}
    ours = set(ConditionType)
    merged = [_merged(before.get(statement.type), statement, generation, now) for statement in desired]
    return merged + [dict(condition) for condition in existing if condition.get("type") not in ours]


def _merged(
    before: Mapping[str, Any] | None, statement: Statement, generation: int, now: datetime
) -> dict[str, Any]:
    message = sentence(statement.message)
    if len(message) > MAX_MESSAGE:
        message = message[: MAX_MESSAGE - 1] + "…"
    kept = before.get("lastTransitionTime") if before and before.get("status") == statement.status else None
    return {
        "type": str(statement.type),
        "status": statement.status,
        "reason": str(statement.reason),
        "message": message,
        "lastTransitionTime": kept or timestamp(now),
        "observedGeneration": generation,
    }
