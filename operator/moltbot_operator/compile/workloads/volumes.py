"""What gateway pods mount: configuration, credentials, consumers' keys, private CAs, the evidence token."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, Literal

from moltbot_operator.compile.result import CompiledRoute, Mount
from moltbot_operator.compile.worker_secret import SDS_FILE, USERS_FILE
from moltbot_operator.compile.workloads.config_maps import part_key
from moltbot_operator.compile.workloads.evidence import PROBE_KEY, TOKEN_KEY
from moltbot_operator.compile.workloads.identity import Owner
from moltbot_operator.constants import (
    DIR_CA,
    DIR_CONFIG,
    DIR_CONSUMERS,
    DIR_CREDENTIALS,
    DIR_EVIDENCE,
    DIR_JWKS,
    DIR_PROBE,
    DIR_RUN,
    DIR_TLS,
    DIR_WORKER_SECRET,
)

__all__ = [
    "FILE_MODE",
    "agent_mounts",
    "envoy_mounts",
    "mounted_name",
    "own_secret",
    "shared_secret",
    "volumes",
]

FILE_MODE = 0o440
"""Readable by the pod's group alone (fsGroup)."""

ENVOY_FILES = (USERS_FILE, SDS_FILE)
"""What Envoy reads of the secret that it shares with workers."""


def mounted_name(owner: Owner, mount: Mount) -> str:
    """Name of the object in the route's namespace: a copy if the original lives elsewhere."""
    return mount.name if mount.namespace == owner.namespace else owner.copy(mount.namespace, mount.name)


def volumes(owner: Owner, compiled: CompiledRoute) -> list[dict[str, Any]]:
    """Secrets are optional: a missing one leaves its backend without a credential, not the pod unstarted."""
    found = [_config(owner, compiled)]
    found += _gathered(owner, compiled.mounts, "credential", "credentials")
    found += _gathered(owner, compiled.mounts, "ca", "ca")
    found += _gathered(owner, compiled.mounts, "jwks", "jwks")
    found += _gathered(owner, compiled.mounts, "tls", "tls")
    found += [
        {
            "name": name,
            "secret": {"secretName": mounted_name(owner, mount), "defaultMode": FILE_MODE, "optional": True},
        }
        for name, mount in _consumers(compiled.mounts)
    ]
    found.append(own_secret(owner, "evidence", TOKEN_KEY))
    found.append(own_secret(owner, "probe", PROBE_KEY))
    if compiled.worker is not None:
        found.append(shared_secret(owner.worker(compiled.revision), ENVOY_FILES, "worker-secret"))
    found.append({"name": "run", "emptyDir": {"medium": "Memory", "sizeLimit": "64Mi"}})
    return found


def shared_secret(name: str, keys: Sequence[str], volume: str) -> dict[str, Any]:
    """The volume with some files of the secret that gateway and workers share."""
    items = [{"key": key, "path": key} for key in keys]
    return {"name": volume, "secret": {"secretName": name, "items": items, "defaultMode": FILE_MODE}}


def agent_mounts(mounts: Sequence[Mount]) -> list[dict[str, Any]]:
    """The agent reads everything and writes the shared folder."""
    purposes = {mount.purpose for mount in mounts}
    paths = [("config", DIR_CONFIG)]
    if "credential" in purposes:
        paths.append(("credentials", DIR_CREDENTIALS))
    if "ca" in purposes:
        paths.append(("ca", DIR_CA))
    if "jwks" in purposes:
        paths.append(("jwks", DIR_JWKS))
    if "tls" in purposes:
        paths.append(("tls", DIR_TLS))
    paths += [(name, f"{DIR_CONSUMERS}/{mount.folder}") for name, mount in _consumers(mounts)]
    paths += [("evidence", DIR_EVIDENCE), ("probe", DIR_PROBE)]
    read_only = [{"name": name, "mountPath": path, "readOnly": True} for name, path in paths]
    return [*read_only, {"name": "run", "mountPath": DIR_RUN}]


def envoy_mounts(compiled: CompiledRoute) -> list[dict[str, Any]]:
    """Envoy reads what the agent wrote, CA bundles, and what it shares with workers; no other Secret."""
    found: list[dict[str, Any]] = [{"name": "run", "mountPath": DIR_RUN}]
    if any(mount.purpose == "ca" for mount in compiled.mounts):
        found.append({"name": "ca", "mountPath": DIR_CA, "readOnly": True})
    if compiled.worker is not None:
        found.append({"name": "worker-secret", "mountPath": DIR_WORKER_SECRET, "readOnly": True})
    return found


def own_secret(owner: Owner, volume: str, key: str) -> dict[str, Any]:
    """One key of the route's own Secret: the two are not for the same readers."""
    items = [{"key": key, "path": key}]
    secret = {"secretName": owner.evidence, "items": items, "defaultMode": FILE_MODE}
    return {"name": volume, "secret": secret}


def _config(owner: Owner, compiled: CompiledRoute) -> dict[str, Any]:
    sources = [
        {
            "configMap": {
                "name": owner.config_map(compiled.revision, part),
                "items": [{"key": part_key(part), "path": part_key(part)}],
            }
        }
        for part in range(len(compiled.parts))
    ]
    return {"name": "config", "projected": {"sources": sources, "defaultMode": FILE_MODE}}


def _gathered(
    owner: Owner, mounts: Iterable[Mount], purpose: Literal["credential", "ca", "jwks", "tls"], volume: str
) -> list[dict[str, Any]]:
    """One projected volume for all files of a purpose: `<folder>/<path>` below its mount."""
    items: defaultdict[tuple[str, str], set[tuple[str, str]]] = defaultdict(set)
    for mount in mounts:
        if mount.purpose == purpose and mount.key is not None and mount.path is not None:
            file = (mount.key, f"{mount.folder}/{mount.path}")
            items[mount.kind, mounted_name(owner, mount)].add(file)
    sources = [
        {
            "secret" if kind == "Secret" else "configMap": {
                "name": name,
                "optional": True,
                "items": [{"key": key, "path": path} for key, path in sorted(files)],
            }
        }
        for (kind, name), files in sorted(items.items())
    ]
    if not sources:
        return []
    return [{"name": volume, "projected": {"sources": sources, "defaultMode": FILE_MODE}}]


def _consumers(mounts: Iterable[Mount]) -> list[tuple[str, Mount]]:
    """A volume for each consumer, since a projected one can't put all keys of a Secret below a folder."""
    consumers = sorted(
        {mount for mount in mounts if mount.purpose == "consumer"}, key=lambda mount: mount.folder
    )
    return [(f"consumer-{index}", mount) for index, mount in enumerate(consumers)]
