"""The whole static bootstrap."""

from moltbot_agent.attempts import PREFIX, histogram_settings

from moltbot_operator.compile.envoy import names
from moltbot_operator.compile.envoy.clusters import chained, clusters
from moltbot_operator.compile.envoy.listeners import inner_listener, public_listener, ready_listener
from moltbot_operator.compile.envoy.proto import Json, extension
from moltbot_operator.compile.ir import Gateway

__all__ = ["bootstrap"]

_KEPT = (
    f"http.{names.PUBLIC}.",
    f"{PREFIX}.",
    "server.",
    "cluster_manager.",
    "listener_manager.",
    "cluster.up_",
)
"""Statistics worth their memory: 1,000 backends make 41 MB a scrape of them all."""

_RUNTIME = {"re2.max_program_size.error_level": 1_000_000, "re2.max_program_size.warn_level": 1_000_000}
"""Envoy refuses expressions of more than 100 instructions unless told otherwise; the planner bounds what users write."""


def bootstrap(gateway: Gateway) -> Json:
    """Envoy's configuration; the revision is not in it yet."""
    chains = chained(gateway)
    attempts: dict[str, int] = {}
    for rule in gateway.rules:
        for choice in rule.choices:
            label = choice.chain.label
            attempts[label] = max(attempts.get(label, 0), 1 + rule.retry.retries)
    listeners = [public_listener(gateway, chains), ready_listener(gateway)]
    if any(chain.inner for chain in chains.values()):
        listeners.append(inner_listener(chains))
    name = f"{gateway.namespace}/{gateway.route}"
    return {
        "node": {"id": name, "cluster": name, "metadata": {}},
        "admin": {
            "address": {"socket_address": {"address": "127.0.0.1", "port_value": gateway.files.admin_port}}
        },
        "static_resources": {"listeners": listeners, "clusters": clusters(gateway, chains, attempts)},
        "bootstrap_extensions": [
            extension(
                "envoy.bootstrap.internal_listener",
                "extensions.bootstrap.internal_listener.v3.InternalListener",
            )
        ],
        "layered_runtime": {"layers": [{"name": "static", "static_layer": _RUNTIME}]},
        "stats_config": {
            "stats_matcher": {"inclusion_list": {"patterns": [{"prefix": prefix} for prefix in _KEPT]}},
            "histogram_bucket_settings": histogram_settings(),
        },
    }
