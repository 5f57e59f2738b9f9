"""HTTP servers of the worker: uvicorn without its own signals, logs and command line.

Three listen: requests, metrics and evidence. The last two go on while the first one drains.
"""

import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from pathlib import Path
from typing import Final

import orjson
import uvicorn

from moltbot_agent.evidence import authorized, read_token
from moltbot_worker.handling import Receive, Scope, Send
from moltbot_worker.metrics import Metrics

__all__ = ["Application", "evidence_app", "listening", "metrics_app"]

Application = Callable[[Scope, Receive, Send], Awaitable[None]]

KEEP_ALIVE_S: Final = 3900
"""Longer than Envoy keeps an idle connection (an hour): the side that asks must close first."""

_TEXT: Final = (b"content-type", b"text/plain; version=0.0.4; charset=utf-8")
_JSON: Final = (b"content-type", b"application/json")

_log = logging.getLogger(__name__)


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.stop = asyncio.Event()

    async def main_loop(self) -> None:
        """Without uvicorn's look at its flags ten times a second."""
        await self.stop.wait()

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        """The process has its own."""
        yield


@contextlib.asynccontextmanager
async def listening(app: Application, host: str, port: int, drain: float) -> AsyncIterator[int]:
    """Serve while the block runs; gives the port. At its end requests in flight get `drain` seconds.

    Raises OSError where the address is taken.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError:
        listener.close()
        raise
    config = uvicorn.Config(
        app,
        http="httptools",
        loop="none",
        lifespan="off",
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        proxy_headers=False,
        backlog=2048,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=max(1, round(drain)),
    )
    logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)  # what stays unfinished is logged here
    server = _Server(config)
    running = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        while not server.started:
            if running.done():
                running.result()
                raise OSError(f"the server on port {port} ended at its start")
            await asyncio.sleep(0.005)
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        server.stop.set()
        await running
        listener.close()


def metrics_app(
    metrics: Metrics, healthy: Callable[[], str | None], ready: Callable[[], str | None]
) -> Application:
    """`/metrics`, `/healthz`, `/readyz`; `healthy` and `ready` say why not."""

    async def app(scope: Scope, _receive: Receive, send: Send) -> None:
        if scope["path"] == "/metrics":
            return await _say(send, 200, metrics.exposition(), _TEXT)
        if scope["path"] in {"/healthz", "/readyz"}:
            why = healthy() if scope["path"] == "/healthz" else ready()
            return await _say(send, 503 if why else 200, orjson.dumps({"status": why or "ok"}))
        return await _say(send, 404, orjson.dumps({"error": "/metrics, /healthz and /readyz are here"}))

    return app


def evidence_app(token: Path, evidence: Callable[[], dict[str, object]]) -> Application:
    """`/evidence`, with the bearer token in the file `token`, which is read each time: it may be replaced.

    The document (JSON)::

        {"namespace": str, "route": str, "revision": str, "ready": bool, "warm": bool, "draining": bool,
         "inFlight": int, "store": {"type": str, "up": bool}, "problems": [str]}
    """

    async def app(scope: Scope, _receive: Receive, send: Send) -> None:
        if scope["path"] != "/evidence":
            return await _say(send, 404, orjson.dumps({"error": "/evidence is here"}))
        header = dict(scope["headers"]).get(b"authorization", b"").decode("latin-1")
        if not authorized(header, read_token(token)):
            told = {"error": "the evidence token is needed: Authorization: Bearer …"}
            return await _say(send, 401, orjson.dumps(told))
        return await _say(send, 200, orjson.dumps(evidence()))

    return app


async def _say(send: Send, status: int, body: bytes, kind: tuple[bytes, bytes] = _JSON) -> None:
    headers = [kind, (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
