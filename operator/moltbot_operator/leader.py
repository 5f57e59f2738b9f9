"""What runs while this replica holds the Lease: watches, workers, resync, and the renewal itself."""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

import structlog

from moltbot_operator.constants import LABEL_MANAGED_BY, MANAGED_BY
from moltbot_operator.errors import NotFound
from moltbot_operator.handlers import WATCHED
from moltbot_operator.kube.client import KubeCluster
from moltbot_operator.kube.connection import ApiCall, Connection
from moltbot_operator.kube.feed import Feed
from moltbot_operator.kube.kinds import CHILDREN, CONFIG_MAP, MODEL_BACKEND, MOLTBOT_ROUTE, NAMESPACE, SECRET
from moltbot_operator.kube.lease import Elector
from moltbot_operator.kube.queue import Key, Queue, Work
from moltbot_operator.kube.resync import Scope, heal, resync_forever
from moltbot_operator.kube.watch import MetadataWatcher
from moltbot_operator.settings import Settings
from moltbot_operator.shell import WatchGate, run_kopf
from moltbot_operator.telemetry.metrics import Metrics

__all__ = ["Leader", "end_tasks"]

WATCH_LIMIT: Final = timedelta(minutes=5)
"""Longest wait for kopf to have listed every kind and begun to watch it."""


@dataclass
class Leader:
    """What runs while this replica holds the Lease."""

    settings: Settings
    connection: Connection
    cluster: KubeCluster
    feed: Feed
    queue: Queue
    metrics: Metrics
    elector: Elector
    stop: asyncio.Event
    restore_signals: Callable[[], None]
    """Called after kopf has taken the signals for itself."""
    _syncing: bool = field(default=False, init=False)

    def not_ready(self) -> str | None:
        """A standby is ready, to take over; a leader is once its cache is full."""
        return "listing the cluster" if self._syncing else None

    async def lead(self, works: Mapping[str, Work]) -> None:
        """Until asked to stop; raises what made it end otherwise (LeaseLost, ClusterError)."""
        self._syncing = True
        await self._require_crds()
        scopes, by_metadata = _scopes(self.settings.namespaces)
        gate = WatchGate(scopes)

        def observe(call: ApiCall) -> None:
            self.metrics.called(call)
            gate.observe(call)

        watchers = [MetadataWatcher(self.cluster, self.feed, scope) for scope in by_metadata]
        work = asyncio.create_task(self._sync_and_work(works, gate, scopes, watchers), name="reconcile")
        tasks = [
            asyncio.create_task(self.elector.hold(), name="lease"),
            work,
            asyncio.create_task(
                run_kopf(
                    self.connection,
                    self.feed,
                    scopes,
                    observe=observe,
                    request_timeout=self.settings.request_timeout,
                    restore_signals=self.restore_signals,
                ),
                name="kopf",
            ),
            *(asyncio.create_task(each.run(), name=f"watch {each.scope}") for each in watchers),
        ]
        stopped = asyncio.create_task(self.stop.wait(), name="stop")
        try:
            done, _ = await asyncio.wait([*tasks, stopped], return_when=asyncio.FIRST_COMPLETED)
            if done == {stopped}:
                self.queue.close()
                await asyncio.wait([work], timeout=self.settings.stop_grace.total_seconds())
        finally:
            self.queue.close()
            outcomes = await end_tasks([*tasks, stopped])
            self.metrics.leading(leading=False)
        for error in outcomes:
            raise error

    async def _sync_and_work(
        self,
        works: Mapping[str, Work],
        gate: WatchGate,
        scopes: Iterable[Scope],
        watchers: Iterable[MetadataWatcher],
    ) -> None:
        await gate.wait(WATCH_LIMIT)
        for scope in scopes:
            await heal(self.cluster, self.feed, scope)
        for watcher in watchers:
            await watcher.listed.wait()
        self._syncing = False
        self.metrics.synced()
        structlog.get_logger(__name__).info("cache full, reconciling", keys=self.queue.depth)

        async def work(key: Key) -> timedelta | None:
            return await works[key.kind](key)

        async with asyncio.TaskGroup() as group:
            resync = group.create_task(
                resync_forever(self.cluster, self.feed, scopes, self.settings.resync, gate.relisted),
                name="resync",
            )
            await self.queue.run(work, concurrency=self.settings.concurrency, observe=self.metrics.reconciled)
            resync.cancel()

    async def _require_crds(self) -> None:
        for kind in (MODEL_BACKEND, MOLTBOT_ROUTE):
            for namespace in self.settings.namespaces or (None,):
                try:
                    await anext(self.cluster.pages(kind, namespace))
                except NotFound as error:
                    raise NotFound(
                        f"{error}; install the CRDs of this version (kubectl apply -f crds/)"
                    ) from error


def _scopes(namespaces: Iterable[str]) -> tuple[list[Scope], list[Scope]]:
    """What kopf watches, and what is watched as metadata only; together every Secret and ConfigMap once."""
    where = tuple(namespaces) or (None,)
    ours, others = f"{LABEL_MANAGED_BY}={MANAGED_BY}", f"{LABEL_MANAGED_BY}!={MANAGED_BY}"
    whole = [Scope(kind, space, ours if kind in CHILDREN else "") for kind in WATCHED for space in where]
    metadata = [
        Scope(kind, space, others, metadata_only=True) for kind in (SECRET, CONFIG_MAP) for space in where
    ]
    if where == (None,):
        metadata.append(Scope(NAMESPACE, metadata_only=True))
    return whole, metadata


async def end_tasks(tasks: Iterable[asyncio.Task[Any]]) -> list[BaseException]:
    """Cancel what still runs; returns what tasks raised, the gravest (of the first task) first."""
    tasks = list(tasks)
    for task in tasks:
        task.cancel()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    return [
        _unwrap(outcome)
        for outcome in outcomes
        if isinstance(outcome, BaseException) and not isinstance(outcome, asyncio.CancelledError)
    ]


def _unwrap(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
