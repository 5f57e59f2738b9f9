"""One worker: its parts put together, started in order, and drained.

::

    metrics and evidence listen ─► requests are taken ─► warm-up ─► ready ─► SIGTERM: not ready, still serving
    for `SETTLE` ─► no new connection, requests in flight end ─► jobs are given back ─► end
"""

import asyncio
import contextlib
import logging
import secrets
import time
from collections.abc import AsyncIterator, Coroutine
from dataclasses import dataclass
from typing import Final

from moltbot_worker.config import Rule, WorkerConfig
from moltbot_worker.exchange import Handler
from moltbot_worker.handling import App
from moltbot_worker.jobs.api import JobApi
from moltbot_worker.jobs.running import JobRunner
from moltbot_worker.jobs.webhooks import Webhooks
from moltbot_worker.metrics import Metrics
from moltbot_worker.rules import answering, submitting
from moltbot_worker.serving import evidence_app, listening, metrics_app
from moltbot_worker.store import Store, opened
from moltbot_worker.upstream import Upstream
from moltbot_worker.warming import Warming

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
    defect: str | None = None

    def over(self, task: "asyncio.Task[None]") -> None:
        """Note that background work has ended by a defect."""
        if not task.cancelled() and (error := task.exception()) is not None:
            self.defect = type(error).__name__
            _log.error("background work ended", exc_info=error)

    def why_unhealthy(self) -> str | None:
        """None where the process can go on."""
        return None if self.defect is None else f"background work ended: {self.defect}"

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
async def running(config: WorkerConfig, *, allow_local_webhooks: bool = False) -> AsyncIterator[Worker]:
    """A worker, ready once `warm`; at the end of the block it drains.

    `allow_local_webhooks` is for tests, whose servers are on this host. Raises OSError where a port is taken.
    """
    metrics = Metrics(config.revision)
    store = opened(config, metrics.store_failures.inc)
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(store.close)
        upstream = await stack.enter_async_context(Upstream(config.gateway))
        answers, warmings = dict[str, tuple[Rule, Handler]](), list[Warming]()
        for rule in config.rules:
            handler, uncached = answering(rule, config.limits, upstream, store, metrics)
            answers[rule.name] = rule, handler
            if rule.cache is not None and rule.cache.warm_up is not None:
                warmings.append(
                    Warming(
                        rule,
                        revision=config.revision,
                        owner=secrets.token_hex(8),
                        store=store,
                        inner=uncached,
                        metrics=metrics,
                    )
                )
        webhooks = Webhooks(config.jobs, allow_local=allow_local_webhooks)
        stack.push_async_callback(webhooks.close)
        handlers = {
            name: submitting(
                rule, config.jobs, store=store, webhooks=webhooks, answer=handler, metrics=metrics
            )
            for name, (rule, handler) in answers.items()
        }
        has_jobs = any(rule.async_ is not None for rule in config.rules)
        api = JobApi(store, metrics) if has_jobs else None
        app = App(config, handlers, api, lambda: upstream.key, metrics)
        worker = Worker(config, app, store, metrics)
        host = config.host
        worker.metrics_port = await stack.enter_async_context(
            listening(
                metrics_app(metrics, worker.why_unhealthy, worker.why_not_ready), host, config.metrics_port, 1
            )
        )
        worker.evidence_port = await stack.enter_async_context(
            listening(evidence_app(config.evidence_token, worker.evidence), host, config.evidence_port, 1)
        )
        runner, end = None, 0.0
        if has_jobs:
            limit = config.limits.answer_bytes
            runner = JobRunner(
                config.jobs, rules=answers, store=store, webhooks=webhooks, metrics=metrics, limit=limit
            )
            await stack.enter_async_context(_background(worker, runner.run()))
            stack.push_async_callback(lambda: runner.drain(end - time.monotonic()))
        worker.port = await stack.enter_async_context(listening(app, host, config.port, config.limits.drain))
        await stack.enter_async_context(_background(worker, _watch(upstream, store, metrics)))
        await stack.enter_async_context(_background(worker, _warmed(worker, warmings)))
        ports = {"port": worker.port, "metrics": worker.metrics_port, "evidence": worker.evidence_port}
        _log.info("serving", extra=ports)
        yield worker
        app.draining = True
        end = time.monotonic() + config.limits.drain
        if runner is not None:
            runner.leave_off()
        _log.info("draining", extra={"inFlight": app.in_flight})


@contextlib.asynccontextmanager
async def _background(worker: Worker, work: Coroutine[None, None, None]) -> AsyncIterator[None]:
    """A defect that ends the work makes `/healthz` fail, so that the pod is started again.

    It is over when the block is left: what it uses is closed after it.
    """
    task = asyncio.create_task(work)
    task.add_done_callback(worker.over)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


async def _warmed(worker: Worker, warmings: list[Warming]) -> None:
    ended = await asyncio.gather(*(warming.run() for warming in warmings), return_exceptions=True)
    for error in ended:
        if error is not None:  # less warm, not unready
            _log.error("warm-up ended", exc_info=error)
    worker.warm = True


async def _watch(upstream: Upstream, store: Store, metrics: Metrics) -> None:
    while True:
        upstream.reload()
        metrics.store_up.set(store.up)
        await asyncio.sleep(RELOAD_S)
