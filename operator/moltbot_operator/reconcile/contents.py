"""What is in users' Secrets and ConfigMaps, as far as conditions must know: usable keys.

The cache holds only metadata of these objects. One is read when its resource version has changed since it
was last read, and what is remembered of it are names of keys and what is wrong with them, never a value.
"""

from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from moltbot_agent.certificate import check_pair
from moltbot_agent.jwks import usable_jwks
from moltbot_agent.signing import suitable_algorithms
from moltbot_agent.sources import Unusable
from moltbot_operator.errors import NotFound
from moltbot_operator.kube.cache import Cache
from moltbot_operator.kube.cluster import Cluster
from moltbot_operator.kube.kinds import SECRET, Kind

__all__ = ["Contents", "ContentsMemo", "flaw"]

SPACE_TO_TILDE = (0x20, 0x7E)


@dataclass(frozen=True)
class Contents:
    """Keys of an object.

    `flaws` says of a Secret's key why its value can't be sent as a header, `algorithms` of a private key in
    PEM what it can sign with, `key_flaws` of a value why it is none, `no_jwks` of a ConfigMap's key why no
    token can be verified with its value, and `no_certificate` of a Secret with both tls.crt and tls.key why
    they are no pair.
    """

    keys: frozenset[str]
    flaws: Mapping[str, str] = field(default_factory=dict)
    algorithms: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    key_flaws: Mapping[str, str] = field(default_factory=dict)
    no_jwks: Mapping[str, str] = field(default_factory=dict)
    no_certificate: str = ""


class ContentsMemo:
    """Reads each version of an object once."""

    def __init__(self, cluster: Cluster, cache: Cache) -> None:
        self._cluster = cluster
        self._cache = cache
        self._seen: dict[tuple[Kind, str, str], tuple[str, Contents]] = {}

    async def look(self, kind: Kind, namespace: str, name: str) -> Contents | None:
        """What is in the object; None if it does not exist. ClusterError if it can't be read just now."""
        known = self._cache.get(kind, namespace, name)
        place = (kind, namespace, name)
        if known is None:
            self._seen.pop(place, None)
            return None
        version = known["metadata"].get("resourceVersion", "")
        seen = self._seen.get(place)
        if seen and seen[0] == version:
            return seen[1]
        try:
            found = await self._cluster.get(kind, namespace, name)
        except NotFound:
            return None
        contents = _contents(kind, found)
        self._seen[place] = (version, contents)
        return contents


def _contents(kind: Kind, manifest: Mapping[str, Any]) -> Contents:
    data = manifest.get("data") or {}
    if kind != SECRET:
        binary = manifest.get("binaryData") or {}
        values = {key: str(value).encode() for key, value in data.items()}
        values |= {key: b64decode(value) for key, value in binary.items()}
        no_jwks = {key: found for key, value in values.items() if (found := _jwks_flaw(value))}
        return Contents(frozenset(values), no_jwks=no_jwks)
    flaws = {key: found for key, value in data.items() if (found := flaw(value))}
    algorithms, key_flaws = {}, {}
    for key, value in data.items():
        try:
            algorithms[key] = _algorithms(value)
        except Unusable as error:
            key_flaws[key] = str(error)
    return Contents(frozenset(data), flaws, algorithms, key_flaws, no_certificate=_pair_flaw(data))


def _pair_flaw(data: Mapping[str, str]) -> str:
    """Why tls.crt and tls.key are no certificate and its key; empty where there are not both."""
    if not {"tls.crt", "tls.key"} <= data.keys():
        return ""
    try:
        check_pair(b64decode(data["tls.crt"]), b64decode(data["tls.key"]))
    except Unusable as error:
        return str(error)
    return ""


def _algorithms(encoded: str) -> tuple[str, ...]:
    """What a private key in PEM (base64) can sign with. Raises Unusable."""
    try:
        pem = b64decode(encoded, validate=True).decode("ascii")
    except (Base64Error, UnicodeDecodeError):
        pem = ""
    if "-----BEGIN" not in pem:
        raise Unusable("is no PEM; put a private key in PEM into the Secret")
    return suitable_algorithms(pem)


def _jwks_flaw(value: bytes) -> str:
    try:
        usable_jwks(value)
    except Unusable as error:
        return str(error)
    return ""


def flaw(encoded: str) -> str:
    """Why the value of a Secret's key (base64) can't be sent as a header; empty when it can.

    A newline at the end is forgiven, since editors and `echo` leave one and the agent removes it.
    """
    try:
        value = b64decode(encoded, validate=True)
    except Base64Error:
        return "is not base64"
    value = value.removesuffix(b"\n").removesuffix(b"\r")
    if not value:
        return "is empty"
    low, high = SPACE_TO_TILDE
    if any(not low <= byte <= high for byte in value):
        return "has characters that a header can't carry, such as a line break"
    return ""
