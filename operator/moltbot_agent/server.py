"""The agent's three HTTP servers.

========  ==============================  ==============================================================
metrics   `GET /metrics`, `GET /healthz`  for Prometheus and the kubelet; 503 until files are written
evidence  `GET /evidence`                 bearer token, else 401
evidence  `PUT /leaving`                  the same token; `true` or `false`: see moltbot_agent.leaving
drain     `POST /drain`                   on loopback; answers when drained or when the grace is over
========  ==============================  ==============================================================
"""

import asyncio
import contextlib
import dataclasses
import logging
import threading
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final

import orjson
from aiohttp import web

from moltbot_agent.admin import Admin
from moltbot_agent.config import AgentConfig
from moltbot_agent.deliveries import Deliveries
from moltbot_agent.draining import DrainOutcome, DrainPlan, drain
from moltbot_agent.evidence import authorized, evidence, read_token
from moltbot_agent.leaving import ask_to_leave
from moltbot_agent.metrics import Metrics

__all__ = ["Address", "Drainer", "drain_app", "evidence_app", "metrics_app", "serving"]

EVIDENCE_TIMEOUT: Final = timedelta(seconds=0.6)
"""Limit of each of the three calls to Envoy that evidence takes."""

_ANSWERS: Final = {b"true": True, b"false": False}

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Address:
    """Where a server listens; port 0 lets the system choose."""

    host: str
    port: int


class Drainer:
    """Drains once; whoever asks later waits for the same end."""

    def __init__(self, admin: Admin, stat_prefix: str, plan: DrainPlan) -> None:
        self._admin = admin
        self._stat_prefix = stat_prefix
        self._plan = plan
        self._stop = threading.Event()
        self._task: asyncio.Task[DrainOutcome] | None = None

    async def drain(self) -> DrainOutcome:
        """The outcome. A caller that leaves does not end the draining."""
        if self._task is None:
            _log.info("draining")
            self._task = asyncio.create_task(self._run())
        return await asyncio.shield(self._task)

    def stop(self) -> None:
        """Give up, so that the process can end."""
        self._stop.set()

    async def _run(self) -> DrainOutcome:
        outcome = await asyncio.to_thread(drain, self._admin, self._stat_prefix, self._plan, self._stop)
        _log.info("draining ended", extra={"outcome": dataclasses.asdict(outcome)})
        return outcome


def metrics_app(deliveries: Deliveries, metrics: Metrics) -> web.Application:
    """`/metrics` and `/healthz`."""
    one_at_a_time = asyncio.Lock()

    async def get_metrics(_request: web.Request) -> web.Response:
        async with one_at_a_time:
            text = await asyncio.to_thread(metrics.exposition)
        return web.Response(body=text, headers={"content-type": "text/plain; version=0.0.4; charset=utf-8"})

    async def healthz(_request: web.Request) -> web.Response:
        if deliveries.ready:
            return _json({"status": "ok"})
        return _json({"status": "files are not written yet", "problems": deliveries.problems}, 503)

    app = web.Application()
    app.add_routes([web.get("/metrics", get_metrics), web.get("/healthz", healthz)])
    return app


def evidence_app(config: AgentConfig, deliveries: Deliveries, admin: Admin, token: Path) -> web.Application:
    """`/evidence` and `/leaving`; the token is read at each request, so that it can be replaced.

    The operator waits 2 s, so an Envoy that hangs must be known to hang before.
    """
    quick = dataclasses.replace(admin, timeout=EVIDENCE_TIMEOUT)

    def shown(request: web.Request) -> bytes:
        expected = read_token(token)
        if expected is None or not authorized(request.headers.get("authorization"), expected):
            message = orjson.dumps({"error": "the evidence token is needed: Authorization: Bearer …"})
            raise web.HTTPUnauthorized(body=message, content_type="application/json")
        return expected

    async def get_evidence(request: web.Request) -> web.Response:
        return _json(await asyncio.to_thread(evidence, config, deliveries, quick, shown(request)))

    async def put_leaving(request: web.Request) -> web.Response:
        shown(request)
        said = await request.read()
        if said not in _ANSWERS or config.leave is None:
            return _json({"error": "the body is true or false, where the configuration knows it"}, 400)
        try:
            ask_to_leave(config.leave, leaving=_ANSWERS[said])
        except OSError as error:
            return _json({"error": f"{config.leave} can't be written: {error.strerror}"}, 503)
        _log.info("clients leave" if _ANSWERS[said] else "clients stay")
        return _json({"leaving": _ANSWERS[said]})

    app = web.Application(client_max_size=1024)
    app.add_routes([web.get("/evidence", get_evidence), web.put("/leaving", put_leaving)])
    return app


def drain_app(drainer: Drainer) -> web.Application:
    """`/drain`."""

    async def post_drain(_request: web.Request) -> web.Response:
        return _json(dataclasses.asdict(await drainer.drain()))

    app = web.Application()
    app.add_routes([web.post("/drain", post_drain)])
    return app


@contextlib.asynccontextmanager
async def serving(app: web.Application, address: Address) -> AsyncIterator[int]:
    """Serve while the block runs; gives the port. Raises OSError where the address is taken."""
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, address.host, address.port).start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


def _json(body: object, status: int = 200) -> web.Response:
    return web.Response(body=orjson.dumps(body), status=status, content_type="application/json")
