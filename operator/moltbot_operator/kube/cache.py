"""The operator's view of the cluster, fed by watches (`feed.py`) and read by reconcilers without a call.

Objects are shared, not copied: whoever reads them must not change them.

Two things keep the view from going back in time, since list and watch race with each other:
an older version never replaces a newer one, and a version that is known to be deleted never comes back.
Both rest on resource versions being comparable (KEP-5504, Kubernetes 1.35; true of etcd ever since).
"""

from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterator
from typing import Any, Final

from moltbot_operator.constants import LABEL_ROUTE
from moltbot_operator.kube.cluster import Manifest
from moltbot_operator.kube.kinds import Kind

__all__ = ["Cache", "Listener"]

Listener = Callable[[Kind, Manifest | None, Manifest | None], None]
"""Told after each change: kind, the object before (None: new), the object after (None: gone)."""

_TOMBSTONES: Final = 10_000
"""Deleted objects remembered; they matter for the seconds that a list takes."""

Manifests = list[Manifest]

_Buried = tuple[bool, str]
"""Whether it was held as metadata only, and its uid: an object that loses our label leaves the one watch in
the very version in which the other goes on seeing it."""

_Names = dict[str, Manifest]
_Store = defaultdict[Kind, dict[str, _Names]]


class Cache:
    """Objects by kind, namespace and name.

    Users' Secrets and ConfigMaps are held as metadata only (`kind: PartialObjectMetadata`), Namespaces too.
    """

    def __init__(self) -> None:
        self._full: _Store = defaultdict(dict)
        self._metadata: _Store = defaultdict(dict)
        self._by_route: dict[tuple[Kind, str, str], _Names] = {}
        self._tombstones: OrderedDict[_Buried, int] = OrderedDict()
        self._listeners: list[Listener] = []

    def get(self, kind: Kind, namespace: str, name: str) -> Manifest | None:
        """The object, or None. `namespace` is "" for kinds that have none."""
        for store in (self._full, self._metadata):
            found = store[kind].get(namespace, {}).get(name)
            if found is not None:
                return found
        return None

    def list(self, kind: Kind, namespace: str | None = None) -> Iterator[Manifest]:
        """Every object of the kind, in no particular order; of one namespace if given."""
        full = self._full[kind]
        for _, names in _spaces(full, namespace):
            yield from list(names.values())
        for space, names in _spaces(self._metadata[kind], namespace):
            shadowed = full.get(space, {})
            yield from [found for name, found in names.items() if name not in shadowed]

    def owned_by(self, route_namespace: str, route_name: str, kind: Kind) -> Manifests:
        """Children of a route, by their label, in order of name; O(children)."""
        names = self._by_route.get((kind, route_namespace, route_name), {})
        return [names[name] for name in sorted(names)]

    def count(self, kind: Kind) -> int:
        """How many objects of the kind are held."""
        return sum(len(names) for store in (self._full, self._metadata) for names in store[kind].values())

    def subscribe(self, listener: Listener) -> None:
        """Call `listener` after each change, e.g. to keep an index; it is told of what is held already."""
        self._listeners.append(listener)
        for store in (self._full, self._metadata):
            for kind, spaces in store.items():
                for names in spaces.values():
                    for found in names.values():
                        listener(kind, None, found)

    def put(self, kind: Kind, manifest: Manifest, *, metadata_only: bool = False) -> bool:
        """Take in a version of an object; False if this or a newer version was known already.

        A manifest without a resource version (none that a server sent) is always taken in.
        """
        slim = _slim(kind, manifest, metadata_only=metadata_only)
        meta = slim["metadata"]
        uid, version = meta.get("uid", ""), _version(slim)
        if 0 < version <= self._tombstones.get((metadata_only, uid), -1):
            return False
        store = self._metadata if metadata_only else self._full
        names = store[kind].setdefault(meta.get("namespace", ""), {})
        before = names.get(meta["name"])
        if (
            before is not None
            and before["metadata"].get("uid", "") == uid
            and 0 < version <= _version(before)
        ):
            return False
        names[meta["name"]] = slim
        if not metadata_only:
            self._unindex(kind, before)
            self._index(kind, slim)
        self._tell(kind, before, slim)
        return True

    def remove(self, kind: Kind, manifest: Manifest, *, metadata_only: bool = False) -> bool:
        """Take out an object by the last version seen of it; False if it (or a newer one) isn't that one."""
        meta = manifest["metadata"]
        namespace, name, uid = meta.get("namespace", ""), meta["name"], meta.get("uid", "")
        buried = (metadata_only, uid)
        self._bury(buried, _version(manifest))
        store = self._metadata if metadata_only else self._full
        names = store[kind].get(namespace, {})
        before = names.get(name)
        if (
            before is None
            or before["metadata"].get("uid", "") != uid
            or _version(before) > max(_version(manifest), self._tombstones.get(buried, -1))
        ):
            return False
        del names[name]
        if not names:
            del store[kind][namespace]
        if not metadata_only:
            self._unindex(kind, before)
        self._tell(kind, before, None)
        return True

    def held(self, kind: Kind, namespace: str | None = None, *, metadata_only: bool = False) -> Manifests:
        """A snapshot of one of the two stores, for comparison with a listing."""
        store = self._metadata if metadata_only else self._full
        return [found for _, names in _spaces(store[kind], namespace) for found in names.values()]

    def _bury(self, buried: _Buried, version: int) -> None:
        self._tombstones[buried] = max(version, self._tombstones.pop(buried, -1))
        while len(self._tombstones) > _TOMBSTONES:
            self._tombstones.popitem(last=False)

    def _index(self, kind: Kind, manifest: Manifest) -> None:
        if (key := _route_key(kind, manifest)) is not None:
            self._by_route.setdefault(key, {})[manifest["metadata"]["name"]] = manifest

    def _unindex(self, kind: Kind, manifest: Manifest | None) -> None:
        if manifest is None or (key := _route_key(kind, manifest)) is None:
            return
        names = self._by_route.get(key, {})
        names.pop(manifest["metadata"]["name"], None)
        if not names:
            self._by_route.pop(key, None)

    def _tell(self, kind: Kind, before: Manifest | None, after: Manifest | None) -> None:
        for listener in self._listeners:
            listener(kind, before, after)


def _spaces(spaces: dict[str, _Names], namespace: str | None) -> list[tuple[str, _Names]]:
    if namespace is None:
        return list(spaces.items())
    return [(namespace, spaces[namespace])] if namespace in spaces else []


def _route_key(kind: Kind, manifest: Manifest) -> tuple[Kind, str, str] | None:
    meta = manifest["metadata"]
    route = (meta.get("labels") or {}).get(LABEL_ROUTE)
    return (kind, meta.get("namespace", ""), route) if route else None


def _version(manifest: Manifest) -> int:
    return int(manifest["metadata"].get("resourceVersion") or 0)


def _slim(kind: Kind, manifest: Manifest, *, metadata_only: bool) -> dict[str, Any]:
    """Without `managedFields`, which can be most of an object; with the kind, which items of a list lack."""
    metadata = {key: value for key, value in manifest["metadata"].items() if key != "managedFields"}
    if metadata_only:
        return {"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": metadata}
    return {**manifest, "apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata}
