"""A backend's issuer, opened anew for each call: what its spec refers to may have changed meanwhile."""

from typing import Final
from urllib.parse import urlsplit

from moltbot_operator.api import IssuerType, ModelBackendSpec
from moltbot_operator.api.endpoint import resolve_endpoint
from moltbot_operator.errors import InvalidInput, Refused
from moltbot_operator.rotation.issuing import Credential, Found, Issuer, IssuerFor, Reader

__all__ = ["OpenedIssuer", "issuer_place"]

_UNLISTED: Final = frozenset({IssuerType.DYNAMIC_REGISTRATION})


class OpenedIssuer:
    """Implements `Issuer`; what can't be opened refuses."""

    def __init__(self, opener: IssuerFor, spec: ModelBackendSpec, reader: Reader, namespace: str) -> None:
        self._opener = opener
        self._spec = spec
        self._namespace = namespace
        self._reader = reader
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
