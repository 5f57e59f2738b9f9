"""When a route is looked at again, though nothing tells of it (pure)."""

from datetime import datetime, timedelta
from typing import Final
from zlib import crc32

from moltbot_operator.reconcile.apply import Applied
from moltbot_operator.reconcile.carry import RouteMemory
from moltbot_operator.rollout import Observed, Plan, State

__all__ = ["next_look"]

POLL: Final = timedelta(seconds=60)
"""How often a settled route's pods are asked whether they still run its revision."""

FIRST_LOOK: Final = timedelta(seconds=1)
"""How soon a rollout under way is looked at again; later looks are rarer."""

LAST_LOOK: Final = timedelta(seconds=15)
"""Longest pause between looks at a rollout under way."""

NEXT_STEP: Final = timedelta(milliseconds=100)
"""How soon the step after a write is taken."""

AT_ONCE: Final = timedelta(milliseconds=1)
"""How soon the flip comes after it was recorded that it comes."""

SPREAD: Final = 0.2
"""Share of POLL over which routes spread, so that they don't all ask at once after a restart."""


def next_look(
    memory: RouteMemory,
    before: State,
    plan: Plan,
    *,
    active: Observed | None,
    applied: Applied,
    now: datetime,
) -> timedelta | None:
    """After which time; None for not before the next event. `before`: the state that led to the plan."""
    if applied.again is not None:
        return applied.again
    if (before.phase, before.stage) != (plan.state.phase, plan.state.stage):
        return AT_ONCE
    if applied.written:
        return NEXT_STEP
    regular = _regular(memory, plan, active)
    if plan.again is None:
        return regular
    due = max(plan.again - now, AT_ONCE)
    return due if regular is None else min(regular, due)


def _regular(memory: RouteMemory, plan: Plan, active: Observed | None) -> timedelta | None:
    settled = active is not None and active.proven(1)
    awaited = (plan.phase, plan.preview, plan.active, settled)
    if awaited != memory.awaited:
        memory.awaited, memory.looks = awaited, 0
    if plan.active is None and plan.preview is None:
        return None
    if settled and not plan.in_progress:
        share = crc32(f"{memory.owner.namespace}/{memory.owner.name}".encode()) / 2**32
        return POLL * (1 + SPREAD * (share - 0.5))
    memory.looks += 1
    return min(FIRST_LOOK * 1.5 ** (memory.looks - 1), LAST_LOOK)
