"""Managed signing keys (`jwt.signingKey: {managed: true}`): made once, kept in a Secret, published as a JWKS.

::

    Secret <backend>-signing-key-<algorithm>   the private key; created, never overwritten
    ConfigMap <backend>-jwks                   the public halves of all such Secrets that the backend has;
                                               rotation.issuer.managedKey.configMapName names another

Both belong to the ModelBackend and go with it. A crash between the two writes leaves a key that the next call
publishes; a Secret that somebody deletes is made anew, with another key. After a change of the algorithm the
old key stays published, since tokens that it signed are still on their way.

Where `spec.rotation` has taken the key over, each version is in a Secret of its own (reconcile/rotation), and
the JWKS has the public halves of all of them: the one to come before it signs, the one before until no token
of it can be on its way.
"""

import asyncio
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

import orjson

from moltbot_agent.signing import new_key, public_jwk, suitable_algorithms
from moltbot_agent.sources import Unusable
from moltbot_operator.api import JWTAlgorithm, ModelBackendSpec
from moltbot_operator.compile.credentials import MANAGED_KEY, ROTATED_KEY, jwks_name, managed_secret
from moltbot_operator.compile.sources import Problem
from moltbot_operator.conditions import Reason
from moltbot_operator.constants import (
    API_VERSION,
    COMPONENT_SIGNING_KEY,
    LABEL_BACKEND,
    LABEL_COMPONENT,
    LABEL_MANAGED_BY,
    LABEL_NAME,
    MANAGED_BY,
)
from moltbot_operator.errors import ClusterError, Conflict, NotFound
from moltbot_operator.kube.cache import Cache
from moltbot_operator.kube.cluster import Cluster, Manifest
from moltbot_operator.kube.kinds import CONFIG_MAP, MODEL_BACKEND, SECRET, Kind
from moltbot_operator.reconcile.announce import Announcement
from moltbot_operator.reconcile.apply import REJECTIONS, TAKEN_AGAIN
from moltbot_operator.reconcile.rotation.versions import versions_of

__all__ = ["JWKS_KEY", "ManagedKey", "SigningKeys"]

JWKS_KEY: Final = "jwks.json"
"""Key of the ConfigMap."""

MOST_PUBLICS: Final = 10_000
"""Public keys that are remembered, since each takes a millisecond to find."""

GOING_AGAIN: Final = timedelta(seconds=1)
"""How soon to look whether an object that is on its way out has gone."""


@dataclass(frozen=True)
class ManagedKey:
    """What came of it: the ConfigMap with the JWKS, or what is in the way and when to look again."""

    jwks: str | None = None
    problem: Problem | None = None
    again: timedelta | None = None
    made: Announcement | None = None


class _Blocked(Exception):  # noqa: N818
    def __init__(self, problem: Problem, again: timedelta | None = None) -> None:
        super().__init__(problem.message)
        self.problem = problem
        self.again = again


class SigningKeys:
    """Makes and publishes the keys of ModelBackends."""

    def __init__(self, cluster: Cluster, cache: Cache) -> None:
        self._cluster = cluster
        self._cache = cache
        self._publics: dict[str, dict[str, Any]] = {}

    async def ensure(
        self, backend: Manifest, spec: ModelBackendSpec, *, rotated: bool = False
    ) -> ManagedKey | None:
        """See to the backend's key; None if it has no managed one.

        With `rotated` only to the JWKS: keys are made by the rotation. ClusterError if the API server does
        not answer: the queue tries again.
        """
        if spec.auth.jwt is None or not spec.auth.jwt.signing_key.managed:
            return None
        made: list[Announcement] = []
        algorithm = spec.auth.jwt.algorithm
        try:
            if rotated:
                keys = [key for _, key in sorted((await self._versions(backend)).items())]
            else:
                secret = await self._secret(backend, algorithm, made)
                secrets = {algorithm: secret, **await self._earlier(backend, algorithm)}
                keys = [await _public(secrets[each], each) for each in JWTAlgorithm if each in secrets]
            name = await self._publish(backend, jwks_name(backend["metadata"]["name"], spec), keys)
        except _Blocked as blocked:
            return ManagedKey(None, blocked.problem, blocked.again, made[0] if made else None)
        except ClusterError as error:
            if error.status not in REJECTIONS:
                raise
            message = f"The API server refuses an object of the managed signing key: {error}. Mend the cause."
            return ManagedKey(None, Problem(Reason.APPLY_REJECTED, message), TAKEN_AGAIN)
        return ManagedKey(name, made=made[0] if made else None)

    async def _secret(self, backend: Manifest, algorithm: JWTAlgorithm, made: list[Announcement]) -> Manifest:
        """The Secret of the algorithm: as it is, or made with a new key."""
        meta = backend["metadata"]
        name = managed_secret(meta["name"], algorithm)
        live = await self._live(SECRET, meta["namespace"], name)
        if live is None:
            pem = await asyncio.to_thread(new_key, algorithm)
            manifest = {
                **_object(backend, SECRET, name),
                "type": "Opaque",
                "data": {MANAGED_KEY: b64encode(pem.encode()).decode()},
            }
            try:
                live = await self._cluster.create(manifest)
            except Conflict:  # of an earlier call whose answer was lost, or somebody's
                live = await self._cluster.get(SECRET, meta["namespace"], name)
            else:
                self._cache.put(SECRET, live)
                message = f"Signing key for {algorithm} is made: Secret {name}."
                made.append(Announcement("Normal", "SigningKeyMade", "Reconcile", message))
        _require_ownership(backend, live, SECRET)
        return live

    async def published_versions(self, backend: Manifest, spec: ModelBackendSpec) -> frozenset[str]:
        """Versions of a rotated key that are in the JWKS as it is."""
        meta = backend["metadata"]
        live = await self._live(CONFIG_MAP, meta["namespace"], jwks_name(meta["name"], spec))
        try:
            document = orjson.loads(((live or {}).get("data") or {}).get(JWKS_KEY, "{}"))
            kids = {key.get("kid") for key in document.get("keys") or []}
        except (orjson.JSONDecodeError, AttributeError, TypeError):
            return frozenset()
        keys = await self._versions(backend)
        return frozenset(version for version, key in keys.items() if key["kid"] in kids)

    async def _versions(self, backend: Manifest) -> dict[str, dict[str, Any]]:
        """The public halves of a rotated key's versions."""
        meta, found = backend["metadata"], {}
        for version, secret in versions_of(self._cache).of(meta["namespace"], meta["name"]).items():
            if not _owned(backend, secret):
                continue
            uid = secret["metadata"]["uid"]
            if uid not in self._publics:
                if len(self._publics) >= MOST_PUBLICS:
                    self._publics.clear()
                self._publics[uid] = await asyncio.to_thread(_public_of, secret)
            found[version] = self._publics[uid]
        return found

    async def _publish(self, backend: Manifest, name: str, keys: list[dict[str, Any]]) -> str:
        meta = backend["metadata"]
        jwks = {"keys": keys}
        text = orjson.dumps(jwks, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS).decode()
        live = await self._live(CONFIG_MAP, meta["namespace"], name)
        wanted = {**_object(backend, CONFIG_MAP, name), "data": {JWKS_KEY: text}}
        if live is not None:
            _require_ownership(backend, live, CONFIG_MAP)
            labels = live["metadata"].get("labels") or {}
            if (live.get("data") or {}) == wanted["data"] and labels.items() >= _labels(backend).items():
                return name
        self._cache.put(CONFIG_MAP, await self._cluster.apply(wanted))
        return name

    async def _earlier(self, backend: Manifest, algorithm: JWTAlgorithm) -> dict[JWTAlgorithm, Manifest]:
        """Secrets of the keys that the backend had for other algorithms."""
        meta, found = backend["metadata"], {}
        for each in JWTAlgorithm:
            name = managed_secret(meta["name"], each)
            if each is algorithm or self._cache.get(SECRET, meta["namespace"], name) is None:
                continue
            live = await self._live(SECRET, meta["namespace"], name)
            if live is not None and _owned(backend, live):
                found[each] = live
        return found

    async def _live(self, kind: Kind, namespace: str, name: str) -> Manifest | None:
        """The object as it is; one without our label is known to the cache by its metadata only."""
        known = self._cache.get(kind, namespace, name)
        if known is not None and known["kind"] == kind.kind:
            return known
        try:
            return await self._cluster.get(kind, namespace, name)
        except NotFound:
            return None


async def _public(secret: Manifest, algorithm: JWTAlgorithm) -> dict[str, Any]:
    """The public half of the key in a Secret, as a JWK."""
    try:
        pem = b64decode((secret.get("data") or {}).get(MANAGED_KEY, ""), validate=True).decode("ascii")
        return await asyncio.to_thread(public_jwk, pem, algorithm)
    except (Unusable, Base64Error, UnicodeDecodeError) as error:
        meta = secret["metadata"]
        flaw = str(error) if isinstance(error, Unusable) else "is no PEM"
        message = (
            f"The managed signing key in Secret {meta['namespace']}/{meta['name']} {flaw}: delete the Secret "
            "to have a new one made."
        )
        raise _Blocked(Problem(Reason.SECRET_VALUE_UNUSABLE, message)) from error


def _public_of(secret: Manifest) -> dict[str, Any]:
    """The public half of a version's key; its Secret is our own and never changes."""
    pem = b64decode(secret["data"][ROTATED_KEY]).decode("ascii")
    return public_jwk(pem, suitable_algorithms(pem)[0])


def _labels(backend: Manifest) -> dict[str, str]:
    return {
        LABEL_MANAGED_BY: MANAGED_BY,
        LABEL_NAME: "moltbot-signing-key",
        LABEL_COMPONENT: COMPONENT_SIGNING_KEY,
        LABEL_BACKEND: backend["metadata"]["name"],
    }


def _object(backend: Manifest, kind: Kind, name: str) -> Manifest:
    meta = backend["metadata"]
    owner = {
        "apiVersion": API_VERSION,
        "kind": MODEL_BACKEND.kind,
        "name": meta["name"],
        "uid": meta["uid"],
        "controller": True,
    }
    return {
        "apiVersion": kind.api_version,
        "kind": kind.kind,
        "metadata": {
            "name": name,
            "namespace": meta["namespace"],
            "labels": _labels(backend),
            "ownerReferences": [owner],
        },
    }


def _controller(live: Mapping[str, Any]) -> Mapping[str, Any]:
    refs = live["metadata"].get("ownerReferences") or []
    return next((ref for ref in refs if ref.get("controller")), {})


def _owned(backend: Manifest, live: Mapping[str, Any]) -> bool:
    return bool(_controller(live).get("uid") == backend["metadata"]["uid"])


def _require_ownership(backend: Manifest, live: Mapping[str, Any], kind: Kind) -> None:
    """Raises _Blocked where the object is somebody else's, or that of a deleted backend of the same name."""
    meta, controller = backend["metadata"], _controller(live)
    going = bool(live["metadata"].get("deletionTimestamp"))
    named = controller.get("kind") == MODEL_BACKEND.kind and controller.get("name") == meta["name"]
    what = f"{kind} {meta['namespace']}/{live['metadata']['name']}"
    if going or (named and not _owned(backend, live)):
        raise _Blocked(
            Problem(Reason.SECRET_NOT_FOUND, f"{what} is on its way out; it is made anew."), GOING_AGAIN
        )
    if not named:
        message = (
            f"{what} exists and does not belong to ModelBackend {meta['namespace']}/{meta['name']}, which "
            "needs that name for its managed signing key: delete or rename it."
        )
        raise _Blocked(Problem(Reason.NAME_TAKEN, message), TAKEN_AGAIN)
