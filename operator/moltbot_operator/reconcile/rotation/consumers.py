"""Rotates keys of consumers: one rotation for each Secret that a route's consumers name with `rotation`."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import structlog
from pydantic import ValidationError

from moltbot_operator.api import ConsumerKeyRotation
from moltbot_operator.constants import ANNOTATION_ROTATE_AT, API_VERSION
from moltbot_operator.errors import InvalidInput, MoltBotError
from moltbot_operator.kube.cache import Cache
from moltbot_operator.kube.cluster import Cluster, Manifest
from moltbot_operator.kube.kinds import MOLTBOT_ROUTE, SECRET
from moltbot_operator.reconcile.evidence import EvidenceReader
from moltbot_operator.reconcile.rotation.asked import asked_for
from moltbot_operator.reconcile.rotation.consumer_gateways import ConsumerGateways
from moltbot_operator.reconcile.rotation.consumer_store import KeyStore, is_rotated_key
from moltbot_operator.reconcile.rotation.tasks import Rotation, Tasks
from moltbot_operator.rotation.driver import Driver, Surroundings
from moltbot_operator.rotation.local import OwnKeys
from moltbot_operator.rotation.policies import key_policy
from moltbot_operator.rotation.state import Policy
from moltbot_operator.rotation.telling import Announcement
from moltbot_operator.rotation.versions import fresh_version
from moltbot_operator.telemetry.credentials import failures_of

__all__ = ["ConsumerKeys"]

Place = tuple[str, str]

Claims = Mapping[str, tuple[Manifest, ConsumerKeyRotation]]
"""By the route's name: the route, and what it asks for."""


class ConsumerKeys:
    """All of an operator."""

    def __init__(
        self,
        cluster: Cluster,
        cache: Cache,
        evidence: EvidenceReader,
        clock: Callable[[], datetime],
    ) -> None:
        self._cluster = cluster
        self._cache = cache
        self._evidence = evidence
        self._clock = clock
        self._claims: defaultdict[Place, dict[str, tuple[Manifest, ConsumerKeyRotation]]] = defaultdict(dict)
        self._of_route: dict[Place, frozenset[str]] = {}
        self._refused: dict[Place, str] = {}
        self._telling: set[asyncio.Task[None]] = set()
        self._tasks = Tasks(clock, "secret")
        self._log = structlog.get_logger(__name__)

    def ensure(self, route: Manifest) -> None:
        """The route is there, and something of it or of its Secrets may have changed. Returns at once."""
        meta = route["metadata"]
        namespace, name = meta["namespace"], meta["name"]
        asked = _asked(route.get("spec") or {})
        before = self._of_route.get((namespace, name), frozenset())
        self._of_route[namespace, name] = frozenset(asked)
        for secret in before - asked.keys():
            self._claims[namespace, secret].pop(name, None)
        for secret, rotation in asked.items():
            self._claims[namespace, secret][name] = (route, rotation)
        for secret in before | asked.keys():
            self._refresh((namespace, secret))

    def forget(self, namespace: str, name: str) -> None:
        """The route is gone, or not accepted any more."""
        for secret in self._of_route.pop((namespace, name), frozenset()):
            self._claims[namespace, secret].pop(name, None)
            self._refresh((namespace, secret))

    async def close(self) -> None:
        """End all of them; each goes on from where it is under the next leader."""
        for each in self._telling:
            each.cancel()
        await asyncio.gather(*self._telling, return_exceptions=True)
        await self._tasks.close()

    def _refresh(self, place: Place) -> None:
        claims = self._claims[place]
        if not claims:
            del self._claims[place]
            self._refused.pop(place, None)
            self._tasks.forget(place)
            return
        wishes = [rotation for _, rotation in claims.values()]
        policy = key_policy(wishes, self._asked_for(place), "/".join(place))
        stamp = (policy, tuple(sorted(route["metadata"]["uid"] for route, _ in claims.values())))
        self._tasks.keep(place, stamp, lambda hurry: self._new(place, dict(claims), policy, hurry=hurry))

    def _asked_for(self, place: Place) -> datetime | None:
        """What the Secret's annotation asks for; what is no time asks for nothing, and is told once."""
        secret = self._cache.get(SECRET, *place)
        if secret is None or not is_rotated_key(secret):
            return None
        try:
            found = asked_for(secret)
        except InvalidInput as error:
            text = secret["metadata"]["annotations"][ANNOTATION_ROTATE_AT]
            if self._refused.get(place) != text:
                self._refused[place] = text
                task = asyncio.create_task(self._refuse(place, str(error)), name="a refused annotation")
                self._telling.add(task)
                task.add_done_callback(self._telling.discard)
            return None
        self._refused.pop(place, None)
        return found

    async def _refuse(self, place: Place, message: str) -> None:
        claims = self._claims.get(place)
        if not claims:
            return
        route = claims[min(claims)][0]
        try:
            await self._cluster.event(
                route, type="Warning", reason="RotateAtIgnored", action="Rotate", message=message
            )
        except MoltBotError as error:
            self._refused.pop(place, None)  # told at the next look
            self._log.warning("could not tell of a refused annotation", error=str(error), said=message)

    def _new(self, place: Place, claims: Claims, policy: Policy, *, hurry: bool) -> Rotation:
        route = claims[min(claims)][0]
        gateways = ConsumerGateways(self._cluster, self._cache, self._evidence, self._clock, place)
        owners = [_owner(each) for each, _ in claims.values()]
        store = KeyStore(self._cluster, self._cache, place, owners, gateways.changed)

        async def tell(each: Announcement) -> None:
            if each.type == "Warning":
                failures_of(self._cache).count(f"secret {'/'.join(place)}", each.reason)
            message = f"Consumer's key in Secret {place[1]}: {each.message}"
            await self._cluster.event(
                route, type=each.type, reason=each.reason, action="Rotate", message=message
            )

        around = Surroundings(
            uid="/".join(place),
            store=store,
            issuer=OwnKeys(),
            gateways=gateways,
            origin=store,
            keys=None,
            clock=self._clock,
            fresh=lambda: fresh_version(self._clock()),
            tell=tell,
        )
        return Rotation(place, Driver(around, hurry=hurry), policy, "/".join(place), tell)


def _asked(spec: Mapping[str, Any]) -> dict[str, ConsumerKeyRotation]:
    """By Secret."""
    found: dict[str, ConsumerKeyRotation] = {}
    for consumer in spec.get("consumers") or []:
        api_key = (consumer.get("auth") or {}).get("apiKey") or {}
        if api_key.get("rotation") is None:
            continue
        try:
            rotation = ConsumerKeyRotation.model_validate(api_key["rotation"])
        except ValidationError:  # then the route is refused, and not here
            continue
        name = api_key["secretRef"]["name"]
        known = found.get(name, rotation)
        found[name] = ConsumerKeyRotation(
            interval=min(known.interval, rotation.interval), overlap=max(known.overlap, rotation.overlap)
        )
    return found


def _owner(route: Manifest) -> Manifest:
    meta = route["metadata"]
    return {"apiVersion": API_VERSION, "kind": MOLTBOT_ROUTE.kind, "name": meta["name"], "uid": meta["uid"]}
