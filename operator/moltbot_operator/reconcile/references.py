"""Who uses what: the keys that a change of an object concerns, found without looking at all objects.

The index follows the cache (`Cache.subscribe`), so it costs O(references of the changed object) a change.
References are read from the raw objects: a spec that does not parse still names its backends and Secrets.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

from moltbot_operator.api import JWTAlgorithm
from moltbot_operator.compile.credentials import managed_secret, rotated_secret
from moltbot_operator.compile.sources import BackendRef
from moltbot_operator.constants import COMPONENT_WORKER, LABEL_BACKEND, LABEL_COMPONENT, LABEL_ROUTE
from moltbot_operator.kube.cache import Cache
from moltbot_operator.kube.cluster import Manifest
from moltbot_operator.kube.kinds import (
    AUTOSCALER,
    CONFIG_MAP,
    DEPLOYMENT,
    MODEL_BACKEND,
    MOLTBOT_ROUTE,
    NAMESPACE,
    SECRET,
    Kind,
)
from moltbot_operator.kube.queue import Key

__all__ = ["References", "affected", "references_of", "route_backends"]

Place = tuple[Kind, str, str]
"""Kind, namespace and name of a Secret or ConfigMap."""


@dataclass
class References:
    """The index of one cache."""

    routes_of: defaultdict[BackendRef, set[Key]] = field(default_factory=lambda: defaultdict(set))
    """Routes that name a backend."""
    users_of: defaultdict[Place, set[Key]] = field(default_factory=lambda: defaultdict(set))
    """Routes and backends that name a Secret or ConfigMap."""
    crossing: defaultdict[str, set[Key]] = field(default_factory=lambda: defaultdict(set))
    """Routes of a namespace that name backends of other namespaces."""
    _concerned: set[Key] = field(default_factory=set)
    """Keys that the latest changes concern beyond the changed objects themselves, until somebody asks."""

    def follow(self, kind: Kind, before: Manifest | None, after: Manifest | None) -> None:
        """A listener of the cache: keeps the index, and notes whom a changed spec concerns."""
        if kind not in {MODEL_BACKEND, MOLTBOT_ROUTE} or _spec(before) == _spec(after):
            return
        if kind == MOLTBOT_ROUTE:
            self._follow_route(before, after)
        else:
            self._follow_backend(before, after)

    def affected(self, kind: Kind, manifest: Manifest) -> list[Key]:
        """Keys to reconcile because of a change of the object; O(keys)."""
        meta = manifest["metadata"]
        namespace, name = meta.get("namespace", ""), meta["name"]
        keys = self._concerned
        self._concerned = set()
        if kind == MOLTBOT_ROUTE:
            keys.add(Key("Route", namespace, name))
            if (manifest.get("spec") or {}).get("worker") or (manifest.get("status") or {}).get("worker"):
                keys.add(Key("Workers", namespace, name))
        elif kind == MODEL_BACKEND:
            keys.add(Key("Backend", namespace, name))
        elif kind == NAMESPACE:
            keys |= self.crossing.get(name, set())
        else:
            keys |= {Key("Route", namespace, route) for route in _owners(manifest)}
            if (label := (meta.get("labels") or {}).get(LABEL_BACKEND)) and kind == SECRET:
                keys.add(Key("Backend", namespace, label))
            if kind in _SCALED and _is_workers(manifest):
                keys |= {Key("Workers", namespace, route) for route in _owners(manifest)}
        if kind in {SECRET, CONFIG_MAP}:
            users = self.users_of.get((kind, namespace, name), set())
            keys |= users
            for user in users:
                if user.kind == "Backend":
                    keys |= self.routes_of.get(BackendRef(user.namespace, user.name), set())
        return sorted(keys)

    def _follow_route(self, before: Manifest | None, after: Manifest | None) -> None:
        some = after or before or {}
        key = _key("Route", some)
        old, new = route_backends(before), route_backends(after)
        _move(self.routes_of, key, old, new)
        _move(self.users_of, key, _route_places(before), _route_places(after))
        namespace = key.namespace
        crosses = {namespace} if any(ref.namespace != namespace for ref in new) else set()
        _move(self.crossing, key, {namespace}, crosses)
        self._concerned |= {Key("Backend", ref.namespace, ref.name) for ref in old ^ new}

    def _follow_backend(self, before: Manifest | None, after: Manifest | None) -> None:
        key = _key("Backend", after or before or {})
        _move(self.users_of, key, _backend_places(before), _backend_places(after))
        self._concerned |= self.routes_of.get(BackendRef(key.namespace, key.name), set())


_indexes: WeakKeyDictionary[Cache, References] = WeakKeyDictionary()


def references_of(cache: Cache) -> References:
    """The index that follows this cache; made on first use, from what the cache holds by then."""
    if cache not in _indexes:
        _indexes[cache] = index = References()
        cache.subscribe(index.follow)
    return _indexes[cache]


def affected(cache: Cache, kind: Kind, manifest: Manifest) -> list[Key]:
    """Keys to reconcile because of a change of the object, which the cache has taken in."""
    return references_of(cache).affected(kind, manifest)


def _key(kind: Any, manifest: Mapping[str, Any]) -> Key:
    meta = manifest["metadata"]
    return Key(kind, meta.get("namespace", ""), meta["name"])


def _spec(manifest: Manifest | None) -> Any:
    """What others depend on: the spec, and whether a backend's credential has been taken over."""
    if manifest is None:
        return None
    credential = (manifest.get("status") or {}).get("credential") or {}
    return manifest["metadata"].get("uid"), manifest.get("spec"), credential.get("version") is not None


def _owners(manifest: Manifest) -> set[str]:
    """Routes that an object says are its owner, by label or by reference: somebody may remove either."""
    meta = manifest["metadata"]
    label = (meta.get("labels") or {}).get(LABEL_ROUTE)
    owners = {
        owner["name"]
        for owner in meta.get("ownerReferences") or []
        if owner.get("kind") == MOLTBOT_ROUTE.kind
    }
    return owners | ({label} if label else set())


_SCALED = frozenset({AUTOSCALER, DEPLOYMENT})


def _is_workers(manifest: Manifest) -> bool:
    return (manifest["metadata"].get("labels") or {}).get(LABEL_COMPONENT) == COMPONENT_WORKER


def _move(index: defaultdict[Any, set[Key]], key: Key, old: set[Any], new: set[Any]) -> None:
    for item in old - new:
        index[item].discard(key)
        if not index[item]:
            del index[item]
    for item in new:
        index[item].add(key)


def route_backends(manifest: Manifest | None) -> set[BackendRef]:
    """Backends that a route names, as it is written; none if there is no route."""
    if manifest is None:
        return set()
    namespace = manifest["metadata"].get("namespace", "")
    return {BackendRef.parse(text, namespace) for text in _backend_names(manifest.get("spec") or {})}


def _backend_names(spec: Mapping[str, Any]) -> Iterator[str]:
    for rule in spec.get("rules") or []:
        for candidate in rule.get("candidates") or []:
            yield candidate["backend"]
        yield from rule.get("fallback") or []
        yield from (rule.get("aggregate") or {}).get("backends") or []
    for consumer in spec.get("consumers") or []:
        yield from consumer.get("backends") or []


def _route_places(manifest: Manifest | None) -> set[Place]:
    if manifest is None:
        return set()
    namespace = manifest["metadata"].get("namespace", "")
    spec = manifest.get("spec") or {}
    places: set[Place] = set()
    if secret := ((spec.get("gateway") or {}).get("tls") or {}).get("secretRef"):
        places.add((SECRET, namespace, secret["name"]))
    for consumer in spec.get("consumers") or []:
        auth = consumer.get("auth") or {}
        if secret := (auth.get("apiKey") or {}).get("secretRef"):
            places.add((SECRET, namespace, secret["name"]))
        if config_map := ((auth.get("jwt") or {}).get("jwks") or {}).get("configMapRef"):
            places.add((CONFIG_MAP, namespace, config_map["name"]))
    return places


def _rotation_secrets(manifest: Mapping[str, Any], rotation: Mapping[str, Any]) -> Iterator[str]:
    """What gateways mount, and what the issuer is called with."""
    yield rotated_secret(manifest["metadata"]["name"])
    issuer = rotation.get("issuer") or {}
    for secret in (
        (issuer.get("webhook") or {}).get("secretRef"),
        (issuer.get("dynamicRegistration") or {}).get("initialAccessTokenRef"),
    ):
        if secret:
            yield secret["name"]


def _backend_places(manifest: Manifest | None) -> set[Place]:
    if manifest is None:
        return set()
    namespace = manifest["metadata"].get("namespace", "")
    spec = manifest.get("spec") or {}
    places: set[Place] = set()
    auth = spec.get("auth") or {}
    oauth2, jwt = auth.get("oauth2") or {}, auth.get("jwt") or {}
    signing = jwt.get("signingKey") or {}
    for secret in (
        (auth.get("apiKey") or {}).get("secretRef"),
        oauth2.get("clientSecretRef"),
        signing.get("secretRef"),
    ):
        if secret:
            places.add((SECRET, namespace, secret["name"]))
    if signing.get("managed"):
        name = manifest["metadata"]["name"]
        places.add((SECRET, namespace, managed_secret(name, jwt.get("algorithm") or JWTAlgorithm.ES256)))
        issuer = (spec.get("rotation") or {}).get("issuer") or {}
        jwks = (issuer.get("managedKey") or {}).get("configMapName") or f"{name}-jwks"
        places.add((CONFIG_MAP, namespace, jwks))
    if (rotation := spec.get("rotation")) is not None:
        places |= {(SECRET, namespace, each) for each in _rotation_secrets(manifest, rotation)}
    for ca in (oauth2.get("caRef"), ((spec.get("endpoint") or {}).get("tls") or {}).get("caRef")):
        if ca:
            kind = SECRET if ca.get("kind") == "Secret" else CONFIG_MAP
            places.add((kind, namespace, ca["name"]))
    accuracy = (spec.get("objectives") or {}).get("accuracy") or {}
    if feed := (accuracy.get("feed") or {}).get("configMapRef"):
        places.add((CONFIG_MAP, namespace, feed["name"]))
    return places
