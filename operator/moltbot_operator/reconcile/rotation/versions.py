"""Which Secrets of versions there are, by backend: an index that follows the cache."""

from collections import defaultdict
from weakref import WeakKeyDictionary

from moltbot_operator.constants import (
    COMPONENT_CREDENTIAL_VERSION,
    LABEL_BACKEND,
    LABEL_COMPONENT,
    LABEL_VERSION,
)
from moltbot_operator.kube.cache import Cache
from moltbot_operator.kube.cluster import Manifest
from moltbot_operator.kube.kinds import SECRET, Kind

__all__ = ["Versions", "versions_of"]


class Versions:
    """Secrets by namespace and backend, and in there by version."""

    def __init__(self) -> None:
        self._found: defaultdict[tuple[str, str], dict[str, Manifest]] = defaultdict(dict)

    def of(self, namespace: str, backend: str) -> dict[str, Manifest]:
        """The Secrets of a backend's versions."""
        return dict(self._found.get((namespace, backend), {}))

    def follow(self, kind: Kind, before: Manifest | None, after: Manifest | None) -> None:
        """A listener of the cache."""
        if kind != SECRET:
            return
        if before is not None and (place := _place(before)) is not None:
            self._found[place[:2]].pop(place[2], None)
            if not self._found[place[:2]]:
                del self._found[place[:2]]
        if after is not None and (place := _place(after)) is not None:
            self._found[place[:2]][place[2]] = after


_indexes: WeakKeyDictionary[Cache, Versions] = WeakKeyDictionary()


def versions_of(cache: Cache) -> Versions:
    """The index of this cache; made on first use."""
    if cache not in _indexes:
        _indexes[cache] = index = Versions()
        cache.subscribe(index.follow)
    return _indexes[cache]


def _place(manifest: Manifest) -> tuple[str, str, str] | None:
    labels = manifest["metadata"].get("labels") or {}
    whole = manifest["kind"] == SECRET.kind and not manifest["metadata"].get("deletionTimestamp")
    if not whole or labels.get(LABEL_COMPONENT) != COMPONENT_CREDENTIAL_VERSION:
        return None
    backend, version = labels.get(LABEL_BACKEND), labels.get(LABEL_VERSION)
    if not backend or not version:
        return None
    return manifest["metadata"]["namespace"], backend, version
