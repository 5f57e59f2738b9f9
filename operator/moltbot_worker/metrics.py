"""`/metrics` of a worker.

===============================================  ==========  ================================================
`moltbot_worker_in_flight`                                   requests and jobs at the moment
`moltbot_worker_requests_total`                  rule, code  by class (`2xx`), `left`, `broken`
`moltbot_worker_request_duration_seconds`        rule        from the request's head to the answer's end
`moltbot_worker_cache_total`                     rule,       `hit`, `stale`, `miss`, `bypass`
                                                 result
`moltbot_worker_coalesced_total`                 rule        requests that another one's call answered
`moltbot_worker_batched_total`                   rule        requests that shared a call for embeddings
`moltbot_worker_upstream_calls_total`            rule        calls to the gateway
`moltbot_worker_stream_failures_total`           rule, kind  streams that broke: `late`, `stall`, `cut`,
                                                             `broken`, `end`, `error`, `refused`
`moltbot_worker_stream_rescued_total`            rule        of them, those that went on elsewhere
`moltbot_worker_rejected_total`                  why         `busy`, `draining`, `key`, `too_large`, `queue`
`moltbot_worker_jobs_total`                      queue,      `queued`, `succeeded`, `failed`, `cancelled`,
                                                 outcome     `dead`, `retried`
`moltbot_worker_webhooks_total`                  outcome     `delivered`, `retried`, `given_up`
`moltbot_worker_queue_depth`                     queue       jobs that wait or run, of all workers
`moltbot_worker_queue_age_seconds`               queue       age of the oldest of them; 0 if there is none
`moltbot_worker_warm_up_total`                   outcome     templates: `warm`, `failed`, `left_out`
`moltbot_worker_store_failures_total`                        operations of the store that failed
`moltbot_worker_store_up`                                    0 while the store counts as away
`moltbot_worker_info`                            revision    always 1
===============================================  ==========  ================================================

Queue figures are absent while the store is away: no data, and not zero.
"""

from collections.abc import Iterable
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

__all__ = ["Metrics"]

_SECONDS: Final = (0.005, 0.02, 0.05, 0.1, 0.3, 0.5, 1, 2, 5, 10, 30, 60, 120, 300)


class Metrics:
    """Every instrument of one process."""

    def __init__(self, revision: str) -> None:
        self.registry = CollectorRegistry(auto_describe=False)
        ProcessCollector(registry=self.registry)
        self.in_flight = Gauge("moltbot_worker_in_flight", "Requests and jobs", registry=self.registry)
        self.requests = self._counter("requests", "Answers by class", "rule", "code")
        self.duration = Histogram(
            "moltbot_worker_request_duration_seconds",
            "From the request's head to the answer's end",
            ["rule"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.cache = self._counter("cache", "Answers by what the cache gave", "rule", "result")
        self.coalesced = self._counter("coalesced", "Requests answered by another one's call", "rule")
        self.batched = self._counter("batched", "Requests that shared a call for embeddings", "rule")
        self.calls = self._counter("upstream_calls", "Calls to the gateway", "rule")
        self.stream_failures = self._counter("stream_failures", "Streams that broke", "rule", "kind")
        self.rescued = self._counter("stream_rescued", "Broken streams that went on elsewhere", "rule")
        self.rejected = self._counter("rejected", "Requests that were not taken", "why")
        self.jobs = self._counter("jobs", "Jobs by what came of them", "queue", "outcome")
        self.webhooks = self._counter("webhooks", "Tries to tell a webhook", "outcome")
        self.warm_up = self._counter("warm_up", "Templates", "outcome")
        self.store_failures = self._counter("store_failures", "Operations of the store that failed")
        self.store_up = Gauge("moltbot_worker_store_up", "0 while the store is away", registry=self.registry)
        self.store_up.set(1)
        self.backlog: dict[str, tuple[int, float]] = {}
        """Depth and age in seconds by queue; empty while they are not known."""
        Gauge("moltbot_worker_info", "The revision", ["revision"], registry=self.registry).labels(
            revision
        ).set(1)
        self.registry.register(_Backlog(self))

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"moltbot_worker_{name}", text, labels, registry=self.registry)

    def exposition(self) -> bytes:
        """The text format, version 0.0.4."""
        return generate_latest(self.registry)


class _Backlog(Collector):
    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        depth = GaugeMetricFamily("moltbot_worker_queue_depth", "Jobs that wait or run", labels=["queue"])
        age = GaugeMetricFamily("moltbot_worker_queue_age_seconds", "Age of the oldest", labels=["queue"])
        for queue, (count, seconds) in self._metrics.backlog.items():
            depth.add_metric([queue], count)
            age.add_metric([queue], seconds)
        yield depth
        yield age
