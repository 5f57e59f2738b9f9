"""The identity provider's HTTP server: `/token`, `/introspect`, `/register`, and its faults."""

import asyncio
import ssl
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from aiohttp import web

from moltbot_identity.grants import Client, Issued, Server
from moltbot_identity.registration import Registration

__all__ = ["FAULTS", "Call", "Identity"]

FAULTS: dict[str, str] = {
    "hang": "no answer",
    "status": "answers `status`, with `retry-after` where given",
    "malformed": "200 with half a JSON document",
    "not_an_object": "200 with a JSON list",
    "wrong_type": "200 with a token of another type than Bearer",
    "no_expiry": "grants without `expires_in`",
    "text_expiry": "grants with `expires_in` as a string",
    "bad_expiry": "grants with an `expires_in` that is no number",
    "bad_token": "grants a token with a line break in it",
    "huge": "200 with 10 MB",
    "redirect": "307 to `location`",
}


@dataclass
class Call:
    """One request to the token endpoint."""

    at: float
    client_id: str | None
    authentication: str
    """`Basic`, `Post` or `none`."""
    scope: str | None
    audience: str | None
    outcome: str = "in flight"
    """`granted`, the OAuth 2.0 error, or the fault."""


class Identity:
    """One identity provider on one port; `clients`: identifier → secrets; `life` of a token in seconds."""

    def __init__(
        self,
        clients: Mapping[str, str | Sequence[str]] | None = None,
        *,
        life: float = 60.0,
        host: str = "127.0.0.1",
        port: int = 0,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        self.host = host
        self.port = port
        self.calls: deque[Call] = deque(maxlen=10_000)
        self._server = Server({}, life)
        self.registration = Registration(self._server)
        self._fault: tuple[str, dict[str, Any]] | None = None
        self._ssl = ssl_context
        self._runner: web.AppRunner | None = None
        for name, value in (clients or {}).items():
            self.set_client(name, *([value] if isinstance(value, str) else value))

    @property
    def url(self) -> str:
        return f"{'https' if self._ssl else 'http'}://{self.host}:{self.port}"

    @property
    def token_url(self) -> str:
        return f"{self.url}/token"

    @property
    def life(self) -> float:
        return self._server.life

    @life.setter
    def life(self, seconds: float) -> None:
        self._server.life = seconds

    def set_client(self, client_id: str, *secrets: str, **more: Any) -> None:
        """Make or replace a client; tokens that it has stay valid."""
        self._server.clients[client_id] = Client(client_id, list(secrets), **more)

    def clients(self) -> list[Client]:
        """Clients that exist, whoever made them."""
        return list(self._server.clients.values())

    def active(self, token: str) -> Issued | None:
        """A token as it was granted, while it is valid."""
        return self._server.active(token)

    def issued(self, token: str) -> Issued | None:
        """A token as it was granted, whether it is still valid or not."""
        return self._server.issued.get(token)

    def all_issued(self) -> list[Issued]:
        """Every token that was ever granted."""
        return list(self._server.issued.values())

    def verify(self, value: str, leeway: float = 0) -> str | None:
        """Whether `Bearer …` is a valid token, or was so `leeway` seconds ago: None, or why not."""
        scheme, _, token = value.partition(" ")
        if scheme != "Bearer":
            return "no bearer token"
        found = self.issued(token)
        if found is None:
            return "a token that was never granted"
        late = time.time() - found.expires
        return None if self.active(token) or 0 <= late < leeway else f"a token that expired {late:.3f} s ago"

    async def fault(self, kind: str, **settings: Any) -> None:
        """Answer so from now on (see FAULTS)."""
        if kind not in FAULTS:
            raise ValueError(f"no fault {kind}: {', '.join(FAULTS)}")
        self._fault = (kind, settings)

    async def clear(self) -> None:
        """End the fault; calls that hang stay unanswered."""
        self._fault = None

    async def start(self) -> Self:
        app = web.Application()
        app.add_routes([web.post("/token", self._token), web.post("/introspect", self._introspect)])
        app.add_routes(self.registration.routes())
        self._runner = web.AppRunner(app, handler_cancellation=True, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, self.host, self.port, ssl_context=self._ssl).start()
        self.port = self._runner.addresses[0][1]
        self.registration.base = self.registration.base or self.url
        return self

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def _introspect(self, request: web.Request) -> web.Response:
        """RFC 7662, for resource servers that need no credential of their own here."""
        found = self.active(str((await request.post()).get("token", "")))
        if found is None:
            return web.json_response({"active": False})
        known = {"client_id": found.client_id, "scope": found.scope, "exp": int(found.expires)}
        return web.json_response({"active": True, **known, "aud": found.audience})

    async def _token(self, request: web.Request) -> web.StreamResponse:
        form = {key: str(value) for key, value in (await request.post()).items()}
        basic = request.headers.get("authorization", "").lower().startswith("basic ")
        call = Call(
            at=time.time(),
            client_id=form.get("client_id"),
            authentication="Basic" if basic else "Post" if "client_secret" in form else "none",
            scope=form.get("scope"),
            audience=form.get("audience"),
        )
        self.calls.append(call)
        kind, settings = self._fault or (None, {})
        if kind is not None:
            call.outcome = kind
        match kind:
            case "hang":
                await asyncio.Event().wait()
            case "status":
                headers = {"retry-after": str(settings["retry_after"])} if "retry_after" in settings else {}
                return web.Response(status=settings.get("status", 503), headers=headers)
            case "malformed":
                return web.Response(text='{"access_token": "x", ', content_type="application/json")
            case "not_an_object":
                return web.json_response(["x"])
            case "huge":
                return web.Response(body=b" " * 10_000_000, content_type="application/json")
            case "redirect":
                return web.Response(status=307, headers={"location": settings["location"]})
        status, document, headers = self._server.grant(str(request.url), request.headers, form)
        if kind is None:
            call.outcome = "granted" if status == 200 else document.get("error", "refused")
        return web.json_response(_spoilt(kind, document), status=status, headers=_plain(headers))


def _spoilt(kind: str | None, document: dict[str, Any]) -> dict[str, Any]:
    match kind:
        case "wrong_type":
            return {**document, "token_type": "mac"}
        case "no_expiry":
            return {key: value for key, value in document.items() if key != "expires_in"}
        case "text_expiry":
            return {**document, "expires_in": str(document["expires_in"])}
        case "bad_expiry":
            return {**document, "expires_in": "soon"}
        case "bad_token":
            return {**document, "access_token": "a\r\nx-evil: 1"}
    return document


def _plain(headers: Mapping[str, str]) -> dict[str, str]:
    return {key: value for key, value in headers.items() if key.lower() != "content-type"}
