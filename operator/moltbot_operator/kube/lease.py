"""Leader election by a coordination.k8s.io Lease.

::

    standby ──take──▶ leading ──renewal overdue, or another holder──▶ LeaseLost: the process must end
       ▲                 │
       └──── release ────┘  (clean stop: the next one need not wait)

Nobody's wall clock counts: a lease is stale when it has not *changed* for its duration by the observer's own
clock, so skew between machines is harmless. The leader counts from before the call that renewed, gives up
after `renew_deadline`, and so stops before anybody else may start (`renew_deadline` < `duration`). Every call
has a limit of its own, or one hanging connection would hide the loss.
https://kubernetes.io/docs/concepts/architecture/leases/
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NoReturn, Protocol

import structlog

from moltbot_operator.errors import ClusterError, Conflict, LeaseLost, NotFound
from moltbot_operator.kube.cluster import Manifest
from moltbot_operator.kube.kinds import LEASE, Kind

__all__ = ["Elector", "LeaseApi", "LeaseTimes", "steady_clock"]


def steady_clock() -> float:
    """Seconds that only go forward, and go on while the machine is suspended where the system can tell."""
    boottime = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if boottime is None else time.clock_gettime(boottime)


class LeaseApi(Protocol):
    """The calls that a lease needs."""

    async def get(self, kind: Kind, namespace: str, name: str) -> Manifest:
        """NotFound."""

    async def create(self, manifest: Manifest) -> Manifest:
        """Conflict if it exists."""

    async def replace(self, manifest: Manifest) -> Manifest:
        """Conflict if it changed since its resource version."""


@dataclass(frozen=True)
class LeaseTimes:
    """retry_period < renew_deadline < duration."""

    duration: timedelta = timedelta(seconds=15)
    renew_deadline: timedelta = timedelta(seconds=10)
    retry_period: timedelta = timedelta(seconds=2)


class Elector:
    """One replica's part in the election."""

    def __init__(
        self,
        api: LeaseApi,
        *,
        namespace: str,
        name: str,
        identity: str,
        times: LeaseTimes,
        clock: Callable[[], float] = steady_clock,
    ) -> None:
        self._api = api
        self._namespace = namespace
        self._name = name
        self._identity = identity
        self._times = times
        self._clock = clock
        self._seen: Manifest | None = None
        self._seen_at = 0.0
        self._renewed_at: float | None = None

    @property
    def leading(self) -> bool:
        """Whether this replica leads, as far as it can prove."""
        return self._renewed_at is not None and self._remaining() > 0

    def check(self) -> None:
        """Raise LeaseLost unless leading.

        Called before every write: a process that was suspended or busy may be overdue before `hold`
        gets a chance to say so.
        """
        if not self.leading:
            raise LeaseLost(self._overdue())

    async def acquire(self) -> None:
        """Wait until this replica leads; errors of the API server are waited out."""
        log = structlog.get_logger(__name__).bind(lease=f"{self._namespace}/{self._name}")
        holder: str | None = None
        while True:
            try:
                async with asyncio.timeout(self._call_limit()):
                    if await self._take():
                        log.info("leading", identity=self._identity)
                        return
            except (ClusterError, TimeoutError) as error:
                log.warning("lease not reachable, trying again", error=str(error) or "timed out")
            if self._holder() != holder:
                holder = self._holder()
                log.info("standing by", leader=holder)
            await asyncio.sleep(self._times.retry_period.total_seconds())

    async def hold(self) -> NoReturn:
        """Renew until that fails for `renew_deadline` or somebody else holds the lease: LeaseLost."""
        log = structlog.get_logger(__name__).bind(lease=f"{self._namespace}/{self._name}")
        while True:
            await asyncio.sleep(min(self._times.retry_period.total_seconds(), max(self._remaining(), 0)))
            self.check()
            try:
                async with asyncio.timeout(min(self._call_limit(), self._remaining())):
                    await self._renew()
            except (ClusterError, TimeoutError) as error:
                log.warning("lease not renewed, trying again", error=str(error) or "timed out")

    async def release(self) -> None:
        """Give the lease up, if held, so that another replica takes over at once.

        A failure is logged: the others then wait for the lease's duration.
        """
        if not self.leading or self._seen is None:
            return
        self._renewed_at = None
        spec = {**self._seen["spec"], "renewTime": _micro_time(), "leaseDurationSeconds": 1}
        del spec["holderIdentity"]
        try:
            async with asyncio.timeout(self._call_limit()):
                await self._api.replace({**self._seen, "spec": spec})
        except (ClusterError, TimeoutError) as error:
            structlog.get_logger(__name__).warning("lease not released", error=str(error) or "timed out")

    async def _take(self) -> bool:
        began = self._clock()
        try:
            self._observe(await self._api.get(LEASE, self._namespace, self._name))
        except NotFound:
            try:
                self._won(await self._api.create(self._lease(None)), began)
            except Conflict:
                return False
            return True
        assert self._seen is not None  # noqa: S101 - observed above
        if self._holder() not in {None, self._identity} and not self._stale():
            return False
        began = self._clock()
        try:
            self._won(await self._api.replace(self._lease(self._seen)), began)
        except Conflict:
            return False
        return True

    async def _renew(self) -> None:
        began = self._clock()
        try:
            self._won(await self._api.replace(self._lease(self._seen)), began)
        except (Conflict, NotFound):
            # Either somebody took it, or only touched it, or our own last call got through unanswered.
            if await self._take():
                return
            if self._holder() not in {None, self._identity}:
                self._renewed_at = None
                raise LeaseLost(f"{self._holder()} holds lease {self._namespace}/{self._name} now") from None

    def _lease(self, before: Manifest | None) -> Manifest:
        old = before["spec"] if before is not None else {}
        mine = old.get("holderIdentity") == self._identity
        now = _micro_time()
        return {
            "apiVersion": LEASE.api_version,
            "kind": LEASE.kind,
            "metadata": before["metadata"]
            if before is not None
            else {"namespace": self._namespace, "name": self._name},
            "spec": {
                "holderIdentity": self._identity,
                "leaseDurationSeconds": max(1, round(self._times.duration.total_seconds())),
                "acquireTime": old.get("acquireTime", now) if mine else now,
                "renewTime": now,
                "leaseTransitions": old.get("leaseTransitions", 0) + (0 if mine or before is None else 1),
            },
        }

    def _won(self, lease: Manifest, began: float) -> None:
        self._observe(lease)
        self._renewed_at = began

    def _observe(self, lease: Manifest) -> None:
        if self._seen is None or self._seen.get("spec") != lease.get("spec"):
            self._seen_at = self._clock()
        self._seen = {**lease, "spec": lease.get("spec") or {}}

    def _holder(self) -> str | None:
        return (self._seen["spec"].get("holderIdentity") or None) if self._seen is not None else None

    def _stale(self) -> bool:
        """By the longer of the holder's own duration and ours: settings may differ during an upgrade."""
        stated = self._seen["spec"].get("leaseDurationSeconds") or 0 if self._seen is not None else 0
        duration = max(float(stated), self._times.duration.total_seconds())
        return self._clock() - self._seen_at >= duration

    def _remaining(self) -> float:
        if self._renewed_at is None:
            return 0.0
        return self._renewed_at + self._times.renew_deadline.total_seconds() - self._clock()

    def _call_limit(self) -> float:
        """Half the deadline, so that one hanging call leaves room for another."""
        return self._times.renew_deadline.total_seconds() / 2

    def _overdue(self) -> str:
        return (
            f"lease {self._namespace}/{self._name} was not renewed for {self._times.renew_deadline}; "
            "another replica may lead now, this one ends"
        )


def _micro_time() -> str:
    """Kubernetes' MicroTime. For people only: no decision rests on it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
