"""The one way into the cache: take in what a watch or a listing saw, and queue the keys that it affects.

Nothing else happens here, whoever calls: kopf drops errors of its handlers, so a handler must not do work.
"""

from collections.abc import Callable, Iterable

from moltbot_operator.kube.cache import Cache
from moltbot_operator.kube.cluster import Manifest
from moltbot_operator.kube.kinds import Kind
from moltbot_operator.kube.queue import Key, Queue

__all__ = ["Affected", "Feed"]

Affected = Callable[[Cache, Kind, Manifest], Iterable[Key]]
"""Which keys an object matters to; called with the object as it was and as it is. O(what it returns)."""


class Feed:
    """Cache, queue and the relation between them."""

    def __init__(self, cache: Cache, queue: Queue, affected: Affected) -> None:
        self.cache = cache
        self._queue = queue
        self._affected = affected

    def changed(self, kind: Kind, manifest: Manifest, *, metadata_only: bool = False) -> None:
        """An object is there, in this version (which may be old news)."""
        # What the object mattered to counts too: a route that no longer uses a backend, a label taken away.
        keys = self._before(kind, manifest)
        if self.cache.put(kind, manifest, metadata_only=metadata_only):
            self._add(keys.union(self._affected(self.cache, kind, manifest)))

    def deleted(self, kind: Kind, manifest: Manifest, *, metadata_only: bool = False) -> None:
        """An object is gone (or left the watch's selector); `manifest` is its last version."""
        keys = self._before(kind, manifest)
        if self.cache.remove(kind, manifest, metadata_only=metadata_only):
            self._add(keys.union(self._affected(self.cache, kind, manifest)))

    def _before(self, kind: Kind, manifest: Manifest) -> set[Key]:
        meta = manifest["metadata"]
        before = self.cache.get(kind, meta.get("namespace", ""), meta["name"])
        return set() if before is None else set(self._affected(self.cache, kind, before))

    def _add(self, keys: set[Key]) -> None:
        # Routes first: they are what traffic waits for, while backends only count who uses them.
        for key in sorted(keys, key=lambda key: (key.kind != "Route", key)):
            self._queue.add(key)
