"""Runs rotations beside the queue: a task for each backend that has something to do, a timer for the rest.

An issuer may be slow or hang, so none of it happens in a queue's worker: a reconciliation only says that the
backend is there. At most a few backends call the same issuer at a time; others are not held up by them.
"""

from collections.abc import Callable
from datetime import datetime

from moltbot_operator.api import IssuerType, ModelBackendSpec
from moltbot_operator.compile.credentials import secret_ref
from moltbot_operator.compile.sources import BackendRef
from moltbot_operator.kube.cache import Cache
from moltbot_operator.kube.cluster import Cluster, Manifest
from moltbot_operator.reconcile.evidence import EvidenceReader
from moltbot_operator.reconcile.rotation.gateways import RouteGateways
from moltbot_operator.reconcile.rotation.keys import PublishedKeys
from moltbot_operator.reconcile.rotation.reader import ClusterReader
from moltbot_operator.reconcile.rotation.store import BackendOrigin, BackendStore
from moltbot_operator.reconcile.rotation.tasks import Rotation, Tasks
from moltbot_operator.reconcile.signing_keys import SigningKeys
from moltbot_operator.rotation import Issuer, IssuerFor
from moltbot_operator.rotation.driver import Driver, Surroundings
from moltbot_operator.rotation.local import ExternalIssuer
from moltbot_operator.rotation.opened import OpenedIssuer, issuer_place
from moltbot_operator.rotation.policies import policy_of
from moltbot_operator.rotation.telling import Announcement
from moltbot_operator.rotation.versions import fresh_version
from moltbot_operator.telemetry.credentials import failures_of

__all__ = ["Rotations"]


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
        self._tasks = Tasks(clock, "backend")

    def ensure(self, backend: Manifest, spec: ModelBackendSpec) -> None:
        """The backend is there, and something of it may have changed. Returns at once."""
        meta = backend["metadata"]
        place = (meta["namespace"], meta["name"])
        if spec.rotation is None:
            self.forget(*place)
            return
        stamp = (meta["uid"], meta["generation"])
        self._tasks.keep(place, stamp, lambda hurry: self._new(backend, spec, hurry=hurry))

    def forget(self, namespace: str, name: str) -> None:
        """The backend is gone, or its credential is not rotated any more."""
        self._tasks.forget((namespace, name))

    async def close(self) -> None:
        """End all of them; each goes on from where it is under the next leader."""
        await self._tasks.close()

    def _new(self, backend: Manifest, spec: ModelBackendSpec, *, hurry: bool) -> Rotation:
        if spec.rotation is None:
            raise ValueError("a backend without spec.rotation has none to run")
        meta = backend["metadata"]
        ref = BackendRef(meta["namespace"], meta["name"])
        origin = BackendOrigin(self._cluster, self._cache, ref.namespace, secret_ref(ref.name, spec))
        opened: Issuer = OpenedIssuer(
            self._opener, spec, ClusterReader(self._cluster, ref.namespace), ref.namespace
        )
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
            fresh=lambda: fresh_version(self._clock()),
            tell=tell,
        )
        policy = policy_of(spec, spec.rotation, meta["uid"])
        driver = Driver(around, hurry=hurry)
        return Rotation((ref.namespace, ref.name), driver, policy, issuer_place(spec, ref.namespace), tell)

    async def _tell(self, backend: Manifest, each: Announcement) -> None:
        if each.type == "Warning":
            meta = backend["metadata"]
            failures_of(self._cache).count(f"{meta['namespace']}/{meta['name']}", each.reason)
        await self._cluster.event(
            backend, type=each.type, reason=each.reason, action="Rotate", message=each.message
        )
