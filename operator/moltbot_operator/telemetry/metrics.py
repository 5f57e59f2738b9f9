"""Prometheus metrics of the operator; a registry of its own, so that one process may run several in tests."""

from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from moltbot_operator.kube.cache import Cache
from moltbot_operator.kube.connection import ApiCall
from moltbot_operator.kube.events import EventRecorder
from moltbot_operator.kube.kinds import KINDS
from moltbot_operator.kube.queue import Key, Outcome, Queue
from moltbot_operator.settings import product_version
from moltbot_operator.telemetry.credentials import CredentialsCollector
from moltbot_operator.telemetry.objectives import ObjectivesCollector
from moltbot_operator.telemetry.rollouts import PhasesCollector, RolloutMetrics

__all__ = ["Metrics"]

BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
"""Seconds: from a reconcile that changes nothing to its deadline."""

WRITES: Final = frozenset({"create", "update", "patch", "delete"})


class Metrics:
    """Everything is named `moltbot_…`; times are seconds."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=self.registry)
        build = Gauge("moltbot_build_info", "1, with the version", ["version"], registry=self.registry)
        build.labels(product_version()).set(1)
        self._leader = Gauge("moltbot_leader", "1 while this replica leads", registry=self.registry)
        self._synced = Gauge(
            "moltbot_cache_synced", "1 once every watched kind has been listed", registry=self.registry
        )
        self._reconciles = Counter(
            "moltbot_reconcile_total",
            "Reconciliations by outcome: success, error (to be tried again), crash (a defect)",
            ["kind", "outcome"],
            registry=self.registry,
        )
        self._duration = Histogram(
            "moltbot_reconcile_seconds",
            "Duration of a reconciliation",
            ["kind"],
            buckets=BUCKETS,
            registry=self.registry,
        )
        self._calls = Counter(
            "moltbot_api_calls_total",
            "Calls of the API server by HTTP status (0: no answer)",
            ["verb", "resource", "code"],
            registry=self.registry,
        )
        self._call_seconds = Histogram(
            "moltbot_api_call_seconds",
            "Time to the answer's headers",
            ["verb"],
            buckets=BUCKETS,
            registry=self.registry,
        )
        self._writes = Counter(
            "moltbot_writes_total",
            "Writes that the API server accepted",
            ["verb", "resource"],
            registry=self.registry,
        )

        self.rollouts = RolloutMetrics(self.registry)

    def leading(self, *, leading: bool) -> None:
        """Whether this replica leads."""
        self._leader.set(int(leading))

    def synced(self) -> None:
        """The cache holds every watched kind."""
        self._synced.set(1)

    def reconciled(self, key: Key, outcome: Outcome, duration: timedelta) -> None:
        """One piece of work is done."""
        self._reconciles.labels(key.kind, outcome).inc()
        self._duration.labels(key.kind).observe(duration.total_seconds())

    def called(self, call: ApiCall) -> None:
        """The API server answered, or did not."""
        self._calls.labels(call.verb, call.resource, str(call.status)).inc()
        self._call_seconds.labels(call.verb).observe(call.duration.total_seconds())
        if call.verb in WRITES and 200 <= call.status < 300:  # noqa: PLR2004
            self._writes.labels(call.verb, call.resource).inc()

    def observe(self, cache: Cache, queue: Queue, events: EventRecorder) -> None:
        """Read these at every scrape from now on."""
        self.registry.register(_Sizes(cache, queue, events))
        self.registry.register(ObjectivesCollector(cache))
        self.registry.register(PhasesCollector(cache))
        self.registry.register(CredentialsCollector(cache))

    def render(self) -> bytes:
        """The text exposition format, version 0.0.4."""
        return generate_latest(self.registry)


class _Sizes(Collector):
    def __init__(self, cache: Cache, queue: Queue, events: EventRecorder) -> None:
        self._cache = cache
        self._gauges: tuple[tuple[str, str, Callable[[], float]], ...] = (
            ("moltbot_queue_depth", "Keys ready for a worker", lambda: queue.depth),
            ("moltbot_queue_delayed", "Keys that wait for their time", lambda: queue.delayed),
            ("moltbot_queue_retries", "Failed keys given a delay so far", lambda: queue.retries),
            ("moltbot_events_dropped", "Events over the rate bound or refused", lambda: events.dropped),
        )

    def collect(self) -> Iterable[GaugeMetricFamily]:
        for name, text, read in self._gauges:
            yield GaugeMetricFamily(name, text, value=read())
        held = GaugeMetricFamily("moltbot_cache_objects", "Objects in the cache", labels=["kind"])
        for kind in KINDS:
            if count := self._cache.count(kind):
                held.add_metric([kind.kind], count)
        yield held
