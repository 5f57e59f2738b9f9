"""Runs rotations beside the queue: a task for each backend that has something to do, a timer for the rest.

An issuer may be slow or hang, so none of it happens in a queue's worker: a reconciliation only says that the
backend is there. At most a few backends call the same issuer at a time; others are not held up by them.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from secrets import token_hex
from typing import Final

import structlog

from moltbot_operator.api import IssuerType, ModelBackendSpec
from moltbot_operator.compile.credentials import secret_ref
from moltbot_operator.compile.sources import BackendRef
from moltbot_operator.errors import Conflict, LeaseLost, MoltBotError
from moltbot_operator.kube.cache import Cache
from moltbot_operator.kube.cluster import Cluster, Manifest
from moltbot_operator.kube.queue import Backoff
from moltbot_operator.reconcile.evidence import EvidenceReader
from moltbot_operator.reconcile.rotation.gateways import RouteGateways
from moltbot_operator.reconcile.rotation.keys import PublishedKeys
from moltbot_operator.reconcile.rotation.opened import OpenedIssuer, issuer_place
from moltbot_operator.reconcile.rotation.policies import policy_of
from moltbot_operator.reconcile.rotation.store import BackendOrigin, BackendStore
from moltbot_operator.reconcile.signing_keys import SigningKeys
from moltbot_operator.rotation import Issuer, IssuerFor
from moltbot_operator.rotation.driver import Driver, Surroundings
from moltbot_operator.rotation.local import ExternalIssuer
from moltbot_operator.rotation.state import Policy
from moltbot_operator.rotation.telling import Announcement
from moltbot_operator.telemetry.credentials import failures_of

__all__ = ["Rotations"]

AT_ONCE: Final = 4
"""Backends that call the same issuer at a time."""

LONGEST_SLEEP: Final = timedelta(hours=1)
"""A timer does not see the clock being set, so it is looked at again after this."""


@dataclass
class _Rotation:
    """One backend's."""

    ref: BackendRef
    backend: Manifest
    uid: str
    generation: int
    driver: Driver
    policy: Policy
    place: str
    task: asyncio.Task[None] | None = None
    timer: asyncio.TimerHandle | None = None
    again: bool = False
    """Something changed while the task ran."""
    failures: int = 0
    backoff: Backoff = field(default_factory=Backoff)


class Rotations:
    """All rotations of an operator."""

    def __init__(
        self,
        cluster: Cluster,
        cache: Cache,
        evidence: EvidenceReader,
        clock: Callable[[], datetime],
        opener: IssuerFor,
    ) -> None:
        self._cluster = cluster
        self._cache = cache
        self._evidence = evidence
        self._clock = clock
        self._opener = opener
        self._rotations: dict[tuple[str, str], _Rotation] = {}
        self._slots: defaultdict[str, asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(AT_ONCE))
        self._closed = False
        self._log = structlog.get_logger(__name__)

    def ensure(self, backend: Manifest, spec: ModelBackendSpec) -> None:
        """The backend is there, and something of it may have changed. Returns at once."""
        meta = backend["metadata"]
        place = (meta["namespace"], meta["name"])
        if spec.rotation is None or self._closed:
            self.forget(*place)
            return
        known = self._rotations.get(place)
        if known is None or (known.uid, known.generation) != (meta["uid"], meta["generation"]):
            self.forget(*place)
            known = self._rotations[place] = self._new(backend, spec, hurry=known is not None)
        self._start(known)

    def forget(self, namespace: str, name: str) -> None:
        """The backend is gone, or its credential is not rotated any more."""
        known = self._rotations.pop((namespace, name), None)
        if known is None:
            return
        if known.timer is not None:
            known.timer.cancel()
        if known.task is not None:
            known.task.cancel()

    async def close(self) -> None:
        """End all of them; each goes on from where it is under the next leader."""
        self._closed = True
        tasks = [known.task for known in self._rotations.values() if known.task is not None]
        for namespace, name in list(self._rotations):
            self.forget(namespace, name)
        await asyncio.gather(*tasks, return_exceptions=True)

    def _new(self, backend: Manifest, spec: ModelBackendSpec, *, hurry: bool) -> _Rotation:
        if spec.rotation is None:
            raise ValueError("a backend without spec.rotation has none to run")
        meta = backend["metadata"]
        ref = BackendRef(meta["namespace"], meta["name"])
        origin = BackendOrigin(self._cluster, self._cache, ref.namespace, secret_ref(ref.name, spec))
        opened: Issuer = OpenedIssuer(self._opener, spec, self._cluster, ref.namespace)
        kind = spec.rotation.issuer.type
        if kind is IssuerType.EXTERNAL:
            opened = ExternalIssuer(origin.read, opened.verify)
        keys = None
        if kind is IssuerType.MANAGED_KEY:
            keys = PublishedKeys(SigningKeys(self._cluster, self._cache), self._cache, backend, spec)

        async def tell(each: Announcement) -> None:
            await self._tell(backend, each)

        around = Surroundings(
            uid=meta["uid"],
            store=BackendStore(self._cluster, self._cache, backend),
            issuer=opened,
            gateways=RouteGateways(self._cluster, self._cache, self._evidence, self._clock, ref),
            origin=origin,
            keys=keys,
            clock=self._clock,
            fresh=lambda: f"{self._clock():%Y%m%d-%H%M%S}-{token_hex(2)}",
            tell=tell,
        )
        policy = policy_of(spec, spec.rotation, meta["uid"])
        place = issuer_place(spec, ref.namespace)
        return _Rotation(
            ref, backend, meta["uid"], meta["generation"], Driver(around, hurry=hurry), policy, place
        )

    async def _tell(self, backend: Manifest, each: Announcement) -> None:
        if each.type == "Warning":
            meta = backend["metadata"]
            failures_of(self._cache).count(f"{meta['namespace']}/{meta['name']}", each.reason)
        await self._cluster.event(
            backend, type=each.type, reason=each.reason, action="Rotate", message=each.message
        )

    def _start(self, known: _Rotation) -> None:
        if known.timer is not None:
            known.timer.cancel()
            known.timer = None
        if known.task is not None and not known.task.done():
            known.again = True
            return
        known.task = asyncio.create_task(self._run(known), name=f"rotation {known.ref}")

    async def _run(self, known: _Rotation) -> None:
        while True:
            known.again = False
            wait = await self._advance(known)
            if not known.again:
                break
        if wait is None or self._rotations.get((known.ref.namespace, known.ref.name)) is not known:
            return
        seconds = max(min(wait, LONGEST_SLEEP).total_seconds(), 0.05)
        known.timer = asyncio.get_running_loop().call_later(seconds, self._wake, known)

    def _wake(self, known: _Rotation) -> None:
        known.timer = None
        known.task = None
        self._start(known)

    async def _advance(self, known: _Rotation) -> timedelta | None:
        """How long to wait; None: for a change."""
        log = self._log.bind(backend=str(known.ref))
        try:
            async with self._slots[known.place]:
                again = await known.driver.advance(known.policy)
        except LeaseLost:
            return None
        except MoltBotError as error:
            known.failures += 1
            log.warning("rotation is held up", error=str(error))
            if isinstance(error, Conflict):  # somebody has to do something about it
                await self._tell(
                    known.backend, Announcement("Warning", "CredentialRotationHeldUp", str(error))
                )
        except Exception:
            known.failures += 1
            log.exception("rotation crashed; this is a defect")
        else:
            known.failures = 0
            return None if again is None else again - self._clock()
        return known.backoff.delay(known.failures)
