"""The whole static bootstrap."""

from moltbot_agent import calls
from moltbot_agent.attempts import PREFIX, histogram_settings
from moltbot_operator.compile.envoy import names
from moltbot_operator.compile.envoy.clusters import chained, clusters, drilled
from moltbot_operator.compile.envoy.leaving import leave_path, overload_manager
from moltbot_operator.compile.envoy.listeners import (
    bypass_listener,
    inner_listener,
    probe_listener,
    public_listener,
    ready_listener,
    worker_listener,
)
from moltbot_operator.compile.envoy.otlp import collector_clusters, collector_stats
from moltbot_operator.compile.envoy.proto import Json, extension
from moltbot_operator.compile.envoy.tokens import jwks_clusters
from moltbot_operator.compile.envoy.worker import hop_clusters
from moltbot_operator.compile.ir import Gateway

__all__ = ["bootstrap"]

_KEPT_PREFIXES = (f"http.{names.PUBLIC}.", f"{PREFIX}.", "server.", "cluster_manager.", "listener_manager.")
_KEPT_SUFFIXES = (
    ".upstream_cx_active",
    ".upstream_cx_connect_fail",
    ".upstream_cx_overflow",
    ".upstream_cx_total",
    ".upstream_rq_active",
    ".upstream_rq_pending_active",
    ".upstream_rq_pending_overflow",
    ".upstream_rq_per_try_timeout",
    ".upstream_rq_retry",
    ".upstream_rq_total",
    ".outlier_detection.ejections_active",
    ".outlier_detection.ejections_enforced_total",
)
"""Statistics worth their memory, most of them read by the agent; all of 1,000 backends are 41 MB a scrape."""

_RUNTIME = {"re2.max_program_size.error_level": 1_000_000, "re2.max_program_size.warn_level": 1_000_000}
"""Envoy refuses expressions of more than 100 instructions unless told otherwise; re2.py bounds users'."""


def bootstrap(gateway: Gateway) -> Json:
    """Envoy's configuration; the revision is not in it yet."""
    chains, drills = chained(gateway), drilled(gateway)
    every = [*chains.values(), *drills.values()]
    listeners = [
        public_listener(gateway, chains),
        ready_listener(gateway),
        probe_listener(gateway, chains, drills),
    ]
    if any(chain.inner for chain in every):
        listeners.append(inner_listener(gateway, every))
    if gateway.worked:
        listeners += [worker_listener(gateway, chains), bypass_listener(gateway, chains)]
    name = f"{gateway.namespace}/{gateway.route}"
    kept = [{"prefix": prefix} for prefix in (*_KEPT_PREFIXES, *collector_stats(gateway))] + [
        {"suffix": each} for each in _KEPT_SUFFIXES
    ]
    return {
        "node": {"id": name, "cluster": name, "metadata": {}},
        # what was counted is told at once, but latencies only after a flush: an analysis measures for seconds
        "stats_flush_interval": "1s",
        "admin": {
            "address": {"socket_address": {"address": "127.0.0.1", "port_value": gateway.files.admin_port}}
        },
        "static_resources": {
            "listeners": listeners,
            "clusters": [
                *clusters(gateway, every),
                *hop_clusters(gateway),
                *jwks_clusters(gateway),
                *collector_clusters(gateway),
            ],
        },
        "bootstrap_extensions": [
            extension(
                "envoy.bootstrap.internal_listener",
                "extensions.bootstrap.internal_listener.v3.InternalListener",
            )
        ],
        "overload_manager": overload_manager(leave_path(gateway.files.run)),
        "layered_runtime": {"layers": [{"name": "static", "static_layer": _RUNTIME}]},
        "stats_config": {
            "stats_matcher": {"inclusion_list": {"patterns": kept}},
            "histogram_bucket_settings": [*histogram_settings(), *calls.histogram_settings()],
        },
    }
