"""What a rotation's status means for the backend's conditions (pure)."""

from datetime import datetime
from typing import Any

from moltbot_operator.api import ModelBackendSpec
from moltbot_operator.conditions import RotationFacts
from moltbot_operator.rotation.machine import expired
from moltbot_operator.rotation.status import read_state

__all__ = ["rotation_facts"]


def rotation_facts(
    manifest: dict[str, Any], spec: ModelBackendSpec | None, now: datetime
) -> RotationFacts | None:
    """None where nothing is rotated, or no version is in use yet."""
    if spec is None or spec.rotation is None:
        return None
    state = read_state((manifest.get("status") or {}).get("credential") or {})
    if state.version is None:
        return None
    return RotationFacts(
        version=state.version,
        failing=state.attempts > 0,
        expired=expired(state.not_after, now),
        message=state.message,
    )
