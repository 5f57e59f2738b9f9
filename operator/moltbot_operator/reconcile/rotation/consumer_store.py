"""Implements the rotation's `Store` and `Origin` for a consumer's key: all of it is in the consumer's Secret.

::

    data: key                 the key that clients use
          key-<version>       each key that is valid: one, and two from distribution to the end of the overlap
    annotations: moltbot.io/key-rotation              the state, JSON, nothing secret
                 moltbot.io/next-credential-version   the version that is being distributed

Every value in the Secret lets a client in, so what is stored is valid and what is dropped is not. State and
keys are one object: a crash leaves them as one write left them. Other names are a person's: left alone.
"""

from base64 import b64decode
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Any

import orjson

from moltbot_operator.constants import (
    ANNOTATION_KEY,
    COMPONENT_CONSUMER_KEY,
    LABEL_COMPONENT,
    LABEL_MANAGED_BY,
    LABEL_NAME,
    MANAGED_BY,
)
from moltbot_operator.errors import Conflict, NotFound
from moltbot_operator.kube.cache import Cache
from moltbot_operator.kube.cluster import Cluster, Manifest
from moltbot_operator.kube.kinds import SECRET
from moltbot_operator.reconcile.contents import flaw
from moltbot_operator.reconcile.rotation.objects import ANNOTATION_NEXT, encoded
from moltbot_operator.rotation import Credential
from moltbot_operator.rotation.state import Mounted, State
from moltbot_operator.rotation.status import read_state, written_state
from moltbot_operator.rotation.versions import KEY, key_of, version_in

__all__ = ["KeyStore", "is_rotated_key", "state_of"]


def is_rotated_key(secret: Manifest) -> bool:
    """Whether the operator may write this Secret: it made it, or a person gave it the labels."""
    labels = secret["metadata"].get("labels") or {}
    return (
        secret["kind"] == SECRET.kind
        and labels.get(LABEL_MANAGED_BY) == MANAGED_BY
        and labels.get(LABEL_COMPONENT) == COMPONENT_CONSUMER_KEY
    )


def state_of(secret: Manifest) -> State:
    """Where the rotation stands; what can't be read (somebody edited it) counts as not there."""
    text = (secret["metadata"].get("annotations") or {}).get(ANNOTATION_KEY, "{}")
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError:
        found = {}
    return read_state(found if isinstance(found, dict) else {})


class KeyStore:
    """One Secret, of the consumers that name it."""

    def __init__(
        self,
        cluster: Cluster,
        cache: Cache,
        place: tuple[str, str],
        owners: list[Manifest],
        changed: Callable[[], Awaitable[None]],
    ) -> None:
        """`owners`: references of a Secret that is made here; `changed` is called once a key was dropped."""
        self._cluster = cluster
        self._cache = cache
        self._namespace, self._name = place
        self._owners = owners
        self._changed = changed

    async def load(self) -> State:
        """From the API server, since the cache may not have seen one's own last write."""
        try:
            live = await self._cluster.get(SECRET, self._namespace, self._name)
        except NotFound:
            return State()
        if is_rotated_key(live):
            self._cache.put(SECRET, live)
        live = self._live() or live
        return state_of(live)

    async def save(self, state: State) -> None:
        """Into the annotation."""
        text = orjson.dumps({key: value for key, value in written_state(state).items() if value is not None})
        await self._write({"metadata": {"annotations": {ANNOTATION_KEY: text.decode()}}})

    async def versions(self) -> Mapping[str, datetime | None]:
        """Keys that are valid; none has an end of its own."""
        return dict.fromkeys(self._keys())

    async def get(self, version: str) -> Credential | None:
        """A valid key."""
        value = self._keys().get(version)
        return None if value is None else _credential(value)

    async def put(self, version: str, credential: Credential) -> None:
        """Make a key valid."""
        await self._write({"data": {key_of(version): encoded(credential.value)}})

    async def drop(self, version: str) -> None:
        """End a key's validity; gateways hear of it at once."""
        if version not in self._keys():
            return
        await self._write({"data": {key_of(version): None}})
        await self._changed()

    async def mounted(self) -> Mounted:
        """The version that clients use, and the one that is being distributed."""
        live = self._live()
        used = ((live or {}).get("data") or {}).get(KEY)
        keys = self._keys()
        version = next((version for version, value in sorted(keys.items()) if value == used), None)
        coming = ((live or {"metadata": {}})["metadata"].get("annotations") or {}).get(ANNOTATION_NEXT)
        return Mounted(version, coming if version is not None and coming in keys else None)

    async def mount(self, mounted: Mounted) -> None:
        """Have clients use this version."""
        keys = self._keys()
        patch: dict[str, Any] = {"metadata": {"annotations": {ANNOTATION_NEXT: mounted.next}}}
        if mounted.value in keys:
            patch["data"] = {KEY: keys[mounted.value]}
        await self._write(patch)

    async def read(self) -> Credential | None:
        """The `Origin`: a key that a person wrote; None where there is none that can be used."""
        value = ((self._live() or {}).get("data") or {}).get(KEY)
        return _credential(value) if value and not flaw(value) else None

    def _keys(self) -> dict[str, str]:
        """Versions with their values as the Secret has them."""
        data = (self._live() or {}).get("data") or {}
        return {found: value for key, value in data.items() if (found := version_in(key))}

    def _live(self) -> Manifest | None:
        """Raises Conflict for somebody else's Secret, NotFound for one that is on its way out."""
        known = self._cache.get(SECRET, self._namespace, self._name)
        if known is None:
            return None
        if not is_rotated_key(known):
            raise Conflict(_taken(self._namespace, self._name), 409)
        if known["metadata"].get("deletionTimestamp"):
            raise NotFound(f"Secret {self._namespace}/{self._name} is on its way out; it is made anew.", 404)
        return known

    async def _write(self, patch: dict[str, Any]) -> None:
        live = self._live()
        if live is None:
            try:
                self._cache.put(SECRET, await self._cluster.create(self._new(patch)))
            except Conflict:  # of an earlier call whose answer was lost, or somebody's
                live = await self._cluster.get(SECRET, self._namespace, self._name)
                if not is_rotated_key(live):
                    raise Conflict(_taken(self._namespace, self._name), 409) from None
            else:
                return
        self._cache.put(SECRET, await self._cluster.merge(SECRET, self._namespace, self._name, patch))

    def _new(self, patch: dict[str, Any]) -> Manifest:
        annotations = (patch.get("metadata") or {}).get("annotations") or {}
        return {
            "apiVersion": "v1",
            "kind": SECRET.kind,
            "metadata": {
                "name": self._name,
                "namespace": self._namespace,
                "labels": {
                    LABEL_MANAGED_BY: MANAGED_BY,
                    LABEL_NAME: "moltbot-consumer-key",
                    LABEL_COMPONENT: COMPONENT_CONSUMER_KEY,
                },
                "annotations": {key: value for key, value in annotations.items() if value is not None},
                "ownerReferences": self._owners,
            },
            "type": "Opaque",
            "data": {key: value for key, value in (patch.get("data") or {}).items() if value is not None},
        }


def _credential(value: str) -> Credential:
    return Credential("", "", b64decode(value).decode(errors="replace").rstrip("\r\n"))


def _taken(namespace: str, name: str) -> str:
    return (
        f"Secret {namespace}/{name} was not made by the operator, which is to rotate its key: let it, by "
        f"kubectl label secret -n {namespace} {name} {LABEL_MANAGED_BY}={MANAGED_BY} "
        f"{LABEL_COMPONENT}={COMPONENT_CONSUMER_KEY}, or name another."
    )
