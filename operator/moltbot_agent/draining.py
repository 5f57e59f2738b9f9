"""Draining Envoy before it ends: readiness off, endpoints gone, listeners drained, the last request answered.

Standard library only. The agent runs it in a thread; the preStop command runs it itself when the agent is
gone.
"""

import threading
import time
from dataclasses import dataclass
from datetime import timedelta

from moltbot_agent.admin import Admin
from moltbot_agent.errors import AdminUnavailable

__all__ = ["DrainOutcome", "DrainPlan", "drain"]


@dataclass(frozen=True)
class DrainPlan:
    """How long the steps may take."""

    settle: timedelta = timedelta(seconds=5)
    """From failing readiness to draining listeners: endpoints disappear from load balancers meanwhile."""
    grace: timedelta = timedelta(seconds=300)
    """From the start to giving up on requests that are still in flight."""
    quiet: timedelta = timedelta(seconds=1)
    """No request for so long on open connections counts as drained; without connections it counts at once."""
    poll: timedelta = timedelta(milliseconds=100)
    lost: timedelta = timedelta(seconds=10)
    """Admin silent for so long: Envoy is gone and there is nothing left to drain."""


@dataclass(frozen=True)
class DrainOutcome:
    """How draining ended."""

    drained: bool
    """False where requests were still in flight, or Envoy could not be asked."""
    in_flight: int
    seconds: float
    message: str


def drain(admin: Admin, stat_prefix: str, plan: DrainPlan, stop: threading.Event) -> DrainOutcome:
    """Drain and wait for the last request of the public listener, the end of `plan.grace`, or `stop`.

    Safe to repeat: each of Envoy's calls is.
    """
    begin = time.monotonic()
    deadline = begin + plan.grace.total_seconds()
    in_flight, connections = 0, 0

    def outcome(drained: bool, message: str) -> DrainOutcome:
        return DrainOutcome(drained, in_flight, round(time.monotonic() - begin, 3), message)

    drain_at = min(begin + plan.settle.total_seconds(), deadline)
    answered_at = begin
    idle_since: float | None = None
    failed, draining = False, False
    while not stop.is_set():
        now = time.monotonic()
        try:
            if not failed:
                admin.fail_health_check()
                failed = True
            if now >= drain_at and not draining:
                admin.drain_listeners()
                draining = True
            in_flight, connections = _public(admin, stat_prefix)
            answered_at = now
        except AdminUnavailable as error:
            if now - answered_at >= plan.lost.total_seconds() or now >= deadline:
                return outcome(False, str(error))
        else:
            idle_since = None if in_flight else idle_since or now
            quiet = idle_since is not None and now - idle_since >= plan.quiet.total_seconds()
            if draining and not in_flight and (quiet or not connections):
                return outcome(True, "no request is in flight")
            if now >= deadline:
                return outcome(not in_flight, f"the grace period of {plan.grace.total_seconds():g} s is over")
        stop.wait(plan.poll.total_seconds())
    return outcome(False, "stopped before the end")


def _public(admin: Admin, stat_prefix: str) -> tuple[int, int]:
    """Requests and connections of the public listener now."""
    prefix = f"http.{stat_prefix}.downstream_"
    stats = admin.stats(rf"^http\.{stat_prefix}\.downstream_(rq|cx)_active$")
    return stats.get(f"{prefix}rq_active", 0), stats.get(f"{prefix}cx_active", 0)
