"""References to Secrets and ConfigMaps, always in the referring object's own namespace."""

from enum import StrEnum

from moltbot_operator.api.fields import ObjectName, SecretKey
from moltbot_operator.api.model import ApiModel

__all__ = ["CaKind", "CaRef", "ConfigMapKeyRef", "ConfigMapRef", "SecretKeyRef", "SecretRef"]


class SecretRef(ApiModel):
    """A Secret in the same namespace."""

    name: ObjectName
    """Name of the Secret."""


class SecretKeyRef(ApiModel):
    """One key of a Secret in the same namespace."""

    name: ObjectName
    """Name of the Secret."""
    key: SecretKey
    """Key in the Secret's data."""


class ConfigMapRef(ApiModel):
    """A ConfigMap in the same namespace."""

    name: ObjectName
    """Name of the ConfigMap."""


class ConfigMapKeyRef(ApiModel):
    """One key of a ConfigMap in the same namespace."""

    name: ObjectName
    """Name of the ConfigMap."""
    key: SecretKey
    """Key in the ConfigMap's data."""


class CaKind(StrEnum):
    """Kinds of object that may hold a CA bundle."""

    CONFIG_MAP = "ConfigMap"
    SECRET = "Secret"  # noqa: S105 - a kind, not a password


class CaRef(ApiModel):
    """One key of a ConfigMap or Secret that holds a bundle of CA certificates in PEM."""

    kind: CaKind = CaKind.CONFIG_MAP
    """ConfigMap or Secret."""
    name: ObjectName
    """Name of the object, in the same namespace."""
    key: SecretKey = "ca.crt"
    """Key in the object's data."""
