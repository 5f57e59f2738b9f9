"""The Secrets of a rotated credential (pure).

::

    Secret <backend>-credential-<version>   one version with all that the issuer told; immutable
    Secret <backend>-credential             what gateways mount: `value`, and for a while `next`

Both belong to the ModelBackend and go with it.
"""

from base64 import b64decode, b64encode
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from moltbot_operator.compile.credentials import ROTATED_KEY, ROTATED_NEXT, rotated_secret
from moltbot_operator.constants import (
    API_VERSION,
    COMPONENT_CREDENTIAL,
    COMPONENT_CREDENTIAL_VERSION,
    LABEL_BACKEND,
    LABEL_COMPONENT,
    LABEL_MANAGED_BY,
    LABEL_NAME,
    LABEL_VERSION,
    MANAGED_BY,
)
from moltbot_operator.kube.cluster import Manifest
from moltbot_operator.kube.kinds import MODEL_BACKEND
from moltbot_operator.rotation import Credential
from moltbot_operator.rotation.state import Mounted

__all__ = [
    "ANNOTATION_NEXT",
    "credential_of",
    "expiry_of",
    "mounted_object",
    "mounted_of",
    "owned_by",
    "version_name",
    "version_object",
]

ANNOTATION_NEXT: Final = "moltbot.io/next-credential-version"
"""On the mounted Secret: version of its `next`."""

_KEPT: Final = "kept."
"""Prefix of the keys with what the issuer's client wants to have back."""


def version_name(backend: str, version: str) -> str:
    """Name of a version's Secret."""
    return f"{rotated_secret(backend)}-{version}"


def version_object(backend: Manifest, version: str, credential: Credential) -> Manifest:
    """The Secret of one version."""
    data = {ROTATED_KEY: credential.value, "id": credential.id, "tag": credential.tag}
    if credential.not_after is not None:
        data["not-after"] = credential.not_after.isoformat()
    data |= {f"{_KEPT}{key}": value for key, value in credential.kept.items()}
    name = version_name(backend["metadata"]["name"], version)
    return {
        **_secret(backend, name, COMPONENT_CREDENTIAL_VERSION, version, data),
        "immutable": True,
    }


def credential_of(secret: Manifest) -> Credential:
    """The reverse."""
    data = {key: b64decode(value).decode() for key, value in (secret.get("data") or {}).items()}
    kept = {key.removeprefix(_KEPT): value for key, value in data.items() if key.startswith(_KEPT)}
    return Credential(
        data.get("id", ""), data.get("tag", ""), data.get(ROTATED_KEY, ""), kept, expiry_of(secret)
    )


def expiry_of(secret: Manifest) -> datetime | None:
    """When the credential in a version's Secret expires, where that is known."""
    written = (secret.get("data") or {}).get("not-after")
    return None if written is None else datetime.fromisoformat(b64decode(written).decode())


def mounted_object(backend: Manifest, mounted: Mounted, values: Mapping[str, str]) -> Manifest:
    """The Secret that gateways mount. `values`: by version."""
    version = mounted.value or ""
    data = {ROTATED_KEY: values[version]}
    if mounted.next is not None:
        data[ROTATED_NEXT] = values[mounted.next]
    name = rotated_secret(backend["metadata"]["name"])
    made = _secret(backend, name, COMPONENT_CREDENTIAL, version, data)
    if mounted.next is not None:
        made["metadata"]["annotations"] = {ANNOTATION_NEXT: mounted.next}
    return made


def mounted_of(secret: Manifest) -> Mounted:
    """Which versions the mounted Secret says it holds."""
    meta, data = secret["metadata"], secret.get("data") or {}
    version = (meta.get("labels") or {}).get(LABEL_VERSION)
    coming = (meta.get("annotations") or {}).get(ANNOTATION_NEXT)
    return Mounted(version if data.get(ROTATED_KEY) else None, coming if data.get(ROTATED_NEXT) else None)


def owned_by(backend: Manifest, secret: Manifest) -> bool:
    """Whether the Secret is this very backend's."""
    owners = secret["metadata"].get("ownerReferences") or []
    return any(owner.get("controller") and owner.get("uid") == backend["metadata"]["uid"] for owner in owners)


def _secret(backend: Manifest, name: str, component: str, version: str, data: Mapping[str, str]) -> Manifest:
    meta = backend["metadata"]
    owner = {
        "apiVersion": API_VERSION,
        "kind": MODEL_BACKEND.kind,
        "name": meta["name"],
        "uid": meta["uid"],
        "controller": True,
    }
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": name,
            "namespace": meta["namespace"],
            "labels": {
                LABEL_MANAGED_BY: MANAGED_BY,
                LABEL_NAME: "moltbot-credential",
                LABEL_COMPONENT: component,
                LABEL_BACKEND: meta["name"],
                LABEL_VERSION: version,
            },
            "ownerReferences": [owner],
        },
        "type": "Opaque",
        "data": {key: b64encode(value.encode()).decode() for key, value in data.items()},
    }


def encoded(value: str) -> Any:
    """As a Secret's data holds it."""
    return b64encode(value.encode()).decode()
