"""`/metrics`: our names, from what Envoy counts.

=======================================  =======  ===========================================================
`moltbot_requests_total`                 route,   answers to clients by class (`1xx` … `5xx`)
                                         code
`moltbot_requests_in_flight`             route    requests of clients
`moltbot_retries_total`                  route    attempts after the first of a request
`moltbot_attempts_total`                 route,   attempts that ended, by class of the backend's status;
                                         backend, `none` without an answer (refused, reset, timed out)
                                         code
`moltbot_request_success_ratio`          route,   attempts that the backend answered well, of those ended in
                                         backend  the last 5 minutes; absent without any. Not well: no answer,
                                                  5xx, 401, 403, 408, 429
`moltbot_concurrent_connections`         route,   open connections to the backend, idle ones included
                                         backend
`moltbot_concurrent_requests`            route,   attempts in flight at the backend
                                         backend
`moltbot_pending_requests`               route,   attempts that wait for a connection
                                         backend
`moltbot_model_load_latency_seconds`     route,   from an attempt's first byte sent to the first byte of its
                                         backend  answer; attempts without an answer are not in it
`gen_ai_server_request_duration_seconds` see      time of a call of a client, by `error_type`: a status, or
                                         below    `client_disconnected`; empty where all went well
`gen_ai_server_time_to_first_token_      see      of an attempt, from its request sent to the first
                                         below    byte of a good answer's body
seconds`                                 below
`gen_ai_client_token_usage`              see      tokens of a call, by `gen_ai_token_type`: `input`, `output`;
                                         below    where the gateway reads them (docs/audit.md)
`moltbot_consumer_requests_total`        route,   answers to a consumer by class, `none` if it left; the empty
                                         consumer consumer is nobody's key
                                         code
`moltbot_backend_ejected`                route,   1 while the circuit is open
                                         backend
`moltbot_backend_connect_failures_total` route,   connections that could not be made
                                         backend
`moltbot_backend_overflows_total`        route,   attempts refused since the backend's limits were reached
                                         backend
`moltbot_agent_envoy_up`                 route    1 where Envoy's admin interface answered this scrape
`moltbot_agent_credential_present`       route,   1 where Envoy holds a credential
                                         backend
`moltbot_agent_credential_expiry_        route,   seconds until the token that is sent expires; absent without
seconds` and `..._age_seconds`           backend  one. Since it was asked for
`moltbot_agent_tokens_total`             route,   attempts to get a token, by `outcome`: `success`, `failure`;
                                         backend, backends with the same token count the same attempts
                                         outcome
`moltbot_agent_problems`                 route    lines under `problems` in evidence
`moltbot_agent_file_writes_total` and    route    files for Envoy
`..._write_failures_total`
`moltbot_agent_info`                     route,   always 1
                                         revision
=======================================  =======  ===========================================================

`gen_ai_*` carry `route`, `backend` (that of the last attempt; empty if none was asked),
`gen_ai_operation_name` (`chat`, `embeddings` or `other`),
`gen_ai_provider_name` and `gen_ai_request_model` (the backend's `spec.model`, never what a client wrote).
`route` and `backend` are `namespace/name`; backends are those of the configuration only, so the number of
series is bounded. An attempt is counted when it ends, a stream's at the stream's end. Not exact: Envoy
keeps histograms in log-linear bins, so `_sum` of the latency is within a few per cent; buckets are exact at
their bounds. Connections are not split by route within a pod, since a gateway serves one route.
"""

import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from typing import Final

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from moltbot_agent.admin import Admin
from moltbot_agent.attempts import PREFIX, parse
from moltbot_agent.calls import families
from moltbot_agent.clock import boot
from moltbot_agent.config import AgentConfig
from moltbot_agent.deliveries import Deliveries
from moltbot_agent.errors import AdminUnavailable

__all__ = ["Metrics", "SuccessRatio"]

WINDOW: Final = timedelta(minutes=5)
"""What the success ratio looks back on."""

_GAUGES: Final = {
    "moltbot_concurrent_connections": ("upstream_cx_active", "Open connections to the backend"),
    "moltbot_concurrent_requests": ("upstream_rq_active", "Attempts in flight at the backend"),
    "moltbot_pending_requests": ("upstream_rq_pending_active", "Attempts that wait for a connection"),
    "moltbot_backend_ejected": ("outlier_detection.ejections_active", "1 while the circuit is open"),
}
_COUNTERS: Final = {
    "moltbot_backend_connect_failures": ("upstream_cx_connect_fail", "Connections that could not be made"),
    "moltbot_backend_overflows": ("upstream_rq_pending_overflow", "Attempts refused at the backend's limits"),
}
_CLASSES: Final = ("1xx", "2xx", "3xx", "4xx", "5xx")
_BACKEND: Final = ("route", "backend")


class SuccessRatio:
    """Share of attempts that ended well within the last :data:`WINDOW`, from counters seen at scrapes."""

    def __init__(self, window: timedelta = WINDOW) -> None:
        self._window = window.total_seconds()
        self._seen: deque[tuple[float, Mapping[str, tuple[int, int]]]] = deque([(float("-inf"), {})])

    def observe(self, now: float, totals: Mapping[str, tuple[int, int]]) -> dict[str, float]:
        """`totals`: backend → (ended well, ended) since Envoy's start; `now` in seconds.

        Compares with the youngest observation that is older than the window (or the beginning, all zero).
        """
        while len(self._seen) > 1 and self._seen[1][0] <= now - self._window:
            self._seen.popleft()
        if any(totals.get(name, (0, 0))[1] < ended for name, (_, ended) in self._seen[-1][1].items()):
            self._seen = deque([(float("-inf"), {})])  # Envoy started again: its counters began at zero
        base = self._seen[0][1]
        ratios = {}
        for name, (well, ended) in totals.items():
            well_before, ended_before = base.get(name, (0, 0))
            if ended > ended_before:
                ratios[name] = (well - well_before) / (ended - ended_before)
        if now - self._seen[-1][0] >= self._window / 60:  # at most 61 observations are kept
            self._seen.append((now, dict(totals)))
        return ratios


class Metrics(Collector):
    """Collects at each scrape; a scrape that finds no Envoy still tells of the agent."""

    def __init__(
        self,
        config: AgentConfig,
        deliveries: Deliveries,
        admin: Admin,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._config = config
        self._deliveries = deliveries
        self._admin = admin
        self._clock = clock
        self._route = f"{config.namespace}/{config.route}"
        self._backends = sorted(set(config.clusters.values()))
        self._ratio = SuccessRatio()
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)
        ProcessCollector(registry=self._registry)

    def exposition(self) -> bytes:
        """The text format, version 0.0.4. Blocks while Envoy answers."""
        return generate_latest(self._registry)

    def collect(self) -> Iterable[Metric]:
        """Families of one scrape."""
        yield from self._agent()
        try:
            stats = self._admin.stats(self._pattern())
            logged = self._admin.prometheus(rf"^{PREFIX}\.")
        except AdminUnavailable:
            yield self._one("moltbot_agent_envoy_up", "1 where Envoy's admin interface answered", 0)
            return
        yield self._one("moltbot_agent_envoy_up", "1 where Envoy's admin interface answered", 1)
        yield from self._requests(stats)
        yield from self._connections(stats)
        yield from self._attempts(logged)
        config = self._config
        yield from families(logged, self._route, config.namespace, config.served, config.consumer_names)

    def _pattern(self) -> str:
        endings = [ending.replace(".", r"\.") for ending, _ in (*_GAUGES.values(), *_COUNTERS.values())]
        return (
            rf"^http\.{self._config.stat_prefix}\.downstream_rq_(\dxx|active)$"
            rf"|^cluster\..*\.({'|'.join(endings)}|upstream_rq_retry)$"
        )

    def _one(self, name: str, text: str, value: float) -> Metric:
        family = GaugeMetricFamily(name, text, labels=["route"])
        family.add_metric([self._route], value)
        return family

    def _agent(self) -> Iterable[Metric]:
        info = GaugeMetricFamily("moltbot_agent_info", "The agent's revision", labels=["route", "revision"])
        info.add_metric([self._route, self._config.revision], 1)
        yield info
        present = GaugeMetricFamily(
            "moltbot_agent_credential_present", "1 where Envoy holds a credential", labels=_BACKEND
        )
        for state in self._deliveries.credentials:
            present.add_metric([self._route, state.credential.backend], state.value is not None)
        yield present
        yield from self._tokens()
        yield self._one("moltbot_agent_problems", "Problems in evidence", len(self._deliveries.problems))
        for name, value in (
            ("moltbot_agent_file_writes", self._deliveries.writes),
            ("moltbot_agent_file_write_failures", self._deliveries.write_failures),
        ):
            counter = CounterMetricFamily(name, "Files written for Envoy, or failed", labels=["route"])
            counter.add_metric([self._route], value)
            yield counter

    def _tokens(self) -> Iterable[Metric]:
        expiry = GaugeMetricFamily(
            "moltbot_agent_credential_expiry_seconds", "Until the token expires", labels=_BACKEND
        )
        age = GaugeMetricFamily(
            "moltbot_agent_credential_age_seconds", "Since the token was asked for", labels=_BACKEND
        )
        attempts = CounterMetricFamily(
            "moltbot_agent_tokens", "Attempts to get a token", labels=[*_BACKEND, "outcome"]
        )
        now = boot()
        for issuance in self._deliveries.issuances:
            token = issuance.token
            for backend in issuance.backends:
                if token is not None:
                    expiry.add_metric([self._route, backend], max(0.0, token.expires - now))
                    age.add_metric([self._route, backend], now - token.issued)
                attempts.add_metric([self._route, backend, "success"], issuance.succeeded)
                attempts.add_metric([self._route, backend, "failure"], issuance.failed)
        if self._deliveries.issuances:
            yield from (expiry, age, attempts)

    def _requests(self, stats: Mapping[str, int]) -> Iterable[Metric]:
        prefix = f"http.{self._config.stat_prefix}.downstream_rq_"
        requests = CounterMetricFamily("moltbot_requests", "Answers to clients", labels=["route", "code"])
        for code in _CLASSES:
            requests.add_metric([self._route, code], stats.get(f"{prefix}{code}", 0))
        yield requests
        yield self._one("moltbot_requests_in_flight", "Requests of clients", stats.get(f"{prefix}active", 0))
        retries = CounterMetricFamily("moltbot_retries", "Attempts after the first", labels=["route"])
        retried = sum(value for name, value in stats.items() if name.endswith(".upstream_rq_retry"))
        retries.add_metric([self._route], retried)
        yield retries

    def _connections(self, stats: Mapping[str, int]) -> Iterable[Metric]:
        def total(backend: str, ending: str) -> int:
            clusters = (name for name, served in self._config.clusters.items() if served == backend)
            return sum(stats.get(f"cluster.{name}.{ending}", 0) for name in clusters)

        for name, (ending, text) in _GAUGES.items():
            gauge = GaugeMetricFamily(name, text, labels=_BACKEND)
            for backend in self._backends:
                gauge.add_metric([self._route, backend], total(backend, ending))
            yield gauge
        for name, (ending, text) in _COUNTERS.items():
            counter = CounterMetricFamily(name, text, labels=_BACKEND)
            for backend in self._backends:
                counter.add_metric([self._route, backend], total(backend, ending))
            yield counter

    def _attempts(self, logged: str) -> Iterable[Metric]:
        attempts = CounterMetricFamily("moltbot_attempts", "Attempts that ended", labels=[*_BACKEND, "code"])
        latency = HistogramMetricFamily(
            "moltbot_model_load_latency_seconds", "From request sent to first byte", labels=_BACKEND
        )
        ratio = GaugeMetricFamily(
            "moltbot_request_success_ratio", "Attempts answered well, last 5 minutes", labels=_BACKEND
        )
        found = parse(logged, self._backends, self._config.namespace)
        totals = {backend: (counted.well, counted.ended) for backend, counted in found.items()}
        ratios = self._ratio.observe(self._clock(), totals)
        for backend, counted in found.items():
            for code in (*_CLASSES, "none"):
                attempts.add_metric([self._route, backend, code], counted.codes.get(code, 0))
            if counted.buckets:
                latency.add_metric([self._route, backend], counted.buckets, counted.seconds)
            if backend in ratios:
                ratio.add_metric([self._route, backend], ratios[backend])
        yield from (attempts, latency, ratio)
