"""The provider's HTTP server: operations, credentials, records and the carrying out of faults."""

import asyncio
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from aiohttp import web

from moltbot_provider import answers, messages
from moltbot_provider.faults import Fault, Faults
from moltbot_provider.operations import Operations, is_messages
from moltbot_provider.records import Outcome, Record, Records
from moltbot_provider.reply import Refused, Reply

__all__ = ["Provider"]

Verify = Callable[[str], Awaitable[str | None]]

MAX_BODY = 64 * 1024 * 1024
_RESET = struct.pack("ii", 1, 0)
"""SO_LINGER with zero seconds: closing sends RST instead of FIN."""


class _Cut(Exception):  # noqa: N818
    """The connection was reset on purpose; nothing may be sent any more."""


class Provider:
    """One provider on one port.

    `expect` maps lower-case header names to the values that are accepted; a request without one of them
    is answered 401. `words` is the length of an answer where the client sets no limit, `event_gap` the pause
    between streamed events and `delay` the time before every answer, in seconds. `ssl_context`: HTTPS.
    `verify` is given the value of `Authorization` and says what is wrong with it, else None.
    """

    def __init__(
        self,
        name: str = "provider",
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        models: Sequence[str] = (),
        expect: Mapping[str, Sequence[str] | str] | None = None,
        words: int = 5,
        event_gap: float = 0.0,
        delay: float = 0.0,
        ssl_context: ssl.SSLContext | None = None,
        verify: Verify | None = None,
    ) -> None:
        self.name = name
        self.host = host
        self.port = port
        self.operations = Operations(name, tuple(models) or (name,), words)
        self.event_gap = event_gap
        self.delay = delay
        self.requests = Records()
        self.faults = Faults()
        self.expect: dict[str, tuple[str, ...]] = {}
        self.set_expect(expect or {})
        self.verify = verify
        self._ssl = ssl_context
        self._runner: web.AppRunner | None = None
        self._server: asyncio.Server | None = None
        self._held: socket.socket | None = None

    @property
    def url(self) -> str:
        """Scheme, host and port, without a path."""
        return f"{'https' if self._ssl else 'http'}://{self.host}:{self.port}"

    def set_expect(self, expect: Mapping[str, Sequence[str] | str]) -> None:
        """Replace the accepted credentials; empty accepts every request."""
        self.expect = {
            key.lower(): (value,) if isinstance(value, str) else tuple(value) for key, value in expect.items()
        }

    async def fault(self, kind: str, **settings: Any) -> Fault:
        """Replace all faults by this one (see KINDS) and return it, for its `hits`."""
        fault = Fault(kind=kind, **settings)
        await self.set_faults([fault])
        return fault

    async def set_faults(self, faults: Sequence[Fault]) -> None:
        """Replace all faults; a `refuse` among them stops listening, none starts it again."""
        self.faults.active = list(faults)
        if self.faults.refusing:
            self._close_listener()
            self.reset_connections()
        elif self._server is None:
            await self._listen()

    async def clear(self) -> None:
        """End all faults; requests that hang stay unanswered."""
        await self.set_faults([])

    def reset_connections(self) -> None:
        """Reset every open connection of clients, idle or not."""
        if self._runner is not None and self._runner.server is not None:
            for protocol in self._runner.server.connections:
                _reset(protocol.transport)

    async def start(self) -> Self:
        """Listen; `port` 0 is replaced by the port that the system chose."""
        app = web.Application(client_max_size=MAX_BODY)
        app.router.add_route("*", "/{tail:.*}", self._handle)
        self._runner = web.AppRunner(
            app, handler_cancellation=True, access_log=None, auto_decompress=False, keepalive_timeout=3600
        )
        await self._runner.setup()
        self._hold()
        await self._listen()
        return self

    async def stop(self) -> None:
        """Stop listening and end every connection."""
        self._close_listener()
        self.reset_connections()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None
        if self._held is not None:
            self._held.close()
            self._held = None

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    def _hold(self) -> None:
        """Bind the port without listening, so that nobody else gets it while the provider refuses."""
        self._held = socket.socket(socket.AF_INET6 if ":" in self.host else socket.AF_INET)
        self._held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        self._held.bind((self.host, self.port))
        self.port = self._held.getsockname()[1]

    async def _listen(self) -> None:
        if self._runner is None or self._runner.server is None:
            raise RuntimeError(f"provider {self.name} is not started")
        self._server = await asyncio.get_running_loop().create_server(
            self._runner.server,
            self.host,
            self.port,
            ssl=self._ssl,
            reuse_address=True,
            reuse_port=True,
            backlog=1024,
        )

    def _close_listener(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        peer = request.transport.get_extra_info("peername") if request.transport else None
        record = self.requests.add(
            request.method,
            request.raw_path,
            request.raw_headers,
            body,
            f"{peer[0]}:{peer[1]}" if peer else "unknown",
        )
        try:
            response = await self._answer(request, record, body)
        except (asyncio.CancelledError, ConnectionError):
            self.requests.done(record, "client left")
            raise
        except _Cut:
            self.requests.done(record, "fault")
            return web.Response()  # goes nowhere: the connection is closed
        outcome: Outcome = "answered"
        if record.fault or response.status == 401:
            outcome = "fault" if record.fault else "refused credential"
        self.requests.done(record, outcome, response.status)
        return response

    async def _answer(self, request: web.Request, record: Record, body: bytes) -> web.StreamResponse:
        fault = self.faults.next()
        record.fault = fault.kind if fault else None
        if self.delay:
            await asyncio.sleep(self.delay)
        if fault is not None:
            early = await self._early(request, fault)
            if early is not None:
                return early
        for name, accepted in self.expect.items():
            if not set(record.credentials.get(name, ())) & set(accepted):
                refused = Refused(401, f"no accepted credential in the header {name}", "invalid_api_key")
                return self._refusal(request, refused)
        if self.verify is not None:
            values = record.credentials.get("authorization", [])
            wrong = await self.verify(values[0]) if len(values) == 1 else f"{len(values)} credentials"
            if wrong is not None:
                record.refused = wrong
                return self._refusal(request, Refused(401, wrong, "invalid_api_key"))
        return await self._operate(request, body, fault)

    async def _early(self, request: web.Request, fault: Fault) -> web.StreamResponse | None:
        """Faults that come before the operation; None goes on to it."""
        match fault.kind:
            case "status":
                headers = {"retry-after": fault.retry_after} if fault.retry_after is not None else {}
                kind = "rate_limit_error" if fault.status == 429 else "server_error"
                return self._refusal(request, Refused(fault.status, "simulated fault"), kind, headers)
            case "context_length":
                message = "this model's maximum context length is exceeded"
                refused = Refused(400, message, "context_length_exceeded", "messages")
                return self._refusal(request, refused)
            case "reset_before_headers":
                _reset(request.transport)
                raise _Cut
            case "hang":
                await asyncio.Event().wait()
            case "delay":
                await asyncio.sleep(fault.seconds)
        return None

    async def _operate(self, request: web.Request, body: bytes, fault: Fault | None) -> web.StreamResponse:
        finish = fault.kind if fault and fault.kind == "content_filter" else None
        kind = request.headers.get("content-type", "")
        try:
            reply = self.operations.answer(request.method, request.path, kind, body, finish)
        except Refused as refused:
            return self._refusal(request, refused)
        return await (self._send if reply.frames is None else self._stream)(request, reply, fault)

    def _refusal(
        self, request: web.Request, refused: Refused, kind: str = "", headers: Mapping[str, str] | None = None
    ) -> web.Response:
        """An error in the shape of the API that was asked."""
        message = f"{self.name}: {refused}"
        if is_messages(request.path):
            return _json(messages.error(refused.status, message), refused.status, headers)
        shaped = answers.error(message, kind or "invalid_request_error", refused.code, refused.param)
        return _json(shaped, refused.status, headers)

    async def _send(self, request: web.Request, reply: Reply, fault: Fault | None) -> web.StreamResponse:
        """A plain answer, whole or with the fault in it."""
        body = reply.content
        kind = fault.kind if fault else None
        if kind == "malformed_json":
            body = body[: len(body) // 2]
        if kind not in {"reset_after_headers", "slow_first_byte", "stream_cut", "stream_stall"}:
            return web.Response(body=body, content_type=reply.content_type, headers=self._headers())
        response = web.StreamResponse(headers=self._headers())
        response.content_type = reply.content_type
        response.content_length = len(body)
        await response.prepare(request)
        await self._after_headers(request, fault)
        if kind in {"stream_cut", "stream_stall"}:
            await response.write(body[: len(body) // 2])
            await self._broken(request, fault)
        await response.write(body)
        await response.write_eof()
        return response

    async def _stream(self, request: web.Request, reply: Reply, fault: Fault | None) -> web.StreamResponse:
        """Server-sent events, each in its own write, with the fault in them."""
        response = web.StreamResponse(headers={**self._headers(), "cache-control": "no-cache"})
        response.content_type = "text/event-stream"
        response.enable_chunked_encoding()
        await response.prepare(request)
        await self._after_headers(request, fault)
        kind = fault.kind if fault else None
        for sent, frame in enumerate(reply.frames or ()):
            if fault is not None and sent >= fault.after:
                if kind == "no_done":
                    await response.write_eof()
                    return response
                if kind in {"stream_cut", "stream_stall"}:
                    await self._broken(request, fault)
                if kind == "malformed_json":
                    await response.write(frame[: len(frame) // 2].encode() + b"\n\n")
                    break
            if sent and self.event_gap:
                await asyncio.sleep(self.event_gap)
            await response.write(frame.encode())
        if kind != "no_done" and reply.end:
            await response.write(reply.end.encode())
        await response.write_eof()
        return response

    async def _after_headers(self, request: web.Request, fault: Fault | None) -> None:
        if fault is None:
            return
        if fault.kind == "reset_after_headers":
            await asyncio.sleep(0.05)  # let the headers leave: a reset discards what the peer has not read
            _reset(request.transport)
            raise _Cut
        if fault.kind == "slow_first_byte":
            await asyncio.sleep(fault.seconds)

    async def _broken(self, request: web.Request, fault: Fault | None) -> None:
        """Reset or fall silent in the middle of a body."""
        if fault is not None and fault.kind == "stream_stall":
            await asyncio.Event().wait()
        await asyncio.sleep(0.05)  # as in _after_headers
        _reset(request.transport)
        raise _Cut

    def _headers(self) -> dict[str, str]:
        return {"x-provider": self.name}


def _json(body: dict[str, Any], status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    return web.json_response(body, status=status, headers=headers)


def _reset(transport: asyncio.BaseTransport | None) -> None:
    """Close with RST, so that the client sees a reset and not an end."""
    if transport is None or transport.is_closing():
        return
    sock = transport.get_extra_info("socket")
    if sock is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    transport.abort()  # type: ignore[attr-defined]
