"""Windows and policies: how far and how fast a recommendation is followed.

Source: https://kubernetes.io/docs/tasks/run-application/horizontal-pod-autoscale/#configurable-scaling-behavior
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from moltbot_operator.api import (
    ScalePolicy,
    ScalePolicyType,
    ScaleSelect,
    ScalingBehavior,
    ScalingRules,
)
from moltbot_operator.autoscale.state import Change, Recommendation

__all__ = ["DOWN", "UP", "Pace", "Rules", "pace_of"]

_PERIOD: Final = timedelta(seconds=15)


@dataclass(frozen=True)
class Rules:
    """How fast one direction is, with nothing left open."""

    window: timedelta
    select: ScaleSelect
    policies: tuple[ScalePolicy, ...]


DOWN: Final = Rules(
    timedelta(minutes=5),
    ScaleSelect.MAX,
    (ScalePolicy(type=ScalePolicyType.PERCENT, value=100, period=_PERIOD),),
)
"""What holds for going down unless the behaviour says otherwise."""

UP: Final = Rules(
    timedelta(0),
    ScaleSelect.MAX,
    (
        ScalePolicy(type=ScalePolicyType.PERCENT, value=100, period=_PERIOD),
        ScalePolicy(type=ScalePolicyType.PODS, value=4, period=_PERIOD),
    ),
)
"""What holds for going up unless the behaviour says otherwise."""


@dataclass(frozen=True)
class Pace:
    """Both directions."""

    up: Rules
    down: Rules

    @property
    def longest_window(self) -> timedelta:
        """How long recommendations are needed."""
        return max(self.up.window, self.down.window)

    @property
    def longest_period(self) -> timedelta:
        """How long changes are needed."""
        return max(policy.period for policy in (*self.up.policies, *self.down.policies))

    def steadied(self, wanted: int, current: int, past: Sequence[Recommendation], now: datetime) -> int:
        """Up no further than the least of the window asked for, down no further than the most."""
        up = min([wanted, *(each.replicas for each in past if each.at > now - self.up.window)])
        down = max([wanted, *(each.replicas for each in past if each.at > now - self.down.window)])
        return min(max(current, up), down)

    def highest(self, current: int, changes: Sequence[Change], now: datetime) -> int:
        """Most workers that the policies allow now."""
        if self.up.select is ScaleSelect.DISABLED:
            return current
        limits = [_raised(policy, _start(policy, current, changes, now)) for policy in self.up.policies]
        return max(current, min(limits) if self.up.select is ScaleSelect.MIN else max(limits))

    def lowest(self, current: int, changes: Sequence[Change], now: datetime) -> int:
        """Fewest workers that the policies allow now."""
        if self.down.select is ScaleSelect.DISABLED:
            return current
        limits = [_lowered(policy, _start(policy, current, changes, now)) for policy in self.down.policies]
        # The policy that changes least is the one that leaves most.
        least = max(limits) if self.down.select is ScaleSelect.MIN else min(limits)
        return min(current, max(0, least))


def pace_of(behavior: ScalingBehavior) -> Pace:
    """The behaviour with what it leaves open filled in."""
    return Pace(_filled(behavior.scale_up, UP), _filled(behavior.scale_down, DOWN))


def _filled(given: ScalingRules, usual: Rules) -> Rules:
    window = usual.window if given.stabilization_window is None else given.stabilization_window
    return Rules(window, given.select_policy, given.policies or usual.policies)


def _start(policy: ScalePolicy, current: int, changes: Sequence[Change], now: datetime) -> int:
    """How many workers there were when the policy's period began."""
    return current - sum(each.by for each in changes if each.at > now - policy.period)


def _raised(policy: ScalePolicy, start: int) -> int:
    """Most that a period which began with `start` may end with; rounded up, or 1 could never become 2."""
    if policy.type is ScalePolicyType.PODS:
        return start + policy.value
    return math.ceil(round(start * (1 + policy.value / 100), 9))


def _lowered(policy: ScalePolicy, start: int) -> int:
    """Fewest that a period which began with `start` may end with; rounded towards fewer."""
    if policy.type is ScalePolicyType.PODS:
        return start - policy.value
    return math.floor(round(start * (1 - policy.value / 100), 9))
