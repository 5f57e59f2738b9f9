"""Making the cluster what was decided: compare with the cache, write only what differs.

What can't be written is returned as a Problem for the route's conditions; a server that does not answer
raises, and the queue tries again.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any, Final

import orjson
import structlog

from moltbot_operator.compile.sources import Problem
from moltbot_operator.compile.workloads import Owner
from moltbot_operator.conditions import Reason
from moltbot_operator.constants import LABEL_MANAGED_BY, LABEL_ROUTE, MANAGED_BY
from moltbot_operator.errors import ClusterError, NotFound
from moltbot_operator.kube.cache import Cache
from moltbot_operator.kube.cluster import Cluster, Manifest
from moltbot_operator.kube.kinds import CONFIG_MAP, kind_of
from moltbot_operator.reconcile.differences import differences
from moltbot_operator.reconcile.pace import Pace

__all__ = ["Applied", "Applier", "owned"]

REJECTIONS: Final = frozenset({400, 403, 413, 422})
"""HTTP statuses by which the server says that it will not take the object as it is."""

UNTYPED: Final = "failed to create typed patch object"
"""What server-side apply says, with status 500, of a field that its schema does not know."""

TAKEN_AGAIN: Final = timedelta(seconds=30)
"""How soon to look again whether somebody else's object has gone: no event tells of it."""


@dataclass
class Applied:
    """What came of applying: whether anything was written, what stood in the way, and when to look again.

    `waiting`: an object has to go before it can be made anew, which is nobody's fault.
    """

    written: list[str] = field(default_factory=list)
    problem: Problem | None = None
    rejection: ClusterError | None = None
    again: timedelta | None = None
    waiting: bool = False

    @property
    def halted(self) -> bool:
        """Nothing further may be done in this call."""
        return self.waiting or self.problem is not None

    def block(
        self, problem: Problem, again: timedelta | None = None, error: ClusterError | None = None
    ) -> None:
        """Note the first obstacle; later ones often follow from it."""
        if self.problem is None:
            self.problem, self.rejection, self.again = problem, error, again


def owned(owner: Owner, manifest: Mapping[str, Any]) -> bool:
    """Whether the route controls the object, or the object lost its owner but carries the route's labels."""
    meta = manifest["metadata"]
    controllers = [ref for ref in meta.get("ownerReferences") or [] if ref.get("controller")]
    if controllers:
        return bool(controllers[0]["uid"] == owner.uid)
    labels = meta.get("labels") or {}
    return labels.get(LABEL_MANAGED_BY) == MANAGED_BY and labels.get(LABEL_ROUTE) == owner.name


class Applier:
    """Writes objects of routes; remembers what it must not fight over."""

    def __init__(self, cluster: Cluster, cache: Cache, clock: Callable[[], datetime]) -> None:
        self._cluster = cluster
        self._cache = cache
        self._clock = clock
        self._pace = Pace()
        self._tolerated: dict[str, tuple[bytes, frozenset[str]]] = {}
        self._desired: dict[str, bytes] = {}
        self._log = structlog.get_logger(__name__)

    async def ensure(self, owner: Owner, manifests: Iterable[Manifest], applied: Applied) -> None:
        """Make each object as desired, in order; stops at the first that can't be."""
        for manifest in manifests:
            await self._ensure(owner, manifest, applied)
            if applied.halted:
                return

    async def delete(self, manifests: Iterable[Manifest], applied: Applied) -> None:
        """Delete these very objects."""
        for manifest in manifests:
            meta = manifest["metadata"]
            if meta.get("deletionTimestamp"):
                continue
            kind = kind_of(manifest)
            await self._cluster.delete(kind, meta["namespace"], meta["name"], uid=meta.get("uid"))
            self._cache.remove(kind, manifest)
            applied.written.append(f"delete {_named(manifest)}")

    def forget(self, owner_prefix: str) -> None:
        """The route is gone."""
        self._pace.forget(owner_prefix)
        for memory in (self._tolerated, self._desired):
            for identity in [known for known in memory if known.startswith(owner_prefix)]:
                del memory[identity]

    async def _ensure(self, owner: Owner, manifest: Manifest, applied: Applied) -> None:
        live = await self._live(manifest)
        if live is None:
            await self._write(owner, manifest, applied)
            return
        if _going(owner, live):
            applied.again = timedelta(seconds=1)
            applied.waiting = True
            return
        if not owned(owner, live):
            applied.block(_taken(owner, manifest), TAKEN_AGAIN)
            return
        found = differences(manifest, live)
        identity, digest = _identity(owner, manifest), _digest(manifest)
        before = self._desired.setdefault(identity, digest)
        if before == digest and (not found or self._tolerated.get(identity) == (digest, frozenset(found))):
            return
        if before == digest:
            now = self._clock()
            if pause := self._pace.pause(identity, now):
                applied.block(_contended(manifest, found, pause), pause)
                return
            self._pace.corrected(identity, now)
            self._log.info("object is put right", object=_named(manifest), fields=found[:10])
        changed = any(path.startswith(("data", "binaryData")) for path in found)
        if changed and kind_of(manifest) == CONFIG_MAP and live.get("immutable"):
            # Only another object can have other content; a copy of a CA is mutable and updated in place.
            await self.delete([live], applied)
        await self._write(owner, manifest, applied)

    async def _live(self, manifest: Manifest) -> Manifest | None:
        """The object as it is: from the cache, or from the server where the cache has not all of it.

        The cache holds labelled objects: one that is not there may still exist, and be somebody else's.
        """
        kind, meta = kind_of(manifest), manifest["metadata"]
        live = self._cache.get(kind, meta["namespace"], meta["name"])
        if live is not None and live["kind"] == kind.kind:
            return live
        try:
            return await self._cluster.get(kind, meta["namespace"], meta["name"])
        except NotFound:
            return None

    async def _write(self, owner: Owner, manifest: Manifest, applied: Applied) -> None:
        try:
            result = await self._cluster.apply(manifest)
        except ClusterError as error:
            if error.status not in REJECTIONS and UNTYPED not in str(error):
                raise
            applied.block(_rejected(manifest, error), error=error)
            return
        applied.written.append(f"apply {_named(manifest)}")
        self._cache.put(kind_of(manifest), result)
        identity = _identity(owner, manifest)
        self._desired[identity] = _digest(manifest)
        rest = differences(manifest, result)
        if rest:
            # A webhook changed it, or the server writes the value in a form of its own: writing again
            # would not help.
            self._tolerated[identity] = (self._desired[identity], frozenset(rest))
            self._log.warning(
                "the server changed fields of an applied object", object=_named(manifest), fields=rest
            )
        else:
            self._tolerated.pop(identity, None)


def _going(owner: Owner, live: Manifest) -> bool:
    """Whether the object is on its way out: being deleted, or left by a deleted route of the same name."""
    meta = live["metadata"]
    return bool(meta.get("deletionTimestamp")) or any(
        ref.get("controller")
        and ref["kind"] == "MoltBotRoute"
        and ref["name"] == owner.name
        and ref["uid"] != owner.uid
        for ref in meta.get("ownerReferences") or []
    )


def _named(manifest: Mapping[str, Any]) -> str:
    meta = manifest["metadata"]
    return f"{manifest['kind']} {meta['namespace']}/{meta['name']}"


def _identity(owner: Owner, manifest: Mapping[str, Any]) -> str:
    return f"{owner.namespace}/{owner.name}: {_named(manifest)}"


def _digest(manifest: Mapping[str, Any]) -> bytes:
    return sha256(orjson.dumps(manifest, option=orjson.OPT_SORT_KEYS)).digest()


def _taken(owner: Owner, manifest: Manifest) -> Problem:
    message = (
        f"{_named(manifest)} exists and does not belong to MoltBotRoute {owner.namespace}/{owner.name}, "
        "which needs that name: delete or rename it, or give the route another name."
    )
    return Problem(Reason.NAME_TAKEN, message)


def _contended(manifest: Manifest, found: list[str], pause: timedelta) -> Problem:
    message = (
        f"Somebody keeps changing {', '.join(found[:5])} of {_named(manifest)}: stop them (see the object's "
        f"managedFields); it is put right again at most every {int(pause.total_seconds()) + 1} s."
    )
    return Problem(Reason.CONTENDED, message)


def _rejected(manifest: Manifest, error: ClusterError) -> Problem:
    message = (
        f"The API server refuses {_named(manifest)}: {error}. Mend the cause; it is tried again by itself."
    )
    return Problem(Reason.APPLY_REJECTED, message)
