"""The name of a revision, put where gateway and workers carry it.

It follows from the content, so the content is made without it. Gateway and workers of one revision find each
other by Services whose names hold it: :data:`WORKERS` and :data:`CALLS` say how they are called.
"""

from collections.abc import Mapping
from typing import Any, Final

from moltbot_agent.config import AgentConfig
from moltbot_operator.compile.envoy import names
from moltbot_operator.compile.sources import Files
from moltbot_worker.config import WorkerConfig

__all__ = ["CALLS", "WORKERS", "of_revision", "worker_of_revision"]

WORKERS: Final = "{route}-worker-{revision}"
"""Service of a revision's workers (and their Deployment)."""

CALLS: Final = "{route}-gw-{revision}"
"""Service of a revision's gateway pods, which its workers call."""


def of_revision(
    agent: AgentConfig, envoy: Mapping[str, Any], files: Files, revision: str
) -> tuple[AgentConfig, dict[str, Any]]:
    """The agent's and Envoy's configuration under this name."""
    node = {**envoy["node"], "metadata": {**envoy["node"].get("metadata", {}), "revision": revision}}
    named = {**envoy, "node": node}
    static = envoy.get("static_resources", {})
    clusters = static.get("clusters", [])
    if not files.worker.addresses and any(each["name"] == names.WORKER for each in clusters):
        host = _host(WORKERS, agent.route, agent.namespace, revision)
        moved = [_at(each, host) if each["name"] == names.WORKER else each for each in clusters]
        named["static_resources"] = {**static, "clusters": moved}
    return agent.model_copy(update={"revision": revision}), named


def worker_of_revision(config: WorkerConfig | None, files: Files, revision: str) -> WorkerConfig | None:
    """The workers' configuration under this name."""
    if config is None:
        return None
    port = files.worker.listen_port
    url = files.worker.calls or f"http://{_host(CALLS, config.route, config.namespace, revision)}:{port}"
    calls = config.gateway.model_copy(update={"url": url})
    return config.model_copy(update={"revision": revision, "gateway": calls})


def _host(service: str, route: str, namespace: str, revision: str) -> str:
    """As Pods resolve it whatever the cluster's domain is."""
    return f"{service.format(route=route, revision=revision)}.{namespace}.svc"


def _at(cluster: Mapping[str, Any], host: str) -> dict[str, Any]:
    """The cluster of workers with its one endpoint at `host`."""
    [group] = cluster["load_assignment"]["endpoints"]
    [entry] = group["lb_endpoints"]
    socket = {**entry["endpoint"]["address"]["socket_address"], "address": host}
    endpoint = {**entry["endpoint"], "address": {"socket_address": socket}}
    assignment = {
        **cluster["load_assignment"],
        "endpoints": [{**group, "lb_endpoints": [{**entry, "endpoint": endpoint}]}],
    }
    return {**cluster, "load_assignment": assignment}
