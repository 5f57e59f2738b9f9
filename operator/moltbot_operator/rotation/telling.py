"""What people are told of a rotation (pure): one announcement for what they would want to know."""

from dataclasses import dataclass
from typing import Literal

from moltbot_operator.rotation.state import Phase, State

__all__ = ["FAILED", "Announcement", "announcements"]

FAILED = "CredentialRotationFailed"
"""Reason of what counts as a failure."""


@dataclass(frozen=True)
class Announcement:
    """An event's type, reason and message; nothing secret."""

    type: Literal["Normal", "Warning"]
    reason: str
    message: str


def announcements(before: State, after: State, note: str = "") -> list[Announcement]:
    """What the step from `before` to `after` means to somebody who reads events."""
    told: list[Announcement] = []
    if note:
        told.append(Announcement("Warning", "CredentialNotRevoked", note))
    if before.version is None and after.version is not None and after.phase is Phase.IDLE:
        told.append(
            Announcement(
                "Normal", "CredentialAdopted", f"Version {after.version}: the credential as it was found."
            )
        )
    if after.attempts > before.attempts:
        reason = "CredentialReverted" if after.reverted and not before.reverted else FAILED
        told.append(Announcement("Warning", reason, after.message))
    elif after.phase is not before.phase:
        told += _moved(before, after)
    return told


def _moved(before: State, after: State) -> list[Announcement]:
    if after.phase is Phase.PREPARED:
        why = "it is compromised" if after.urgent else "it is time"
        message = f"Version {after.pending} is to be the first."
        if before.version is not None:
            message = f"Version {after.pending} is to replace {before.version}: {why}."
        return [Announcement("Normal", "CredentialRotationStarted", message)]
    if after.phase is Phase.PROMOTED:
        message = f"Version {after.version} is the one to use; {after.previous or 'none'} before it."
        return [Announcement("Normal", "CredentialPromoted", message)]
    if before.phase is Phase.REVOKED and after.phase is Phase.IDLE and not before.reverted:
        if before.previous is not None:
            message = (
                f"Version {before.previous} could not be revoked yet; that goes on beside the next rotation."
            )
            return [Announcement("Warning", "CredentialNotRevoked", message)]
        return [Announcement("Normal", "CredentialRotated", f"Version {after.version} is the only one.")]
    return []
