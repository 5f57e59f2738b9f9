"""OAuth 2.0 clients that register themselves (RFC 7591) and are deleted again (RFC 7592).

An update of a client makes its old secret worthless at once (RFC 7592 §2.2), which leaves no overlap. So each
rotation registers another client; two are valid through the overlap; then the older one is deleted.

A server can't list clients. Where the answer to a registration is lost, a client is left that nobody holds
the secret of, and nobody can delete but the server's administrator, by its name, which is the rotation's tag.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import orjson

from moltbot_operator.api import OAuth2Auth
from moltbot_operator.errors import NotOurs, Refused, Unclear
from moltbot_operator.providers.issuers.calls import Answer, Caller, Request, checked
from moltbot_operator.providers.issuers.clients import client_value
from moltbot_operator.providers.issuers.verifying import Verifier
from moltbot_operator.rotation import Credential, Found

__all__ = ["REGISTRATION", "Registration"]

REGISTRATION: Final = "registration.json"
"""Key of `Credential.kept`: the server's whole answer."""

_METHODS: Final = {"ClientSecretBasic": "client_secret_basic", "ClientSecretPost": "client_secret_post"}
_GONE: Final = frozenset({404, 410})
_LATEST: Final = 253402300799
"""Year 9999, the last that a date can say."""


@dataclass
class Registration:
    """One backend's registration endpoint."""

    url: str
    initial_token: str | None = field(repr=False)
    oauth2: OAuth2Auth
    caller: Caller
    verifier: Verifier
    lists: bool = False

    async def find(self, prefix: str) -> tuple[Found, ...]:  # noqa: ARG002
        """Nothing: servers don't list clients."""
        return ()

    async def create(self, tag: str) -> Credential:
        """Register a client with this name (RFC 7591 §3.1)."""
        metadata: dict[str, Any] = {
            "client_name": tag,
            "grant_types": ["client_credentials"],
            "response_types": [],
            "token_endpoint_auth_method": _METHODS[self.oauth2.client_authentication.value],
        }
        if self.oauth2.scopes:
            metadata["scope"] = " ".join(self.oauth2.scopes)
        request = Request("POST", self.url, _headers(self.initial_token), orjson.dumps(metadata))
        answer = checked(
            request,
            await self.caller.call(request, effect=True),
            effect=True,
            hint="check rotation.issuer.dynamicRegistration.initialAccessTokenRef",
        )
        return _registered(request, answer, tag)

    async def verify(self, credential: Credential) -> None:
        """Ask for a token with it."""
        await self.verifier.verify(credential)

    async def revoke(self, known: Found | Credential) -> None:
        """Delete the client (RFC 7592 §2.3), until the server has no such client any more.

        A server answers 401 both for a client that is gone and for a registration access token that it does
        not take (§2.3); which of the two, a token request with the client's secret tells.
        """
        if not isinstance(known, Credential) or REGISTRATION not in known.kept:
            raise NotOurs("this client did not register itself: delete it at the server by hand")
        document = orjson.loads(known.kept[REGISTRATION])
        uri, token = document.get("registration_client_uri"), document.get("registration_access_token")
        if not isinstance(uri, str) or not isinstance(token, str):
            raise NotOurs(
                f"the server gave no registration access token for client {known.id} (RFC 7592): delete it "
                "at the server by hand"
            )
        if self.url.startswith("https://") and not uri.startswith("https://"):
            raise Refused(f"the server names a registration_client_uri for client {known.id} without https")
        request = Request("DELETE", uri, _headers(token))
        answer = await self.caller.call(request, effect=True)
        if answer.status in _GONE:
            return
        try:
            checked(request, answer, effect=True)
        except Refused as error:
            await self._require_gone(known, error)

    async def _require_gone(self, known: Credential, refusal: Refused) -> None:
        """Raises the refusal where the client still gets tokens."""
        try:
            await self.verifier.token(self.oauth2, known)
        except Refused:
            return
        raise Refused(f"{refusal}: client {known.id} is still valid; delete it at the server by hand")


def _headers(token: str | None) -> dict[str, str]:
    headers = {"accept": "application/json", "content-type": "application/json"}
    return headers if token is None else {**headers, "authorization": f"Bearer {token}"}


def _registered(request: Request, answer: Answer, tag: str) -> Credential:
    """The client in an answer (RFC 7591 §3.2.1), which is kept whole."""
    document = answer.document
    if not isinstance(document, dict):
        raise Unclear(f"{request.what} answered {answer.status} with something that is no JSON object")
    client_id, secret = document.get("client_id"), document.get("client_secret")
    if not isinstance(client_id, str) or not isinstance(secret, str) or not client_id or not secret:
        raise Unclear(f"{request.what} answered {answer.status} without client_id and client_secret")
    return Credential(
        id=client_id,
        tag=tag,
        value=client_value(client_id, secret),
        kept={REGISTRATION: orjson.dumps(document).decode()},
        not_after=_not_after(document),
    )


def _not_after(document: Mapping[str, Any]) -> datetime | None:
    """`client_secret_expires_at`: seconds since the epoch; 0 is never (RFC 7591 §3.2.1)."""
    value = document.get("client_secret_expires_at")
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < _LATEST:
        return None
    return datetime.fromtimestamp(value, UTC)
