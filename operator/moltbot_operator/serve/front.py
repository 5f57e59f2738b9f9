"""What a server tells over HTTP, on a port that stays the same while revisions come and go.

==============  ==========================================================================================
`GET /metrics`  the active revision's, as a gateway pod and a worker have them, and the server's own
`GET /healthz`  200 while it serves
`GET /status`   JSON: route, revision, files, address, why changed files are not served (`failure`), and
                how rotations stand (`credentials` by backend, `consumerKeys` by Secret), and the worker, if
                a rule asks for one: `ready`, `message`, and how often it ended by itself (`ends`)
==============  ==========================================================================================

=====================================  ========  ========================================================
`moltbot_serve_reloads_total`          outcome   changes of files: `success`, `failure`, `unchanged`
`moltbot_serve_files_refused`          -         1 while the files hold what can't be served
`moltbot_serve_worker_ends_total`      -         how often the active revision's worker ended by itself
`moltbot_serve_draining_revisions`     -         old revisions that still have requests
`moltbot_credential_*`, `_rotation_*`  backend   as the operator's; see docs/rotation.md
`moltbot_consumer_key_*`               secret    the same
=====================================  ========  ========================================================
"""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Final

import orjson

from moltbot_operator.errors import InvalidInput
from moltbot_operator.serve.asking import ask
from moltbot_operator.serve.ports import LOOPBACK, bound, bound_or_free
from moltbot_operator.serve.rotation.shown import exposed, shown
from moltbot_operator.serve.server import Server

if TYPE_CHECKING:
    from aiohttp import web

__all__ = ["METRICS_PORT", "chosen", "fronting", "scrape"]

METRICS_PORT: Final = 9090
"""Where metrics are unless the port is taken."""

_OPTION: Final = "--metrics-port"

_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


def chosen(asked: int | None) -> socket.socket:
    """On the port for `asked` (None: 9090 if it is free, else another); InvalidInput where it is taken."""
    return bound_or_free(LOOPBACK, METRICS_PORT) if asked is None else bound(LOOPBACK, asked, _OPTION)


@contextlib.asynccontextmanager
async def fronting(server: Server, listener: socket.socket) -> AsyncIterator[None]:
    """Answer on a bound socket until the block ends. InvalidInput where it can't listen after all."""
    from aiohttp import web  # noqa: PLC0415 - a tenth of a second; requests are served before it is over

    async def metrics(_request: web.Request) -> web.Response:
        text = await scrape(server)
        status = 200 if text is not None else 503
        worker = server.active.gateway.worker
        told = None if worker is None else await asyncio.to_thread(worker.metrics)
        body = (text or "") + (told or "") + _own(server)
        return web.Response(body=body.encode(), status=status, headers={"content-type": _TYPE})

    async def healthz(_request: web.Request) -> web.Response:
        dead = server.active.gateway.ended.done()
        return _json({"status": "ended" if dead else "ok"}, 503 if dead else 200)

    async def status(_request: web.Request) -> web.Response:
        worker = server.active.gateway.worker
        stands = None if worker is None else await asyncio.to_thread(worker.state)
        return _json({**_status(server), "worker": stands})

    app = web.Application()
    app.add_routes([web.get("/metrics", metrics), web.get("/healthz", healthz), web.get("/status", status)])
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.SockSite(runner, listener).start()
    except OSError as error:  # bound by two, and the other one listened first
        await runner.cleanup()
        host, port = listener.getsockname()
        raise InvalidInput(
            f"{host}:{port} can't be listened on: {error.strerror}; choose another with {_OPTION}"
        ) from error
    try:
        yield
    finally:
        await runner.cleanup()


async def scrape(server: Server) -> str | None:
    """The active revision's metrics; None where its agent does not answer (it is started again)."""
    return await asyncio.to_thread(_get, server.active.gateway.metrics_port)


def _get(port: int) -> str | None:
    said = ask(port, "/metrics", seconds=10)
    return said.body.decode() if said is not None and said.well else None


def _own(server: Server) -> str:
    worker = server.active.gateway.worker
    lines = [
        "# HELP moltbot_serve_reloads_total Changes of files by what came of them",
        "# TYPE moltbot_serve_reloads_total counter",
        *(
            f'moltbot_serve_reloads_total{{outcome="{outcome}"}} {count}'
            for outcome, count in server.reloads.items()
        ),
        "# HELP moltbot_serve_files_refused 1 while the files hold what can't be served",
        "# TYPE moltbot_serve_files_refused gauge",
        f"moltbot_serve_files_refused {int(server.failure is not None)}",
        "# HELP moltbot_serve_draining_revisions Old revisions that still have requests",
        "# TYPE moltbot_serve_draining_revisions gauge",
        f"moltbot_serve_draining_revisions {server.draining}",
        *(
            ()
            if worker is None
            else (
                "# HELP moltbot_serve_worker_ends_total Ends of the active revision's worker by itself",
                "# TYPE moltbot_serve_worker_ends_total counter",
                f"moltbot_serve_worker_ends_total {worker.ends}",
            )
        ),
        *(exposed(server.rotations) if server.rotations is not None else ()),
    ]
    return "\n".join(lines) + "\n"


def _rotations(server: Server, kind: str) -> dict[str, object]:
    known = [] if server.rotations is None else server.rotations.all
    return {each.subject.name: shown(each) for each in known if each.subject.kind == kind}


def _status(server: Server) -> dict[str, object]:
    compiled = server.active.gateway.compiled
    return {
        "route": f"{compiled.agent.namespace}/{compiled.agent.route}",
        "revision": server.active.identity.revision,
        "url": server.url,
        "files": [str(path.absolute()) for path in server.options.files],
        "failure": server.failure,
        "draining": server.draining,
        "credentials": _rotations(server, "backend"),
        "consumerKeys": _rotations(server, "secret"),
    }


def _json(body: object, status: int = 200) -> "web.Response":
    from aiohttp import web  # noqa: PLC0415 - as above

    return web.Response(body=orjson.dumps(body), status=status, content_type="application/json")
