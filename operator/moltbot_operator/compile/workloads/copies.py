"""Copies of other namespaces' Secrets and CA ConfigMaps: a pod mounts only objects of its own namespace.

Made only with the backend's consent (`allowedRoutes`); the owner reference removes them with the route.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from moltbot_operator.compile.result import Mount
from moltbot_operator.compile.workloads.identity import Manifest, Owner

__all__ = ["ANNOTATION_SOURCE", "Foreign", "copied_object", "foreign_objects"]

ANNOTATION_SOURCE = "moltbot.io/copied-from"
"""`namespace/name` of the original."""


@dataclass(frozen=True, order=True)
class Foreign:
    """An object of another namespace that the pods need, and which of its keys."""

    kind: Literal["Secret", "ConfigMap"]
    namespace: str
    name: str
    keys: tuple[str, ...]


def foreign_objects(owner: Owner, mounts: Iterable[Mount]) -> list[Foreign]:
    """What has to be copied, each object once, in a fixed order."""
    keys: defaultdict[tuple[Literal["Secret", "ConfigMap"], str, str], set[str]] = defaultdict(set)
    for mount in mounts:
        if mount.namespace != owner.namespace and mount.key is not None:
            keys[mount.kind, mount.namespace, mount.name].add(mount.key)
    return sorted(Foreign(*identity, tuple(sorted(found))) for identity, found in keys.items())


def copied_object(owner: Owner, foreign: Foreign, original: Mapping[str, Any]) -> Manifest:
    """The copy, with the keys that are used and no others; a key that the original lacks is left out."""
    manifest: Manifest = {
        "apiVersion": "v1",
        "kind": foreign.kind,
        "metadata": owner.metadata(
            owner.copy(foreign.namespace, foreign.name),
            annotations={ANNOTATION_SOURCE: f"{foreign.namespace}/{foreign.name}"},
        ),
    }
    if foreign.kind == "Secret":
        manifest["type"] = "Opaque"
    for field in ("data", "binaryData"):
        values = original.get(field) or {}
        if used := {key: values[key] for key in foreign.keys if key in values}:
            manifest[field] = used
    return manifest
