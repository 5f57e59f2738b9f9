"""A rotation's state as `status.credential`, and back (pure)."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from moltbot_operator.rotation.state import Phase, State

__all__ = ["read_state", "written_state"]

MAX_MESSAGE: Final = 1000

_TEXTS: Final = {
    "version": "version",
    "pendingVersion": "pending",
    "previousVersion": "previous",
    "spareVersion": "spare",
}

_TIMES: Final = {
    "notAfter": "not_after",
    "lastRotationTime": "rotated",
    "nextRotationTime": "due",
    "retryTime": "retry",
    "publishedTime": "published",
    "sparePublishedTime": "spare_published",
    "overlapEndTime": "until",
    "sweepTime": "sweep",
    "answeredRotateAt": "answered",
    "watchedTime": "watched",
}


def written_state(state: State) -> dict[str, Any]:
    """All members, None for what is not there: a merge patch then removes it."""
    message = state.message if len(state.message) <= MAX_MESSAGE else state.message[: MAX_MESSAGE - 1] + "…"
    return {
        **{member: getattr(state, name) for member, name in _TEXTS.items()},
        **{member: _written(getattr(state, name)) for member, name in _TIMES.items()},
        "phase": str(state.phase),
        "attempts": state.attempts,
        "urgent": state.urgent or None,
        "reverted": state.reverted or None,
        "message": message or None,
    }


def read_state(credential: Mapping[str, Any]) -> State:
    """What the status says; what can't be read (somebody edited it) counts as not there."""
    try:
        phase = Phase(credential.get("phase") or Phase.IDLE)
    except ValueError:
        phase = Phase.IDLE
    found: dict[str, Any] = {name: credential.get(member) for member, name in _TEXTS.items()}
    found |= {name: _read(credential.get(member)) for member, name in _TIMES.items()}
    state = State(
        phase=phase,
        **found,
        attempts=int(credential.get("attempts") or 0),
        urgent=bool(credential.get("urgent")),
        reverted=bool(credential.get("reverted")),
        message=str(credential.get("message") or ""),
    )
    return state if _whole(state) else State(version=state.version, due=state.due, rotated=state.rotated)


def _whole(state: State) -> bool:
    """Whether the phase has the versions that it is about."""
    if state.phase in {Phase.PREPARED, Phase.ISSUED, Phase.VERIFIED, Phase.DISTRIBUTED}:
        return state.pending is not None
    return state.phase is Phase.IDLE or state.version is not None


def _written(moment: datetime | None) -> str | None:
    """RFC 3339 with microseconds, so that what is read is what was written."""
    if moment is None:
        return None
    try:
        moment = moment.astimezone(UTC)
    except OverflowError:  # the first and the last hours of the calendar, which a person may write
        return moment.isoformat()
    return moment.isoformat().replace("+00:00", "Z")


def _read(text: Any) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        return None
    return moment.replace(tzinfo=UTC) if moment is not None and moment.tzinfo is None else moment
