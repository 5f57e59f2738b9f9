"""Differences of a route's spec that no request sees: pods, worker, rollout."""

from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel

from moltbot_operator.api import MoltBotRouteSpec
from moltbot_operator.compare.changes import Change

__all__ = ["settings"]

_PARTS = ("gateway", "worker", "rollout")


def settings(name: str, before: MoltBotRouteSpec | None, after: MoltBotRouteSpec | None) -> list[Change]:
    """Changed fields of the gateway's pods, the worker and the rollout, by path."""
    if before is None or after is None:
        return []
    return [
        Change("route", name, f"spec.{path}", _shown(old), _shown(new))
        for part in _PARTS
        for path, old, new in _different(part, getattr(before, part), getattr(after, part))
    ]


def _different(path: str, old: Any, new: Any) -> Iterator[tuple[str, Any, Any]]:
    if old == new:
        return
    if isinstance(old, BaseModel) and type(old) is type(new):
        for name, field in type(old).model_fields.items():
            yield from _different(f"{path}.{field.alias or name}", getattr(old, name), getattr(new, name))
    else:
        yield path, old, new


def _shown(value: Any) -> str:
    if value is None:
        return "absent"
    return (
        value.model_dump_json(exclude_unset=True, by_alias=True)
        if isinstance(value, BaseModel)
        else str(value)
    )
