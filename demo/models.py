"""Simulated models as pods: a Deployment and a Service each, restricted like any other pod."""

from collections.abc import Sequence
from typing import Any

from cluster import PROVIDER_IMAGE

PORT = 8000
ADMIN_PORT = 8001

CONTAINER_SECURITY = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}
POD_SECURITY = {
    "runAsNonRoot": True,
    "runAsUser": 65532,
    "seccompProfile": {"type": "RuntimeDefault"},
}
RESOURCES = {"requests": {"cpu": "10m", "memory": "48Mi"}, "limits": {"memory": "256Mi"}}


def namespace(name: str) -> dict[str, Any]:
    """A namespace in which only restricted pods may run."""
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def pod_spec(
    name: str, args: Sequence[str], ports: Sequence[int] = (), image: str = PROVIDER_IMAGE
) -> dict[str, Any]:
    """A pod of one container that has neither rights nor a writable file system."""
    container: dict[str, Any] = {
        "name": name,
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "args": list(args),
        "ports": [{"containerPort": port} for port in ports],
        "resources": RESOURCES,
        "securityContext": CONTAINER_SECURITY,
    }
    if ADMIN_PORT in ports:
        probe = {"httpGet": {"path": "/healthz", "port": ADMIN_PORT}, "periodSeconds": 1}
        container["readinessProbe"] = probe
    return {
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": 1,
        "securityContext": POD_SECURITY,
        "containers": [container],
    }


def provider(name: str, where: str, args: Sequence[str] = ()) -> list[dict[str, Any]]:
    """A simulated model `name` (a DNS label) in the namespace `where`, answering at http://NAME.WHERE.svc:8000/v1."""
    labels = {"app.kubernetes.io/name": name, "app.kubernetes.io/component": "provider"}
    metadata = {"name": name, "namespace": where, "labels": labels}
    spec = pod_spec("provider", ["--name", name, *args], (PORT, ADMIN_PORT))
    template = {"metadata": {"labels": labels}, "spec": spec}
    return [
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": metadata,
            "spec": {"replicas": 1, "selector": {"matchLabels": labels}, "template": template},
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": metadata,
            "spec": {"selector": labels, "ports": [{"name": "http", "port": PORT, "targetPort": PORT}]},
        },
    ]
