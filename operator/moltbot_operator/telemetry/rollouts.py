"""Metrics of rollouts: steps as they happen, and phases read from the routes' own status at each scrape."""

from collections import Counter as Tally
from collections.abc import Iterable
from datetime import datetime
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from moltbot_operator.kube.cache import Cache
from moltbot_operator.kube.kinds import MOLTBOT_ROUTE
from moltbot_operator.rollout import Phase, Plan, State

__all__ = ["PhasesCollector", "RolloutMetrics"]

MOST: Final = 1_000
"""Routes that have a series of their own, the first by name; the sums count all."""

BUCKETS: Final = (1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600, 14400, 86400)
"""Seconds: from a flip to a revision that still runs to a rollout that waits for a person."""

ENDS: Final = {Phase.STABLE: "completed", Phase.FAILED: "failed"}


class RolloutMetrics:
    """`moltbot_rollout_transitions_total{phase}`, `moltbot_rollout_seconds{result}`."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._transitions = Counter(
            "moltbot_rollout_transitions_total",
            "Rollouts that entered a phase",
            ["phase"],
            registry=registry,
        )
        self._seconds = Histogram(
            "moltbot_rollout_seconds",
            "From the beginning of a rollout to its end: completed, failed (given up or rolled back)",
            ["result"],
            buckets=BUCKETS,
            registry=registry,
        )
        for phase in Phase:
            self._transitions.labels(phase)

    def step(self, before: State, plan: Plan, now: datetime) -> None:
        """A step was taken from this state."""
        if before.phase is plan.phase:
            return
        self._transitions.labels(plan.phase).inc()
        if before.started_at and (result := ENDS.get(plan.phase)):
            self._seconds.labels(result).observe(max(0.0, (now - before.started_at).total_seconds()))


class PhasesCollector(Collector):
    """`moltbot_rollouts{phase}` and `moltbot_rollout_phase{route,phase}`."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """One scrape."""
        found = sorted(
            (f"{route['metadata']['namespace']}/{route['metadata']['name']}", _phase(route))
            for route in self._cache.list(MOLTBOT_ROUTE)
        )
        sums = Tally(phase for _, phase in found)
        counts = GaugeMetricFamily("moltbot_rollouts", "Routes by phase of their rollout", labels=["phase"])
        for phase in Phase:
            counts.add_metric([phase], sums[phase])
        phases = GaugeMetricFamily(
            "moltbot_rollout_phase",
            "1 for the phase that a route's rollout is in, while it is not Stable",
            labels=["route", "phase"],
        )
        moving = [(name, found_in) for name, found_in in found if found_in not in {"", Phase.STABLE}]
        for name, found_in in moving[:MOST]:
            phases.add_metric([name, found_in], 1)
        yield from (counts, phases)


def _phase(route: dict[str, object]) -> str:
    status = route.get("status")
    rollout = status.get("rollout") if isinstance(status, dict) else None
    return str(rollout.get("phase") or "") if isinstance(rollout, dict) else ""
