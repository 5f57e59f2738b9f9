"""The accuracy feed: what an evaluation job wrote into a key of a ConfigMap.

The value is `{"score": 0.94, "at": "2026-01-31T12:00:00Z"}`, or the bare number. A bare number is as old as
the last change that its writer made to the ConfigMap, as Kubernetes records it (`metadata.managedFields`):
writing the same number again does not make it younger. No age, no score: it is never guessed.

Source: https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/object-meta/
(ManagedFieldsEntry.time)
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

__all__ = ["NoScore", "Score", "read_score"]

LONGEST: Final = 1024
"""Characters of a value that is read; a score needs 70."""


@dataclass(frozen=True)
class Score:
    """An evaluation's result, from 0 to 1, and when it was made."""

    value: float
    at: datetime


@dataclass(frozen=True)
class NoScore:
    """Why there is none, for a person; `missing` where the ConfigMap or its key does not exist."""

    why: str
    missing: bool = False


def read_score(manifest: Mapping[str, Any], key: str) -> Score | NoScore:
    """The score in a key of a ConfigMap, or what is wrong with it."""
    text = (manifest.get("data") or {}).get(key)
    if text is None:
        return NoScore(f"lacks key {key}: have the evaluation write it", missing=True)
    try:
        found = json.loads(text) if len(text) <= LONGEST else None
    except ValueError:
        found = None
    if isinstance(found, dict):
        value, at = found.get("score"), _moment(found.get("at"))
        if at is None:
            return NoScore(f'key {key} has no time with zone in "at": write 2026-01-31T12:00:00Z')
    else:
        value, at = found, _changed(manifest.get("metadata", {}).get("managedFields") or (), key)
        if at is None:
            return NoScore(
                f'key {key} has no known age: write {{"score": 0.94, "at": "2026-01-31T12:00:00Z"}}'
            )
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        return NoScore(f"key {key} holds no number from 0 to 1: write one such as 0.94")
    return Score(float(value), at)


def _moment(value: Any) -> datetime | None:
    """An RFC 3339 time; one without a zone means nothing."""
    try:
        moment = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return None
    return moment if moment.tzinfo else None


def _changed(entries: Sequence[Mapping[str, Any]], key: str) -> datetime | None:
    """When one of the key's writers last changed something; the oldest, if there are several."""
    moments = [
        _moment(entry.get("time"))
        for entry in entries
        if f"f:{key}" in ((entry.get("fieldsV1") or {}).get("f:data") or {})
    ]
    known = [moment for moment in moments if moment is not None]
    return min(known) if known and len(known) == len(moments) else None
