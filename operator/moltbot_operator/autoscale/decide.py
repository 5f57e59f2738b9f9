"""The decision: metrics' proposals, the largest of them, windows, policies, bounds."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Final

from moltbot_operator.api import Autoscaling, ScaleMetric, ScaleMetricType
from moltbot_operator.autoscale.pace import Pace, pace_of
from moltbot_operator.autoscale.proposal import Proposal, propose
from moltbot_operator.autoscale.samples import Samples
from moltbot_operator.autoscale.state import Change, Recommendation, State

__all__ = ["Decision", "Reason", "decide", "metrics_of"]

_USUAL: Final = ScaleMetric(name="in-flight", type=ScaleMetricType.IN_FLIGHT, target=50)
"""What counts where no metric is given: requests in flight per worker."""


_OFF: Final = "0 workers were asked for: set spec.worker.replicas to start them"


class Reason(StrEnum):
    """Why the number is what it is."""

    SCALED_UP = "ScaledUp"
    SCALED_DOWN = "ScaledDown"
    STEADY = "Steady"
    """The metrics ask for what is there."""
    WINDOW = "WithinWindow"
    """The metrics ask for another number, and did not for long enough."""
    LIMITED = "RateLimited"
    """A policy lets nothing more change within its period."""
    BOUND = "AtBound"
    """minReplicas or maxReplicas holds it."""
    HELD = "Held"
    """Something else speaks against taking workers away, such as a rollout under way."""
    NO_DATA = "NoData"
    """A metric could not be had."""
    OFF = "SwitchedOff"
    """Somebody set 0 workers: only that somebody starts them again."""


@dataclass(frozen=True)
class Decision:
    """How many workers there shall be; `message` gives the figures."""

    replicas: int
    reason: Reason
    message: str
    state: State


def metrics_of(scaling: Autoscaling) -> tuple[ScaleMetric, ...]:
    """The measures of load; requests in flight where none is given."""
    return scaling.metrics or (_USUAL,)


def decide(scaling: Autoscaling, state: State, samples: Samples, now: datetime) -> Decision:
    """The number of workers from now on, and what to remember.

    Never outside of minReplicas and maxReplicas, never fewer where a metric failed, never to 0 from more.
    Without any metric the number stays.
    """
    current, pace = samples.replicas, pace_of(scaling.behavior)
    state = _remembered(state, pace, current, now)
    if current == 0:
        return Decision(0, Reason.OFF, _OFF, state)
    fewest = max(1, scaling.min_replicas)
    if (forced := min(max(current, fewest), scaling.max_replicas)) != current:
        message = f"{current} is outside of {fewest} to {scaling.max_replicas}"
        return Decision(forced, Reason.BOUND, message, _changed(state, forced - current, now))
    proposals = [propose(metric, samples) for metric in metrics_of(scaling)]
    figures = "; ".join(each.figure for each in proposals)
    wanted = _largest(proposals, current)
    if wanted is None:
        # As if the present number were asked for: after an outage too, nothing goes before a window is over.
        state = _recommended(state, current, now)
        return Decision(current, Reason.NO_DATA, f"stays at {current}: {figures}", state)
    state = _recommended(state, wanted, now)
    steady = pace.steadied(wanted, current, state.recommendations, now)
    bounded = min(max(steady, fewest), scaling.max_replicas)
    allowed = min(bounded, pace.highest(current, state.changes, now))
    allowed = max(allowed, pace.lowest(current, state.changes, now))
    if allowed < current and samples.held:
        return Decision(current, Reason.HELD, f"stays at {current}, {samples.held}: {figures}", state)
    if allowed != current:
        reason = Reason.SCALED_UP if allowed > current else Reason.SCALED_DOWN
        message = f"from {current} to {allowed} ({wanted} wanted): {figures}"
        return Decision(allowed, reason, message, _changed(state, allowed - current, now))
    reason = _why(wanted, steady, bounded, current)
    return Decision(current, reason, f"stays at {current} ({wanted} wanted): {figures}", state)


def _largest(proposals: Sequence[Proposal], current: int) -> int | None:
    """What the metrics ask for together; None if that is not known, or fewer while a metric failed."""
    told = [each.replicas for each in proposals if each.replicas is not None]
    if not told or (len(told) < len(proposals) and max(told) < current):
        return None
    return max(told)


def _why(wanted: int, steady: int, bounded: int, current: int) -> Reason:
    if wanted == current:
        return Reason.STEADY
    if steady == current:
        return Reason.WINDOW
    return Reason.BOUND if bounded == current else Reason.LIMITED


def _remembered(state: State, pace: Pace, current: int, now: datetime) -> State:
    """Without what is too old; at the beginning the present number counts as recommended just now."""
    if not state.recommendations:
        return replace(state, recommendations=(Recommendation(now, current),))
    window, period = now - pace.longest_window, now - pace.longest_period
    recommendations = tuple(each for each in state.recommendations if each.at > window)
    # Never empty, or each look would seem the first.
    recommendations = recommendations or state.recommendations[-1:]
    return State(recommendations, tuple(each for each in state.changes if each.at > period))


def _recommended(state: State, replicas: int, now: datetime) -> State:
    return replace(state, recommendations=(*state.recommendations, Recommendation(now, replicas)))


def _changed(state: State, by: int, now: datetime) -> State:
    return replace(state, changes=(*state.changes, Change(now, by)))
