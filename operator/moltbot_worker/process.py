"""One worker: its parts put together, started in order, and drained.

::

    metrics and evidence listen ─► requests are taken ─► warm-up ─► ready ─► SIGTERM: not ready, still serving
    for `SETTLE` ─► no new connection, requests in flight end ─► jobs are given back ─► end
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Coroutine, Iterator
from dataclasses import dataclass
from typing import Final

from moltbot_worker.config import WorkerConfig
from moltbot_worker.handling import App
from moltbot_worker.metrics import Metrics
from moltbot_worker.rules import answering
from moltbot_worker.serving import evidence_app, listening, metrics_app
from moltbot_worker.store import Store, opened
from moltbot_worker.upstream import Upstream

__all__ = ["Worker", "running"]

SETTLE_S: Final = 5.0
"""How long requests are still taken after SIGTERM, until everybody knows that this worker goes."""

RELOAD_S: Final = 5.0
"""Pause between looks at the shared secret."""

_log = logging.getLogger(__name__)


@dataclass
class Worker:
    """A worker that runs."""

    config: WorkerConfig
    app: App
    store: Store
    metrics: Metrics
    port: int = 0
    metrics_port: int = 0
    evidence_port: int = 0
    warm: bool = False

    def why_not_ready(self) -> str | None:
        """None where requests may come."""
        if self.app.draining:
            return "draining"
        return None if self.warm else "warming up"

    def evidence(self) -> dict[str, object]:
        """See serving.evidence_app."""
        return {
            "namespace": self.config.namespace,
            "route": self.config.route,
            "revision": self.config.revision,
            "ready": self.why_not_ready() is None,
            "warm": self.warm,
            "draining": self.app.draining,
            "inFlight": self.app.in_flight,
            "store": {"type": self.config.store.type, "up": self.store.up},
            "problems": self.problems(),
        }

    def problems(self) -> list[str]:
        """What keeps features from working, in words."""
        found = []
        if not self.store.up:
            found.append("the store is away: cache and jobs are left out")
        return found


@contextlib.asynccontextmanager
async def running(config: WorkerConfig) -> AsyncIterator[Worker]:
    """A worker, ready once `warm`; at the end of the block it drains.

    Raises OSError where a port is taken.
    """
    metrics = Metrics(config.revision)
    store = opened(config, metrics.store_failures.inc)
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(store.close)
        upstream = await stack.enter_async_context(Upstream(config.gateway))
        handlers = {
            rule.name: answering(rule, config.limits, upstream, store, metrics) for rule in config.rules
        }
        app = App(config, handlers, None, lambda: upstream.key, metrics)
        worker = Worker(config, app, store, metrics)
        host = config.host
        worker.metrics_port = await stack.enter_async_context(
            listening(metrics_app(metrics, worker.why_not_ready), host, config.metrics_port, 1)
        )
        worker.evidence_port = await stack.enter_async_context(
            listening(evidence_app(config.evidence_token, worker.evidence), host, config.evidence_port, 1)
        )
        worker.port = await stack.enter_async_context(listening(app, host, config.port, config.limits.drain))
        stack.enter_context(_background(_watch(upstream, store, metrics)))
        worker.warm = True
        ports = {"port": worker.port, "metrics": worker.metrics_port, "evidence": worker.evidence_port}
        _log.info("serving", extra=ports)
        yield worker
        app.draining = True
        _log.info("draining", extra={"inFlight": app.in_flight})


@contextlib.contextmanager
def _background(work: Coroutine[None, None, None]) -> Iterator[None]:
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()


async def _watch(upstream: Upstream, store: Store, metrics: Metrics) -> None:
    while True:
        upstream.reload()
        metrics.store_up.set(store.up)
        await asyncio.sleep(RELOAD_S)
