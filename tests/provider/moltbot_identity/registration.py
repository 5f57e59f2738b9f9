"""Dynamic registration of clients (RFC 7591) and their management (RFC 7592), by Authlib.

An update makes the old secret worthless at once (RFC 7592 §2.2) and gives the registration access token a new
value (§2.1); both can be turned off, as real servers differ.
"""

import secrets
import time
from dataclasses import dataclass
from typing import Any

from aiohttp import web
from authlib.oauth2 import OAuth2Error
from authlib.oauth2.rfc6749 import TokenMixin
from authlib.oauth2.rfc6749.requests import JsonPayload, JsonRequest
from authlib.oauth2.rfc7591 import ClientRegistrationEndpoint
from authlib.oauth2.rfc7592 import ClientConfigurationEndpoint
from moltbot_issuer.carrying import after, before
from moltbot_issuer.faults import Fault, Faults

from moltbot_identity.grants import Client, Server

__all__ = ["Registration", "RegistrationCall"]

_OPERATIONS = {"POST": "register", "GET": "read", "PUT": "update", "DELETE": "delete"}
_METHODS = {"client_secret_basic", "client_secret_post"}


@dataclass
class RegistrationCall:
    """One call of the registration or configuration endpoint."""

    at: float
    operation: str
    client: str
    """Name or identifier."""
    outcome: str = "in flight"


class _Payload(JsonPayload):
    def __init__(self, data: dict[str, Any]) -> None:
        self._data = data

    @property
    def data(self):
        return self._data


class _Token(TokenMixin):
    def __init__(self, client_id: str | None) -> None:
        self._client_id = client_id

    def check_client(self, client):
        return client.get_client_id() == self._client_id


class _Register(ClientRegistrationEndpoint):
    def __init__(self, registration: "Registration") -> None:
        super().__init__(registration.server)
        self.of = registration

    def authenticate_token(self, request):
        wanted = self.of.initial_token
        given = request.headers.get("authorization", "")
        return _Token(None) if wanted is None or given == f"Bearer {wanted}" else None

    def generate_client_id(self, request):  # noqa: ARG002
        return f"client-{secrets.token_hex(8)}"

    def generate_client_secret(self, request):  # noqa: ARG002
        return f"registered-{secrets.token_urlsafe(18)}"

    def generate_client_info(self, request):
        return {**super().generate_client_info(request), "client_secret_expires_at": self.of.expiry()}

    def save_client(self, client_info, client_metadata, request):  # noqa: ARG002
        client = Client(client_info["client_id"], [client_info["client_secret"]])
        client.methods = frozenset(_METHODS & {client_metadata.get("token_endpoint_auth_method", "")})
        client.grants = frozenset(client_metadata.get("grant_types", ["authorization_code"]))
        client.metadata = dict(client_metadata)
        client.expires = client_info["client_secret_expires_at"]
        client.registration_token = f"registration-{secrets.token_urlsafe(18)}"
        self.server.clients[client.client_id] = client
        return client

    def generate_client_registration_info(self, client, request):  # noqa: ARG002
        return self.of.management(client)

    def get_server_metadata(self):
        return {}


class _Configure(ClientConfigurationEndpoint):
    def __init__(self, registration: "Registration") -> None:
        super().__init__(registration.server)
        self.of = registration

    def authenticate_token(self, request):
        given = request.headers.get("authorization", "").removeprefix("Bearer ")
        found = next((c for c in self.server.clients.values() if c.registration_token == given), None)
        return _Token(found.client_id) if found is not None else None

    def authenticate_client(self, request):
        return self.server.clients.get(request.uri.rpartition("/")[2])

    def revoke_access_token(self, token, request):
        pass

    def check_permission(self, client, request):  # noqa: ARG002
        return True

    def introspect_client(self, client):
        return self.of.information(client)

    def generate_client_registration_info(self, client, request):  # noqa: ARG002
        return self.of.management(client)

    def delete_client(self, client, request):  # noqa: ARG002
        del self.server.clients[client.client_id]

    def update_client(self, client, client_metadata, request):  # noqa: ARG002
        client.metadata = dict(client_metadata)
        if self.of.new_secret_on_update:
            client.secrets = [f"registered-{secrets.token_urlsafe(18)}"]
            client.expires = self.of.expiry()
        if self.of.new_token_on_update:
            client.registration_token = f"registration-{secrets.token_urlsafe(18)}"
        return client

    def get_server_metadata(self):
        return {}


class Registration:
    """The two endpoints of a server below `/register`.

    `initial_token` None: anybody may register. `secret_life`: seconds, 0 for ever.
    """

    def __init__(self, server: Server) -> None:
        self.server = server
        self.initial_token: str | None = None
        self.secret_life = 0
        self.new_secret_on_update = True
        self.new_token_on_update = True
        self.base = ""
        self.faults = Faults()
        self.calls: list[RegistrationCall] = []
        self.values: list[str] = []
        """Every secret and registration access token that was ever given out."""
        self._register = _Register(self)
        self._configure = _Configure(self)

    def fault(self, kind: str, **settings: Any) -> Fault:
        """Replace all faults by this one (see moltbot_issuer.FAULTS)."""
        fault = Fault(kind, **settings)
        self.faults.set(fault)
        return fault

    def clear(self) -> None:
        self.faults.set()

    def registered(self) -> list[Client]:
        """Clients that registered themselves and still exist."""
        return [client for client in self.server.clients.values() if client.registration_token]

    def expiry(self) -> int:
        return int(time.time()) + self.secret_life if self.secret_life else 0

    def information(self, client: Client) -> dict[str, Any]:
        known = {"client_id": client.client_id, "client_secret": client.secrets[0]}
        return {**client.metadata, **known, "client_secret_expires_at": int(client.expires)}

    def management(self, client: Client) -> dict[str, Any]:
        self.values += [client.secrets[0], client.registration_token or ""]
        return {
            "registration_client_uri": f"{self.base}/register/{client.client_id}",
            "registration_access_token": client.registration_token,
        }

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post("/register", self._handle),
            web.get("/register/{client}", self._handle),
            web.put("/register/{client}", self._handle),
            web.delete("/register/{client}", self._handle),
        ]

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.json() if request.method in {"POST", "PUT"} else {}
        operation = _OPERATIONS[request.method]
        name = str(body.get("client_name") or request.match_info.get("client", ""))
        call = RegistrationCall(time.time(), operation, name)
        self.calls.append(call)
        fault = self.faults.next(operation)
        if fault is not None:
            call.outcome = fault.kind
            early = await before(request, fault, self.faults)
            if early is not None:
                return early
        status, document = self._act(request, body)
        if fault is None:
            call.outcome = str(status)
        return await after(request, fault, self.faults, status, document)

    def _act(self, request: web.Request, body: dict[str, Any]) -> tuple[int, Any]:
        made = JsonRequest(request.method, str(request.url), request.headers)
        made.payload = _Payload(body)
        endpoint = self._register if request.method == "POST" else self._configure
        try:
            status, document, _ = endpoint(made)
        except OAuth2Error as error:
            status, document, _ = error()
        return status, dict(document) if document else None
