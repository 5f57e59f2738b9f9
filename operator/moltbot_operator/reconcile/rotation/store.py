"""Implements the rotation's `Store` and `Origin` in a cluster."""

from base64 import b64decode
from collections.abc import Mapping
from datetime import datetime

from moltbot_operator.api import SecretKeyRef
from moltbot_operator.compile.credentials import rotated_secret
from moltbot_operator.errors import Conflict, NotFound
from moltbot_operator.kube.cache import Cache
from moltbot_operator.kube.cluster import Cluster, Manifest
from moltbot_operator.kube.kinds import MODEL_BACKEND, SECRET
from moltbot_operator.reconcile.contents import flaw
from moltbot_operator.reconcile.rotation.objects import (
    credential_of,
    expiry_of,
    mounted_object,
    mounted_of,
    owned_by,
    version_name,
    version_object,
)
from moltbot_operator.reconcile.rotation.versions import versions_of
from moltbot_operator.rotation import Credential
from moltbot_operator.rotation.state import Mounted, State
from moltbot_operator.rotation.status import read_state, written_state

__all__ = ["BackendOrigin", "BackendStore"]


class BackendStore:
    """One ModelBackend's: its status, and the Secrets that belong to it."""

    def __init__(self, cluster: Cluster, cache: Cache, backend: Manifest) -> None:
        """`backend`: any version of it; what counts is its name and uid."""
        self._cluster = cluster
        self._cache = cache
        self._backend = backend
        self._namespace, self._name = backend["metadata"]["namespace"], backend["metadata"]["name"]

    async def load(self) -> State:
        """From the API server, since the cache may not have seen one's own last write."""
        live = await self._cluster.get(MODEL_BACKEND, self._namespace, self._name)
        self._require_same(live)
        return read_state((live.get("status") or {}).get("credential") or {})

    async def save(self, state: State) -> None:
        """Patch `status.credential`."""
        credential = written_state(state)
        result = await self._cluster.apply_status(
            MODEL_BACKEND, self._namespace, self._name, {"credential": credential}
        )
        self._require_same(result)  # the cache hears of it by the watch, which has conditions follow

    async def versions(self) -> Mapping[str, datetime | None]:
        """Those of this very backend."""
        found = versions_of(self._cache).of(self._namespace, self._name)
        return {
            version: expiry_of(secret) for version, secret in found.items() if owned_by(self._backend, secret)
        }

    async def get(self, version: str) -> Credential | None:
        """As it is in its Secret."""
        found = versions_of(self._cache).of(self._namespace, self._name).get(version)
        return None if found is None or not owned_by(self._backend, found) else credential_of(found)

    async def put(self, version: str, credential: Credential) -> None:
        """Create the Secret; one that is there already is of a call whose answer was lost."""
        name = version_name(self._name, version)
        try:
            made = await self._cluster.create(version_object(self._backend, version, credential))
        except Conflict:
            made = await self._cluster.get(SECRET, self._namespace, name)
            if not owned_by(self._backend, made):
                raise Conflict(_taken(self._namespace, name, self._name), 409) from None
        self._cache.put(SECRET, made)

    async def drop(self, version: str) -> None:
        """Delete this very Secret."""
        found = versions_of(self._cache).of(self._namespace, self._name).get(version)
        if found is None:
            return
        meta = found["metadata"]
        await self._cluster.delete(SECRET, self._namespace, meta["name"], uid=meta.get("uid"))
        self._cache.remove(SECRET, found)

    async def mounted(self) -> Mounted:
        """What the mounted Secret says, if its values are those of these versions."""
        live = await self._live()
        if live is None:
            return Mounted()
        said = mounted_of(live)
        values = await self._values(said)
        if live.get("data") != mounted_object(self._backend, said, values).get("data") if values else True:
            return Mounted()
        return said

    async def mount(self, mounted: Mounted) -> None:
        """Write the Secret that gateways mount."""
        live = await self._live()
        if live is not None and not owned_by(self._backend, live):
            name = rotated_secret(self._name)
            raise Conflict(_taken(self._namespace, name, self._name), 409)
        values = await self._values(mounted)
        self._cache.put(SECRET, await self._cluster.apply(mounted_object(self._backend, mounted, values)))

    async def _values(self, mounted: Mounted) -> dict[str, str]:
        """By version; empty if one of them is not stored."""
        found = {version: await self.get(version) for version in (mounted.value, mounted.next) if version}
        values = {version: each.value for version, each in found.items() if each is not None}
        return values if len(values) == len(found) else {}

    async def _live(self) -> Manifest | None:
        """The mounted Secret; one without our label is known to the cache by its metadata only."""
        name = rotated_secret(self._name)
        known = self._cache.get(SECRET, self._namespace, name)
        if known is None or known["kind"] == SECRET.kind:
            return known
        try:
            return await self._cluster.get(SECRET, self._namespace, name)
        except NotFound:
            return None

    def _require_same(self, live: Manifest) -> None:
        if live["metadata"].get("uid") != self._backend["metadata"]["uid"]:
            raise NotFound(f"ModelBackend {self._namespace}/{self._name} is another one by now", 404)


class BackendOrigin:
    """The Secret that the spec names, which a person or a tool fills; it is only ever read."""

    def __init__(self, cluster: Cluster, cache: Cache, namespace: str, ref: SecretKeyRef | None) -> None:
        self._cluster = cluster
        self._cache = cache
        self._namespace = namespace
        self._ref = ref
        self._seen: tuple[str, Credential | None] | None = None

    async def read(self) -> Credential | None:
        """Its value, without the newline at its end; None where there is none that can be used."""
        known = None if self._ref is None else self._cache.get(SECRET, self._namespace, self._ref.name)
        if known is None or self._ref is None:
            return None
        version = str(known["metadata"].get("resourceVersion", ""))
        if self._seen is not None and self._seen[0] == version:
            return self._seen[1]
        found = await self._read(self._ref)
        self._seen = (version, found)
        return found

    async def _read(self, ref: SecretKeyRef) -> Credential | None:
        try:
            secret = await self._cluster.get(SECRET, self._namespace, ref.name)
        except NotFound:
            return None
        value = (secret.get("data") or {}).get(ref.key)
        if not value:
            return None
        text = b64decode(value).decode(errors="replace").rstrip("\r\n")
        if not text or (flaw(value) and not text.startswith("-----BEGIN")):
            return None
        return Credential("", "", text)


def _taken(namespace: str, name: str, backend: str) -> str:
    return (
        f"Secret {namespace}/{name} exists and does not belong to ModelBackend {namespace}/{backend}, which "
        "needs that name for its credential: delete or rename it."
    )
