"""What a revision's workers are made of: configuration, secret, Services, Deployment and what guards them.

The Deployment's number of replicas is not in it: only the scaler writes that (reconcile/scaling).
"""

from base64 import b64encode
from typing import Any, Final

from moltbot_operator.compile.result import CompiledRoute, Mount
from moltbot_operator.compile.worker_secret import KEY_FILE, WEBHOOK_FILE, worker_secret
from moltbot_operator.compile.workloads.evidence import TOKEN_KEY
from moltbot_operator.compile.workloads.identity import Manifest, Owner
from moltbot_operator.compile.workloads.network import worker_network_policy
from moltbot_operator.compile.workloads.pod_parts import Image, pod_security, restricted, spread
from moltbot_operator.compile.workloads.volumes import FILE_MODE, own_secret, shared_secret
from moltbot_operator.constants import (
    COMPONENT_WORKER,
    DIR_STORE,
    DIR_TEMPLATES,
    DIR_WORKER,
    DIR_WORKER_SECRET,
    PORT_CALLS,
    PORT_EVIDENCE,
    PORT_METRICS,
    PORT_WORKER,
)
from moltbot_worker.config import WorkerConfig

__all__ = ["CPU_REQUEST", "worker_manifests", "worker_template"]

CPU_REQUEST: Final = 0.1
"""Cores that a worker requests: 100 percent for the measure CPU."""

_RESOURCES: Final = {"requests": {"cpu": "100m", "memory": "96Mi"}}

_GRACE_SECONDS: Final = 60
"""How long a worker may take to end: it goes on serving for a moment, then requests in flight end."""

_OF_WORKERS: Final = (KEY_FILE, WEBHOOK_FILE)


def worker_template(owner: Owner, compiled: CompiledRoute, image: Image) -> dict[str, Any]:
    """The pod template; empty where no rule needs a worker."""
    if compiled.worker is None:
        return {}
    labels = owner.labels(compiled.revision, COMPONENT_WORKER)
    return {
        "metadata": {"labels": labels},
        "spec": {
            "serviceAccountName": owner.gateway,
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "restartPolicy": "Always",
            "terminationGracePeriodSeconds": _GRACE_SECONDS,
            "securityContext": pod_security(),
            "topologySpreadConstraints": [spread(owner.worker_selector(compiled.revision))],
            "containers": [_container(compiled, image)],
            "volumes": _volumes(owner, compiled),
        },
    }


def _container(compiled: CompiledRoute, image: Image) -> dict[str, Any]:
    def asked(path: str) -> dict[str, Any]:
        return {"httpGet": {"path": path, "port": PORT_METRICS, "scheme": "HTTP"}, "timeoutSeconds": 2}

    return {
        "name": "worker",
        "image": image.name,
        "imagePullPolicy": image.pull_policy,
        "command": ["python", "-m", "moltbot_worker", "--config", f"{DIR_WORKER}/worker.json"],
        "ports": [
            {"name": "http", "containerPort": PORT_WORKER, "protocol": "TCP"},
            {"name": "metrics", "containerPort": PORT_METRICS, "protocol": "TCP"},
            {"name": "evidence", "containerPort": PORT_EVIDENCE, "protocol": "TCP"},
        ],
        "startupProbe": {**asked("/healthz"), "periodSeconds": 1, "failureThreshold": 60},
        "readinessProbe": {**asked("/readyz"), "periodSeconds": 2, "failureThreshold": 2},
        "livenessProbe": {**asked("/healthz"), "periodSeconds": 10, "failureThreshold": 3},
        "resources": _RESOURCES,
        "securityContext": restricted(),
        "volumeMounts": _mounts(compiled.worker_mounts),
    }


def _mounts(mounts: tuple[Mount, ...]) -> list[dict[str, Any]]:
    purposes = {mount.purpose for mount in mounts}
    paths = [("config", DIR_WORKER), ("secret", DIR_WORKER_SECRET), ("evidence", "/etc/moltbot/evidence")]
    if "store" in purposes:
        paths.append(("store", DIR_STORE))
    paths += [(name, f"{DIR_TEMPLATES}/{mount.folder}") for name, mount in _templates(mounts)]
    read_only = [{"name": name, "mountPath": path, "readOnly": True} for name, path in paths]
    return [*read_only, {"name": "tmp", "mountPath": "/tmp"}]  # noqa: S108 - the pod's own


def _volumes(owner: Owner, compiled: CompiledRoute) -> list[dict[str, Any]]:
    """A missing Secret or ConfigMap leaves features out, not the pod unstarted."""
    name = owner.worker(compiled.revision)
    found: list[dict[str, Any]] = [
        {"name": "config", "configMap": {"name": name, "defaultMode": FILE_MODE}},
        shared_secret(name, _OF_WORKERS, "secret"),
        own_secret(owner, "evidence", TOKEN_KEY),
    ]
    for mount in compiled.worker_mounts:
        if mount.purpose == "store":
            items = [{"key": mount.key, "path": mount.path}]
            secret = {"secretName": mount.name, "items": items, "defaultMode": FILE_MODE, "optional": True}
            found.append({"name": "store", "secret": secret})
    found += [
        {"name": volume, "configMap": {"name": mount.name, "defaultMode": FILE_MODE, "optional": True}}
        for volume, mount in _templates(compiled.worker_mounts)
    ]
    return [*found, {"name": "tmp", "emptyDir": {"medium": "Memory", "sizeLimit": "16Mi"}}]


def _templates(mounts: tuple[Mount, ...]) -> list[tuple[str, Mount]]:
    templates = [mount for mount in mounts if mount.purpose == "templates"]
    return [(f"templates-{number}", mount) for number, mount in enumerate(templates)]


def worker_manifests(
    owner: Owner,
    config: WorkerConfig | None,
    template: dict[str, Any],
    *,
    token: str,
    operator_namespace: str,
) -> list[Manifest]:
    """All of them, but the Deployment's replicas; none where no rule needs a worker.

    `token`: the route's random text, from which the shared secret is derived.
    """
    if config is None:
        return []
    revision = config.revision
    meta = owner.metadata(owner.worker(revision), revision, component=COMPONENT_WORKER)
    secret = worker_secret(token, revision)
    return [
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": meta,
            "immutable": True,
            "data": {"worker.json": config.model_dump_json(by_alias=True)},
        },
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": meta,
            "type": "Opaque",
            "data": {name: b64encode(value.encode()).decode() for name, value in secret.items()},
        },
        _service(meta, owner.worker_selector(revision), PORT_WORKER, headless=True),
        _service(
            owner.metadata(owner.calls(revision), revision, component=COMPONENT_WORKER),
            owner.selector(revision),
            PORT_CALLS,
            headless=False,
        ),
        worker_network_policy(owner, revision, operator_namespace),
        {
            "apiVersion": "policy/v1",
            "kind": "PodDisruptionBudget",
            "metadata": meta,
            "spec": {
                "maxUnavailable": 1,
                "selector": {"matchLabels": owner.worker_selector(revision)},
                "unhealthyPodEvictionPolicy": "AlwaysAllow",
            },
        },
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": meta,
            "spec": {
                "paused": False,
                "progressDeadlineSeconds": 600,
                "revisionHistoryLimit": 1,
                "selector": {"matchLabels": owner.worker_selector(revision)},
                "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
                "template": template,
            },
        },
    ]


def _service(meta: dict[str, Any], selector: dict[str, str], port: int, *, headless: bool) -> Manifest:
    """Headless, so that the gateway knows each worker; for the way back one address is enough."""
    spec: dict[str, Any] = {
        "type": "ClusterIP",
        "selector": selector,
        "sessionAffinity": "None",
        "ports": [{"name": "http", "port": port, "targetPort": port, "protocol": "TCP"}],
    }
    if headless:
        spec["clusterIP"] = "None"
    return {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": spec}
