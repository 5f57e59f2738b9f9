"""HTTP endpoints of the operator: /healthz and /readyz for the kubelet, /metrics for Prometheus.

They are up in standby too. Ready means ready to do its part: a standby is (to take over), a leader is once
its cache is full. Health needs no checks of its own: an event loop that hangs does not answer.
"""

from collections.abc import Callable
from types import TracebackType
from typing import Final, Self

from aiohttp import web

from moltbot_operator.telemetry.metrics import Metrics

__all__ = ["HealthServer"]

EXPOSITION: Final = "text/plain; version=0.0.4; charset=utf-8"


class HealthServer:
    """Two listeners, open for as long as the `async with` block lasts."""

    def __init__(
        self,
        metrics: Metrics,
        not_ready: Callable[[], str | None],
        *,
        address: str,
        health_port: int,
        metrics_port: int,
    ) -> None:
        """`not_ready` says why, None when ready. Port 0 is a free one."""
        self._metrics = metrics
        self._not_ready = not_ready
        self._address = address
        self._ports = (health_port, metrics_port)
        self._runners: list[web.AppRunner] = []
        self.ports: list[int] = []
        """Ports in use: health, metrics."""

    async def __aenter__(self) -> Self:
        health, metrics = web.Application(), web.Application()
        health.router.add_get("/healthz", self._healthz)
        health.router.add_get("/readyz", self._readyz)
        metrics.router.add_get("/metrics", self._scrape)
        for app, port in zip((health, metrics), self._ports, strict=True):
            runner = web.AppRunner(app, access_log=None, handle_signals=False)
            self._runners.append(runner)
            await runner.setup()
            await web.TCPSite(runner, self._address, port).start()
            self.ports.append(runner.addresses[0][1])
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for runner in self._runners:
            await runner.cleanup()

    async def _healthz(self, _: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def _readyz(self, _: web.Request) -> web.Response:
        reason = self._not_ready()
        return web.Response(text=f"{reason or 'ok'}\n", status=503 if reason else 200)

    async def _scrape(self, _: web.Request) -> web.Response:
        return web.Response(body=self._metrics.render(), headers={"Content-Type": EXPOSITION})
