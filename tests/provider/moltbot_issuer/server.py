"""The issuer's HTTP server: every form on one port, the carrying out of faults, and what a provider asks."""

import asyncio
import contextlib
import ssl
import time
from collections import Counter, deque
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from aiohttp import web

from moltbot_issuer.carrying import after, before
from moltbot_issuer.faults import Fault, Faults
from moltbot_issuer.forms import FORMS, Do
from moltbot_issuer.keys import Key, Keys

__all__ = ["Call", "Issuer"]


@dataclass
class Call:
    """One call of the admin API."""

    at: float
    form: str
    operation: str
    name: str = ""
    """Name in the body, or identifier in the path."""
    outcome: str = "in flight"
    """The status, or the fault."""


class Issuer:
    """One issuer on one port; `page`: the most keys that a list shows at once."""

    def __init__(
        self,
        *,
        admin_key: str = "admin-s3cret-of-the-issuer",
        page: int = 100,
        host: str = "127.0.0.1",
        port: int = 0,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        self.admin_key = admin_key
        self.page = page
        self.host = host
        self.port = port
        self.keys = Keys()
        self.calls: deque[Call] = deque(maxlen=20_000)
        self.faults = Faults()
        self._ssl = ssl_context
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        return f"{'https' if self._ssl else 'http'}://{self.host}:{self.port}"

    def fault(self, kind: str, **settings: Any) -> Fault:
        """Replace all faults by this one (see FAULTS)."""
        fault = Fault(kind, **settings)
        self.faults.set(fault)
        return fault

    def clear(self) -> None:
        self.faults.set()

    def valid(self) -> list[Key]:
        return self.keys.valid()

    def count(self) -> Counter[str]:
        """Calls by operation."""
        return Counter(call.operation for call in self.calls)

    async def verify(self, value: str) -> str | None:
        """Whether `Bearer …` is a valid key: None, or why not. For Provider(verify=…)."""
        scheme, _, key = value.partition(" ")
        if scheme != "Bearer":
            return "no bearer token"
        return None if self.keys.accepts(key) else "a key that is not valid"

    async def start(self) -> Self:
        app = web.Application()
        for form, operations in FORMS.items():
            for (method, path), (operation, do) in operations.items():
                app.router.add_route(method, path, self._handler(form, operation, do))
        app.router.add_post("/accepted", self._accepted)
        self._runner = web.AppRunner(app, handler_cancellation=True, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, self.host, self.port, ssl_context=self._ssl).start()
        self.port = self._runner.addresses[0][1]
        return self

    async def stop(self) -> None:
        self.clear()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def _accepted(self, request: web.Request) -> web.Response:
        """Asked by a provider: `{"active": bool}` for the form field `token`, as RFC 7662 has it."""
        token = str((await request.post()).get("token", ""))
        return web.json_response({"active": self.keys.accepts(token)})

    def _handler(self, form: str, operation: str, do: Do):
        async def handle(request: web.Request) -> web.StreamResponse:
            call = Call(time.time(), form, operation, request.match_info.get("id", ""))
            self.calls.append(call)
            try:
                response = await self._answer(request, call, do)
            except asyncio.CancelledError:
                call.outcome = f"client left ({call.outcome})"
                raise
            if call.outcome == "in flight":
                call.outcome = str(response.status)
            return response

        return handle

    async def _answer(self, request: web.Request, call: Call, do: Do) -> web.StreamResponse:
        body = await _body(request)
        if isinstance(body, dict):
            call.name = str(body.get("name") or body.get("key_alias") or body.get("label") or call.name)
        fault = self.faults.next(call.operation)
        if fault is not None:
            call.outcome = fault.kind
            early = await before(request, fault, self.faults)
            if early is not None:
                return early
        if request.headers.get("authorization") != f"Bearer {self.admin_key}":
            return web.json_response({"error": {"message": "no valid admin credential"}}, status=401)
        try:
            answer = do(self.keys, request, body, self.page)
        except (KeyError, TypeError, ValueError) as error:
            return web.json_response({"error": {"message": f"malformed: {error!r}"}}, status=400)
        return await after(request, fault, self.faults, answer.status, answer.document)


async def _body(request: web.Request) -> Any:
    with contextlib.suppress(ValueError):
        return await request.json()
    return None
