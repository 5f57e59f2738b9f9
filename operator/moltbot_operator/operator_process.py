"""The operator process: stand by, lead, watch, reconcile, end.

::

    endpoints up ─▶ wait for the Lease ─▶ watches up ─▶ cache full ─▶ reconcile ─▶ asked to stop ─▶ 0
                          │                   └─────────────┴────────────┴─▶ Lease or a watch lost ─▶ 1
                          └─▶ asked to stop ─▶ 0

Nothing is reconciled before every kind has been listed, so a restart never acts on a half-full cache, and a
restart with nothing changed writes nothing. Whatever breaks for good ends the process: a new start is cheap.
"""

import asyncio
import signal
import time
from collections.abc import Callable, Coroutine, Mapping
from contextlib import AsyncExitStack, suppress
from datetime import UTC, datetime
from functools import partial
from typing import Any

import structlog

from moltbot_operator.errors import MoltBotError
from moltbot_operator.jwks_http import JwksServer
from moltbot_operator.kube.cache import Cache
from moltbot_operator.kube.client import KubeCluster
from moltbot_operator.kube.cluster import Cluster
from moltbot_operator.kube.connection import Connection
from moltbot_operator.kube.feed import Affected, Feed
from moltbot_operator.kube.lease import Elector, LeaseTimes
from moltbot_operator.kube.queue import Queue, Work
from moltbot_operator.leader import Leader, end_tasks
from moltbot_operator.providers.rollouts import open_ports
from moltbot_operator.reconcile.background import Background
from moltbot_operator.settings import Settings
from moltbot_operator.telemetry.health import HealthServer
from moltbot_operator.telemetry.metrics import Metrics

__all__ = ["Clock", "Reconcilers", "run"]

Clock = Callable[[], datetime]

Reconcilers = Callable[[Cluster, Cache, Any, Clock, Settings], Mapping[str, Work]]
"""Makes the reconciler of each `Key.kind`; the third argument reads evidence from gateway pods."""


async def run(
    settings: Settings,
    *,
    evidence: Any = None,
    ports: Any = None,
    stop: asyncio.Event | None = None,
    affected: Affected | None = None,
    reconcilers: Reconcilers | None = None,
    issuers: Any = None,
    load: Any = None,
) -> int:
    """Run the operator until `stop` is set (if not given: by SIGTERM or SIGINT); returns the exit code.

    0: stopped as asked; 1: the Lease is lost or the cluster out of reach, a new start is needed.
    The other arguments replace the real evidence reader, world outside, index and reconcilers in tests;
    so do `issuers` with those that make credentials, and `load` with what workers are measured by.
    """
    log = structlog.get_logger(__name__)
    signals = _Signals(stop)
    try:
        async with AsyncExitStack() as stack:
            stack.callback(signals.remove)
            signals.install()
            connection = await Connection.open(settings.kubeconfig)
            metrics = Metrics()
            session = await stack.enter_async_context(connection.session(metrics.called))
            lease = KubeCluster(
                session, connection.server, timeout=settings.request_timeout, identity=settings.identity
            )
            elector = Elector(
                lease,
                namespace=settings.own_namespace,
                name=settings.lease_name,
                identity=settings.identity,
                times=LeaseTimes(settings.lease_duration, settings.renew_deadline, settings.retry_period),
            )
            cluster = KubeCluster(
                session,
                connection.server,
                timeout=settings.request_timeout,
                identity=settings.identity,
                before_write=elector.check,
            )
            cache, queue = Cache(), Queue()
            metrics.observe(cache, queue, cluster.events)
            leader = Leader(
                settings=settings,
                connection=connection,
                cluster=cluster,
                feed=Feed(cache, queue, affected or _affected()),
                queue=queue,
                metrics=metrics,
                elector=elector,
                stop=signals.stop,
                restore_signals=signals.install,
            )
            await stack.enter_async_context(
                HealthServer(
                    metrics,
                    leader.not_ready,
                    address=settings.bind_address,
                    health_port=settings.health_port,
                    metrics_port=settings.metrics_port,
                )
            )
            if settings.jwks_port is not None:
                server = JwksServer(
                    lease, time.monotonic, address=settings.bind_address, port=settings.jwks_port
                )
                await stack.enter_async_context(server)
            if not await _before(signals.stop, elector.acquire()):
                return 0
            stack.push_async_callback(elector.release)
            metrics.leading(leading=True)
            teller = None
            if evidence is None:
                evidence = teller = await _evidence(stack)
            if reconcilers is None:
                ports = ports or await stack.enter_async_context(open_ports(_utc_now))
                background = Background(queue.add)
                stack.push_async_callback(background.close)
                reconcilers = partial(
                    _reconcilers,
                    stack=stack,
                    issuers=issuers,
                    load=load,
                    ports=ports,
                    background=background,
                    teller=teller,
                    observe_rollout=metrics.rollouts.step,
                )
            works = reconcilers(cluster, cache, evidence, _utc_now, settings)
            await leader.lead(works)
    except MoltBotError as error:
        log.error("ending", reason=str(error))  # noqa: TRY400 - expected: the message says it all
        return 1
    except Exception:
        log.exception("ending: this is a defect, please report it")
        return 1
    log.info("stopped")
    return 0


class _Signals:
    """SIGTERM and SIGINT set `stop`, unless the caller brought an event of its own."""

    def __init__(self, stop: asyncio.Event | None) -> None:
        self.stop = stop or asyncio.Event()
        self._own = stop is None

    def install(self) -> None:
        self.remove()
        if self._own:
            loop = asyncio.get_running_loop()
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, self.stop.set)

    def remove(self) -> None:
        """Also those that somebody else set: nobody but us is to be told."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            with suppress(NotImplementedError):
                loop.remove_signal_handler(number)


async def _before(stop: asyncio.Event, wanted: Coroutine[Any, Any, None]) -> bool:
    """Whether `wanted` was done before `stop` was set."""
    stopped, work = asyncio.create_task(stop.wait()), asyncio.create_task(wanted)
    try:
        await asyncio.wait([stopped, work], return_when=asyncio.FIRST_COMPLETED)
        if work.done():
            work.result()
            return True
        return False
    finally:
        await end_tasks([stopped, work])


def _utc_now() -> datetime:
    return datetime.now(UTC)


def _affected() -> Affected:
    from moltbot_operator.reconcile.references import affected  # noqa: PLC0415 - tests bring their own

    return affected


def _reconcilers(
    cluster: Cluster,
    cache: Cache,
    evidence: Any,
    clock: Clock,
    settings: Settings,
    *,
    stack: AsyncExitStack,
    issuers: Any,
    load: Any,
    **rollouts: Any,
) -> Mapping[str, Work]:
    from moltbot_operator.providers.issuers import Issuers  # noqa: PLC0415
    from moltbot_operator.reconcile.backend import BackendReconciler  # noqa: PLC0415
    from moltbot_operator.reconcile.rotation.consumers import ConsumerKeys  # noqa: PLC0415
    from moltbot_operator.reconcile.route import RouteReconciler  # noqa: PLC0415
    from moltbot_operator.reconcile.scaling import HttpLoad, WorkerReconciler  # noqa: PLC0415

    backends = BackendReconciler(
        cluster, cache, evidence, clock, settings, issuers=(issuers or Issuers()).open
    )
    if backends.rotations is not None:
        stack.push_async_callback(backends.rotations.close)
    if load is None:
        load = HttpLoad()
        stack.push_async_callback(load.close)
    keys = ConsumerKeys(cluster, cache, evidence, clock)
    stack.push_async_callback(keys.close)
    routes = RouteReconciler(cluster, cache, evidence, clock, settings, consumer_keys=keys, **rollouts)
    return {
        "Route": routes.reconcile,
        "Backend": backends.reconcile,
        "Workers": WorkerReconciler(cluster, cache, load, clock, settings).reconcile,
    }


async def _evidence(stack: AsyncExitStack) -> Any:
    from moltbot_operator.reconcile.evidence_http import HttpEvidence  # noqa: PLC0415

    return await stack.enter_async_context(HttpEvidence())
