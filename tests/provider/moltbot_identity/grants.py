"""The OAuth 2.0 server itself, by Authlib: clients, tokens, the grant of client credentials."""

import hmac
import json
import os
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

os.environ.setdefault("AUTHLIB_INSECURE_TRANSPORT", "1")  # tests also ask it over plain HTTP

from authlib.oauth2.rfc6749 import AuthorizationServer, ClientMixin, OAuth2Request, scope_to_list
from authlib.oauth2.rfc6749.grants import ClientCredentialsGrant
from authlib.oauth2.rfc6749.requests import BasicOAuth2Payload

__all__ = ["Client", "Issued", "Server"]


@dataclass
class Client(ClientMixin):
    """A confidential client; every secret in `secrets` is valid."""

    client_id: str
    secrets: list[str]
    methods: frozenset[str] = frozenset({"client_secret_basic", "client_secret_post"})
    scopes: frozenset[str] | None = None
    """Scopes that it may have; None for any."""
    grants: frozenset[str] = frozenset({"client_credentials"})
    metadata: dict[str, Any] = field(default_factory=dict)
    """Of a client that registered itself."""
    registration_token: str | None = None
    """Its registration access token (RFC 7592); None for a client that is configured."""
    expires: float = 0
    """When its secrets expire, in seconds since the epoch; 0: never."""

    def get_client_id(self):
        return self.client_id

    def get_allowed_scope(self, scope):
        if self.scopes is None or not scope:
            return scope or ""
        return scope if set(scope_to_list(scope)) <= self.scopes else None

    def check_client_secret(self, client_secret):
        if self.expires and self.expires <= time.time():
            return False
        return any(hmac.compare_digest(client_secret.encode(), known.encode()) for known in self.secrets)

    def check_endpoint_auth_method(self, method, endpoint):
        return endpoint == "token" and method in self.methods

    def check_grant_type(self, grant_type):
        return grant_type == "client_credentials" and grant_type in self.grants

    def check_response_type(self, response_type):  # noqa: ARG002
        return False


@dataclass
class Issued:
    """A token that was granted."""

    token: str
    client_id: str
    secret: str
    """The client's secret that it was granted for."""
    scope: str
    audience: str | None
    expires: float
    """Seconds since the epoch."""


class _Request(OAuth2Request):
    def __init__(self, url: str, headers: Mapping[str, str], form: Mapping[str, str]) -> None:
        super().__init__("POST", url, headers=headers)
        self._form = dict(form)
        self.payload = BasicOAuth2Payload(self._form)

    @property
    def form(self):
        return self._form


class _Grant(ClientCredentialsGrant):
    TOKEN_ENDPOINT_AUTH_METHODS = ("client_secret_basic", "client_secret_post")


class Server(AuthorizationServer):
    """Issues opaque tokens that live `life` seconds and are looked up by introspection."""

    def __init__(self, clients: Mapping[str, Client], life: float) -> None:
        super().__init__()
        self.clients = dict(clients)
        self.life = life
        self.issued: dict[str, Issued] = {}
        self.register_grant(_Grant)
        self.register_token_generator("default", self._generate)

    def grant(self, url: str, headers: Mapping[str, str], form: Mapping[str, str]):
        """Status, document and headers of the answer."""
        return self.create_token_response(_Request(url, headers, form))

    def active(self, token: str, audience: str | None = None) -> Issued | None:
        """The token as it was granted, while it is valid (RFC 7662 `active`)."""
        found = self.issued.get(token)
        if found is None or found.expires <= time.time():
            return None
        return found if audience is None or found.audience == audience else None

    def query_client(self, client_id):
        return self.clients.get(client_id)

    def save_token(self, token, request):
        form = request.payload.data
        self.issued[token["access_token"]] = Issued(
            token["access_token"],
            request.client.client_id,
            form.get("client_secret") or _basic_secret(request.headers),
            token.get("scope", ""),
            form.get("audience"),
            time.time() + self.life,
        )

    def create_oauth2_request(self, request):
        return request

    def handle_response(self, status, body, headers):
        return status, (json.loads(body) if isinstance(body, str) else body), dict(headers)

    def send_signal(self, name, *args, **kwargs):
        pass

    def _generate(self, *, client, scope=None, **_: Any):
        token = {"token_type": "Bearer", "access_token": secrets.token_urlsafe(24)}
        token["expires_in"] = max(1, int(self.life))
        allowed = client.get_allowed_scope(scope)
        return {**token, "scope": allowed} if allowed else token


def _basic_secret(headers: Mapping[str, str]) -> str:
    from authlib.oauth2.rfc6749.util import extract_basic_authorization

    return extract_basic_authorization(headers)[1] or ""
