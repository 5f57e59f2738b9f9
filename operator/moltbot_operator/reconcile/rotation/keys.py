"""Implements the rotation's `Keys`: the JWKS with the public halves of all stored versions."""

from moltbot_operator.api import ModelBackendSpec
from moltbot_operator.errors import ClusterError
from moltbot_operator.kube.cache import Cache
from moltbot_operator.kube.cluster import Manifest
from moltbot_operator.reconcile.signing_keys import SigningKeys

__all__ = ["PublishedKeys"]


class PublishedKeys:
    """Of one backend."""

    def __init__(self, keys: SigningKeys, cache: Cache, backend: Manifest, spec: ModelBackendSpec) -> None:
        self._keys = keys
        self._cache = cache
        self._backend = backend
        self._spec = spec

    async def published(self) -> frozenset[str]:
        """Versions whose key is in the ConfigMap."""
        return await self._keys.published_versions(self._backend, self._spec)

    async def publish(self) -> None:
        """Write the ConfigMap. ClusterError where it can't be written."""
        made = await self._keys.ensure(self._backend, self._spec, rotated=True)
        if made is not None and made.problem is not None:
            raise ClusterError(made.problem.message)
