"""A backend's issuer, opened anew for each call: what its spec refers to may have changed meanwhile."""

from base64 import b64decode
from typing import Final
from urllib.parse import urlsplit

from moltbot_operator.api import CaKind, CaRef, IssuerType, ModelBackendSpec, SecretKeyRef
from moltbot_operator.api.endpoint import resolve_endpoint
from moltbot_operator.errors import InvalidInput, NotFound, Refused
from moltbot_operator.kube.cluster import Cluster
from moltbot_operator.kube.kinds import CONFIG_MAP, SECRET
from moltbot_operator.rotation import Credential, Found, Issuer, IssuerFor

__all__ = ["ClusterReader", "OpenedIssuer", "issuer_place"]

_UNLISTED: Final = frozenset({IssuerType.DYNAMIC_REGISTRATION})


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


class OpenedIssuer:
    """Implements `Issuer`; what can't be opened refuses."""

    def __init__(self, opener: IssuerFor, spec: ModelBackendSpec, cluster: Cluster, namespace: str) -> None:
        self._opener = opener
        self._spec = spec
        self._namespace = namespace
        self._reader = ClusterReader(cluster, namespace)
        self.lists = spec.rotation is None or spec.rotation.issuer.type not in _UNLISTED

    async def find(self, prefix: str) -> tuple[Found, ...]:
        """See `Issuer`."""
        return await (await self._open()).find(prefix)

    async def create(self, tag: str) -> Credential:
        """See `Issuer`."""
        return await (await self._open()).create(tag)

    async def verify(self, credential: Credential) -> None:
        """See `Issuer`."""
        await (await self._open()).verify(credential)

    async def revoke(self, known: Found | Credential) -> None:
        """See `Issuer`."""
        await (await self._open()).revoke(known)

    async def _open(self) -> Issuer:
        try:
            return await self._opener(self._spec, self._namespace, self._reader)
        except InvalidInput as error:
            raise Refused(str(error)) from error


def issuer_place(spec: ModelBackendSpec, namespace: str) -> str:
    """Whom a rotation calls: backends with the same share how many run at a time."""
    issuer = spec.rotation.issuer if spec.rotation else None
    if issuer is not None and issuer.webhook is not None:
        url = issuer.webhook.url or (issuer.webhook.create.url if issuer.webhook.create else None)
        return (urlsplit(url).netloc if url else "") or f"preset {issuer.webhook.preset}"
    if issuer is not None and issuer.dynamic_registration is not None:
        return urlsplit(issuer.dynamic_registration.registration_url).netloc
    try:
        return urlsplit(resolve_endpoint(spec, namespace).url).netloc
    except InvalidInput:
        return ""
