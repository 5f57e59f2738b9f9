"""The pod template of the gateway: Envoy, and the agent beside it as a native sidecar.

The agent starts first (it writes what Envoy starts from) and ends last (it drains Envoy): that is what a
native sidecar is, an init container with `restartPolicy: Always` (Kubernetes 1.29).
"""

from collections.abc import Sequence
from typing import Any

from moltbot_operator.api import Gateway, Resources
from moltbot_operator.compile.result import CompiledRoute, Mount
from moltbot_operator.compile.workloads.identity import Owner
from moltbot_operator.compile.workloads.overlay import merge_pod_template, protect
from moltbot_operator.compile.workloads.pod_parts import Image, pod_security, restricted, spread
from moltbot_operator.compile.workloads.volumes import agent_mounts, envoy_mounts, volumes
from moltbot_operator.constants import (
    DIR_CONFIG,
    PORT_CALLS,
    PORT_EVIDENCE,
    PORT_GATEWAY,
    PORT_METRICS,
    PORT_PROBE,
    PORT_READY,
)

__all__ = ["pod_template"]

GRACE_SECONDS = 330
"""How long a pod may take to end: the agent's drain deadline of 300 s and what follows it."""

AGENT_RESOURCES = {"requests": {"cpu": "10m", "memory": "80Mi"}}
ENVOY_RESOURCES = {"requests": {"cpu": "100m", "memory": "128Mi"}}


def pod_template(
    owner: Owner, gateway: Gateway, compiled: CompiledRoute, image: Image
) -> tuple[dict[str, Any], list[str]]:
    """The template, and the dotted paths of `gateway.podTemplate` that are protected and so left out."""
    ours: dict[str, Any] = {
        "metadata": {"labels": owner.labels(compiled.revision)},
        "spec": {
            "serviceAccountName": owner.gateway,
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            # The kernel drops a SIGTERM that the first process of a namespace does not handle yet: a pod
            # deleted while its agent starts would stay for the whole grace period. So the first process is
            # the pod's own.
            "shareProcessNamespace": True,
            "restartPolicy": "Always",
            "terminationGracePeriodSeconds": GRACE_SECONDS,
            "securityContext": pod_security(),
            "topologySpreadConstraints": [spread(owner.selector(compiled.revision))],
            "initContainers": [_agent(image, compiled.mounts)],
            "containers": [_envoy(image, compiled, gateway.resources)],
            "volumes": volumes(owner, compiled),
        },
    }
    overlay, ignored = protect(gateway.pod_template.model_dump(by_alias=True), ours)
    return merge_pod_template(ours, overlay), ignored


def _agent(image: Image, mounts: Sequence[Mount]) -> dict[str, Any]:
    healthy = {"httpGet": {"path": "/healthz", "port": PORT_METRICS, "scheme": "HTTP"}}
    return {
        "name": "agent",
        "image": image.name,
        "imagePullPolicy": image.pull_policy,
        "restartPolicy": "Always",
        # The supervisor stands in for a liveness probe: ending the container would make the pod NotReady.
        "command": ["python", "-m", "moltbot_agent.supervisor", "--config", DIR_CONFIG],
        "ports": [
            {"name": "metrics", "containerPort": PORT_METRICS, "protocol": "TCP"},
            {"name": "evidence", "containerPort": PORT_EVIDENCE, "protocol": "TCP"},
        ],
        "startupProbe": {**healthy, "periodSeconds": 1, "timeoutSeconds": 2, "failureThreshold": 60},
        "resources": AGENT_RESOURCES,
        "securityContext": restricted(),
        "volumeMounts": agent_mounts(mounts),
    }


def _envoy(image: Image, compiled: CompiledRoute, resources: Resources) -> dict[str, Any]:
    ports = [
        {"name": "http", "containerPort": PORT_GATEWAY, "protocol": "TCP"},
        {"name": "probe", "containerPort": PORT_PROBE, "protocol": "TCP"},
    ]
    if compiled.worker is not None:
        ports.append({"name": "calls", "containerPort": PORT_CALLS, "protocol": "TCP"})
    return {
        "name": "envoy",
        "image": image.name,
        "imagePullPolicy": image.pull_policy,
        "command": ["python", "-m", "moltbot_agent.envoy", "--bootstrap", str(compiled.agent.bootstrap)],
        "ports": ports,
        "readinessProbe": {
            "httpGet": {"path": "/ready", "port": PORT_READY, "scheme": "HTTP"},
            "periodSeconds": 2,
            "timeoutSeconds": 2,
            "failureThreshold": 2,
        },
        "lifecycle": {"preStop": {"exec": {"command": ["python", "-m", "moltbot_agent.drain"]}}},
        "resources": _given(resources) or ENVOY_RESOURCES,
        "securityContext": restricted(),
        "volumeMounts": envoy_mounts(compiled),
    }


def _given(resources: Resources) -> dict[str, Any]:
    """What the user wrote, without the halves that are empty."""
    return {half: values for half, values in resources.model_dump(by_alias=True).items() if values}
