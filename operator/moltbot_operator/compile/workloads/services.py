"""The two Services of a route: what clients call, and the way to the revision under way."""

from typing import Any

from moltbot_operator.api import GatewayService
from moltbot_operator.compile.workloads.identity import NO_REVISION, Manifest, Owner
from moltbot_operator.constants import PORT_GATEWAY

__all__ = ["active_service", "preview_service"]


def active_service(owner: Owner, service: GatewayService, revision: str | None) -> Manifest:
    """Selects `revision`; None before any serves: it has its address from the start, and no endpoint."""
    manifest = _service(owner, owner.name, service.port, revision)
    manifest["spec"]["type"] = str(service.type)
    if service.node_port is not None:
        manifest["spec"]["ports"][0]["nodePort"] = service.node_port
    if service.annotations:
        manifest["metadata"]["annotations"] = dict(service.annotations)
    return manifest


def preview_service(owner: Owner, service: GatewayService, revision: str | None) -> Manifest:
    """For tests from inside the cluster, so always a ClusterIP."""
    manifest = _service(owner, owner.preview, service.port, revision)
    manifest["spec"]["type"] = "ClusterIP"
    return manifest


def _service(owner: Owner, name: str, port: int, revision: str | None) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": owner.metadata(name),
        "spec": {
            "selector": owner.selector(revision or NO_REVISION),
            "sessionAffinity": "None",
            "ports": [{"name": "http", "port": port, "targetPort": PORT_GATEWAY, "protocol": "TCP"}],
        },
    }
