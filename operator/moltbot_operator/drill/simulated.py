"""A model's server for a drill, on loopback: answers at once, or fails in the way that it is told."""

import asyncio
import json
import socket
from types import TracebackType
from typing import Any, Final, Self

from aiohttp import web

from moltbot_operator.explain import Fault

__all__ = ["Simulated"]

_RESET: Final = (1).to_bytes(4, "little") + (0).to_bytes(4, "little")
"""SO_LINGER that makes a close a reset."""


class Simulated:
    """One backend's stand-in; `fault` takes effect at once."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.asked = 0
        """Requests that came."""
        self._fault: Fault | None = None
        self._runner: web.ServerRunner | None = None
        self._listener: asyncio.Server | None = None
        self._held = socket.socket(socket.AF_INET)

    async def __aenter__(self) -> Self:
        self._held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        self._held.bind(("127.0.0.1", 0))  # nobody else gets the port while connections are refused
        self._runner = web.ServerRunner(web.Server(self._answer))
        await self._runner.setup()
        await self._listen()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()
        if self._runner is not None:
            await self._runner.cleanup()
        self._held.close()

    @property
    def url(self) -> str:
        """Where it is, with the prefix of OpenAI's API."""
        return f"http://127.0.0.1:{self._held.getsockname()[1]}/v1"

    async def fail(self, fault: Fault | None) -> None:
        """From now on; None ends it."""
        self._fault = fault
        if fault is Fault.REFUSED:
            self._close()
            for connection in self._connections():
                _reset(connection)
        elif self._listener is None:
            await self._listen()

    async def _listen(self) -> None:
        if self._runner is None or self._runner.server is None:
            raise RuntimeError(f"the stand-in for {self.name} is not started")
        host, port = self._held.getsockname()
        self._listener = await asyncio.get_running_loop().create_server(
            self._runner.server, host, port, reuse_port=True
        )

    def _close(self) -> None:
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    def _connections(self) -> list[asyncio.BaseTransport]:
        server = None if self._runner is None else self._runner.server
        found = [] if server is None else [each.transport for each in server.connections]
        return [each for each in found if each is not None]

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        self.asked += 1
        await request.read()
        match self._fault:
            case None:
                return web.json_response(_chat(self.name))
            case Fault.SILENT:
                await asyncio.Event().wait()
            case Fault.REFUSED | Fault.RESET:
                if request.transport is not None:
                    _reset(request.transport)
                return web.Response()
        return self._refused(self._fault)

    def _refused(self, fault: Fault) -> web.Response:
        error = {"message": "an error of the drill", "type": "server_error", "param": None, "code": None}
        headers = {} if fault.retry_after is None else {"retry-after": str(fault.retry_after)}
        body = json.dumps({"error": error})
        return web.Response(status=fault.status, text=body, content_type="application/json", headers=headers)


def _reset(transport: asyncio.BaseTransport) -> None:
    held = transport.get_extra_info("socket")
    if held is not None:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    if isinstance(transport, asyncio.WriteTransport):
        transport.abort()


def _chat(model: str) -> dict[str, Any]:
    """A chat completion (https://platform.openai.com/docs/api-reference/chat/object)."""
    return {
        "id": "chatcmpl-drill",
        "object": "chat.completion",
        "created": 0,
        "model": model,
        "choices": [
            {"index": 0, "message": {"role": "assistant", "content": "drill"}, "finish_reason": "stop"}
        ],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
    }
