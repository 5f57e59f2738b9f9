"""What gateway and worker pods have in common: image, user, security, spread."""

from dataclasses import dataclass
from typing import Any, Literal

__all__ = ["USER", "Image", "PullPolicy", "pod_security", "restricted", "spread"]

PullPolicy = Literal["Always", "IfNotPresent", "Never"]

USER = 65532
"""User and group of all processes, the image's own."""


@dataclass(frozen=True)
class Image:
    """The image of the pods (agent, Envoy and worker are in one), and when nodes pull it."""

    name: str
    pull_policy: PullPolicy = "IfNotPresent"


def pod_security() -> dict[str, Any]:
    """`securityContext` of a pod."""
    return {
        "runAsNonRoot": True,
        "runAsUser": USER,
        "runAsGroup": USER,
        "fsGroup": USER,
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def restricted() -> dict[str, Any]:
    """What the restricted Pod Security Standard asks of a container, and a read-only root besides."""
    return {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
    }


def spread(selector: dict[str, str]) -> dict[str, Any]:
    """Over nodes, where that is possible."""
    return {
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": selector},
    }
