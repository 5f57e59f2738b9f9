"""A server that takes webhooks and answers as it is told: for gates, notifications and queries.

::

    async with Hooks() as hooks:
        hooks.answers = [503, 503, 200]      # one after the other, the last one for ever
        ... POST hooks.url ...
        hooks.requests[0].body
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

from aiohttp import web

__all__ = ["Hooks", "Reply", "Taken"]


@dataclass(frozen=True)
class Taken:
    """One request."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Reply:
    """`fault`: hang (no answer), cut (the connection ends without one), drip (a byte now and then)."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    fault: str = ""


class Hooks:
    """The server; use as a context manager."""

    def __init__(self) -> None:
        self.requests: list[Taken] = []
        self.answers: list[Reply | int] = [200]
        self.url = ""
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._take)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _take(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        self.requests.append(Taken(request.method, request.path_qs, request.headers, body))
        given = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        reply = Reply(given) if isinstance(given, int) else given
        if reply.fault == "hang":
            await asyncio.sleep(3600)
        if reply.fault == "cut" and request.transport is not None:
            request.transport.abort()
        if reply.fault == "drip":
            response = web.StreamResponse(status=reply.status)
            await response.prepare(request)
            while True:
                await response.write(b".")
                await asyncio.sleep(0.05)
        return web.Response(status=reply.status, body=reply.body, headers=reply.headers)
