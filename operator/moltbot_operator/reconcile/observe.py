"""What revisions of a route there are, and how their pods are."""

import asyncio
from collections.abc import Collection
from typing import Any

from moltbot_operator.compile.workloads import Owner
from moltbot_operator.constants import COMPONENT_WORKER, LABEL_COMPONENT, LABEL_REVISION
from moltbot_operator.kube.cache import Cache
from moltbot_operator.kube.cluster import Manifest
from moltbot_operator.kube.kinds import CONFIG_MAP, DEPLOYMENT, POD, Kind
from moltbot_operator.reconcile.apply import owned
from moltbot_operator.reconcile.evidence import EvidenceReader, EvidenceUnavailable, flaw_of
from moltbot_operator.rollout import Observed

__all__ = ["observe", "of_revision", "ready_pods"]


def of_revision(cache: Cache, owner: Owner, kind: Kind, revision: str) -> list[Manifest]:
    """Objects of a kind that belong to a revision of the route."""
    return [
        manifest
        for manifest in cache.owned_by(owner.namespace, owner.name, kind)
        if _revision(manifest) == revision and owned(owner, manifest)
    ]


async def observe(
    cache: Cache, owner: Owner, evidence: EvidenceReader, token: str, asked: Collection[str | None]
) -> dict[str, Observed]:
    """Every revision that has a Deployment or configuration; evidence is read only for those in `asked`."""
    found = {
        _revision(manifest)
        for kind in (DEPLOYMENT, CONFIG_MAP)
        for manifest in cache.owned_by(owner.namespace, owner.name, kind)
        if owned(owner, manifest)
    }
    names = sorted(found - {""})
    seen = await asyncio.gather(
        *(_observe(cache, owner, name, evidence if name in asked else None, token) for name in names)
    )
    return dict(zip(names, seen, strict=True))


def ready_pods(cache: Cache, owner: Owner, revision: str) -> list[Manifest]:
    """Pods of a revision that Kubernetes calls Ready, not counting those that end."""
    return [pod for pod in _pods(cache, owner, revision) if _ready(pod)]


def _pods(cache: Cache, owner: Owner, revision: str) -> list[Manifest]:
    return [
        pod
        for pod in cache.owned_by(owner.namespace, owner.name, POD)
        if _revision(pod) == revision
        and not _is_workers(pod)
        and not pod["metadata"].get("deletionTimestamp")
    ]


async def _observe(
    cache: Cache, owner: Owner, revision: str, evidence: EvidenceReader | None, token: str
) -> Observed:
    every = of_revision(cache, owner, DEPLOYMENT, revision)
    deployments = [each for each in every if not _is_workers(each)]
    workers = [each for each in every if _is_workers(each)]
    pods = _pods(cache, owner, revision)
    ready = [pod for pod in pods if _ready(pod)]
    troubles = [_failure(deployment) for deployment in deployments]
    troubles += [_waiting(pod) for pod in pods if not _ready(pod)]
    flaws: list[str] = []
    if evidence:
        flaws = await asyncio.gather(*(_flaw(evidence, pod, token, revision) for pod in ready))
        troubles += flaws
    troubles += [_missing(each) for each in workers]
    return Observed(
        replicas=sum((deployment.get("spec") or {}).get("replicas", 0) for deployment in deployments),
        ready=len(ready),
        reporting=sum(1 for flaw in flaws if not flaw),
        trouble=next((trouble for trouble in troubles if trouble), ""),
        workers=not any(_missing(each) for each in workers),
    )


async def _flaw(evidence: EvidenceReader, pod: Manifest, token: str, revision: str) -> str:
    try:
        flaw = flaw_of(await evidence.read(pod, token), revision)
    except EvidenceUnavailable as error:
        flaw = str(error)
    return f"pod {pod['metadata']['name']}: {flaw}" if flaw else ""


def _revision(manifest: Manifest) -> str:
    return str((manifest["metadata"].get("labels") or {}).get(LABEL_REVISION, ""))


def _is_workers(manifest: Manifest) -> bool:
    return (manifest["metadata"].get("labels") or {}).get(LABEL_COMPONENT) == COMPONENT_WORKER


def _missing(deployment: Manifest) -> str:
    """Why a revision's workers are not all ready; empty if they are."""
    wanted = (deployment.get("spec") or {}).get("replicas", 1)
    ready = (deployment.get("status") or {}).get("readyReplicas", 0)
    if ready >= wanted:
        return ""
    return _failure(deployment) or f"{ready} of {wanted} workers are ready"


def _ready(pod: Manifest) -> bool:
    conditions = (pod.get("status") or {}).get("conditions") or []
    return any(c.get("type") == "Ready" and c.get("status") == "True" for c in conditions)


def _failure(deployment: Manifest) -> str:
    """Why the Deployment can't make pods: quota, admission."""
    for condition in (deployment.get("status") or {}).get("conditions") or []:
        if condition.get("type") == "ReplicaFailure" and condition.get("status") == "True":
            return str(condition.get("message", ""))
    return ""


def _waiting(pod: Manifest) -> str:
    """Why a pod's container does not run: image, configuration, crash; or why it is not scheduled."""
    status: dict[str, Any] = pod.get("status") or {}
    name = pod["metadata"]["name"]
    for container in [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]:
        waiting = (container.get("state") or {}).get("waiting") or {}
        if waiting.get("reason") not in {None, "PodInitializing", "ContainerCreating"}:
            detail = f" ({waiting['message']})" if waiting.get("message") else ""
            return f"pod {name}: container {container.get('name')}: {waiting['reason']}{detail}"
    for condition in status.get("conditions") or []:
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            return f"pod {name} is not scheduled: {condition.get('message') or condition.get('reason', '')}"
    return ""
