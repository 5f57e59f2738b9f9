"""What a backend's spec refers to, read in a cluster."""

from base64 import b64decode

from moltbot_operator.api import CaKind, CaRef, SecretKeyRef
from moltbot_operator.errors import InvalidInput, NotFound
from moltbot_operator.kube.cluster import Cluster
from moltbot_operator.kube.kinds import CONFIG_MAP, SECRET

__all__ = ["ClusterReader"]


class ClusterReader:
    """Implements the rotation's `Reader` in one namespace."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self._cluster = cluster
        self._namespace = namespace

    async def secret(self, ref: SecretKeyRef) -> str:
        """The value of a Secret's key."""
        try:
            found = await self._cluster.get(SECRET, self._namespace, ref.name)
        except NotFound:
            raise InvalidInput(
                f"Secret {self._namespace}/{ref.name} does not exist: create it with key {ref.key}."
            ) from None
        value = (found.get("data") or {}).get(ref.key)
        if not value:
            raise InvalidInput(f"Secret {self._namespace}/{ref.name} has no value {ref.key}: add it.")
        return b64decode(value).decode(errors="replace").rstrip("\r\n")

    async def ca(self, ref: CaRef) -> str:
        """A bundle in PEM."""
        kind = SECRET if ref.kind is CaKind.SECRET else CONFIG_MAP
        try:
            found = await self._cluster.get(kind, self._namespace, ref.name)
        except NotFound:
            raise InvalidInput(
                f"{kind} {self._namespace}/{ref.name} does not exist: create it with key {ref.key}."
            ) from None
        value = (found.get("data") or {}).get(ref.key)
        if not value:
            raise InvalidInput(f"{kind} {self._namespace}/{ref.name} has no value {ref.key}: add it.")
        return b64decode(value).decode(errors="replace") if kind == SECRET else str(value)
