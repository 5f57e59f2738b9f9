"""What surrounds a rotation on one machine: the served files, running revisions, and the published keys."""

import asyncio
import hmac
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import orjson

from moltbot_agent.evidence import fingerprint
from moltbot_agent.signing import public_jwk
from moltbot_operator.api import CaRef, SecretKeyRef
from moltbot_operator.compile import BackendRef
from moltbot_operator.errors import EnvoyRejected, InvalidInput
from moltbot_operator.rotation import Credential
from moltbot_operator.serve.files import DataKind, Manifests
from moltbot_operator.serve.revision import Revision, evidence_of
from moltbot_operator.serve.rotation.store import FolderStore
from moltbot_operator.serve.state import write_whole

__all__ = [
    "BackendGateways",
    "ConsumerGateways",
    "FileOrigin",
    "FileReader",
    "KeyFile",
    "RevisionGateways",
    "Served",
    "usable",
]

Served = Callable[[], Manifests]
"""The files as they are served now."""


class FileReader:
    """Implements the rotation's `Reader`: Secrets and ConfigMaps of the served files."""

    def __init__(self, served: Served, namespace: str) -> None:
        self._served = served
        self._namespace = namespace

    async def secret(self, ref: SecretKeyRef) -> str:
        """The value of a Secret's key."""
        return self._value("Secret", ref.name, ref.key).rstrip("\r\n")

    async def ca(self, ref: CaRef) -> str:
        """A bundle in PEM."""
        return self._value("Secret" if ref.kind == "Secret" else "ConfigMap", ref.name, ref.key)

    def _value(self, kind: DataKind, name: str, key: str) -> str:
        found = self._served().data.get((kind, self._namespace, name), {}).get(key)
        if not found:
            raise InvalidInput(
                f"{kind} {self._namespace}/{name} with the key {key} is in none of the files: add it"
            )
        return found.decode(errors="replace")


class FileOrigin:
    """Implements the rotation's `Origin`: the Secret that the spec names, or the key that was made first."""

    def __init__(self, served: Served, namespace: str, ref: SecretKeyRef | None) -> None:
        self._served = served
        self._namespace = namespace
        self._ref = ref

    async def read(self) -> Credential | None:
        """Its value, without the newline at its end; None where there is none that can be used."""
        if self._ref is None:
            return None
        found = self._served().data.get(("Secret", self._namespace, self._ref.name), {}).get(self._ref.key)
        return usable(found)


def usable(value: bytes | None) -> Credential | None:
    """A person's, without the newline at its end; None where it is none that can be used."""
    text = (value or b"").decode(errors="replace").rstrip("\r\n")
    if not text.startswith("-----BEGIN") and not (text.isascii() and text.isprintable()):
        return None
    return Credential("", "", text) if text else None


Question = Literal["holds", "uses", "uses only"]

Lacks = Callable[[dict[str, Any], str, Question], bool]
"""Whether an agent's evidence shows that what has this fingerprint is lacking; see moltbot_agent.evidence."""


class RevisionGateways:
    """All revisions that run here, which are asked for evidence."""

    def __init__(
        self, active: Callable[[], Revision], leaving: Callable[[], Iterable[Revision]], settled: asyncio.Lock
    ) -> None:
        """`settled` is held while a revision is being made: it may have begun with an older credential."""
        self._active = active
        self._leaving = leaving
        self._settled = settled

    async def ask(self, value: str, question: Question, lacks: Lacks, *, urgent: bool) -> str:
        """See `moltbot_operator.rotation.driver.Gateways`; one that is leaving gets no new requests."""
        async with self._settled:
            asked = [self._active()]
            if question == "uses only" and not urgent:
                asked += self._leaving()
            for revision in asked:
                if not revision.gateway.ended.done():
                    said = await asyncio.to_thread(_ask, revision, value, question, lacks)
                    if said:
                        return said
        return ""


def _ask(revision: Revision, value: str, question: Question, lacks: Lacks) -> str:
    name = f"revision {revision.identity.revision}"
    try:
        found = evidence_of(revision.gateway)
    except EnvoyRejected as error:
        return f"{name}: {error}"
    wanted = fingerprint(revision.gateway.evidence_token.encode(), value.rstrip("\r\n"))
    if not lacks(found, wanted, question):
        return ""
    return f"{name} does not {'have' if question == 'holds' else 'use'} it yet"


@dataclass(frozen=True)
class BackendGateways:
    """Implements the rotation's `Gateways` for a backend's credential."""

    revisions: RevisionGateways
    ref: BackendRef

    async def ask(self, value: str, question: Question, *, urgent: bool) -> str:
        """See `moltbot_operator.rotation.driver.Gateways`."""
        return await self.revisions.ask(value, question, self._lacks, urgent=urgent)

    def _lacks(self, found: dict[str, Any], wanted: str, question: Question) -> bool:
        for each in found["credentials"]:
            used = hmac.compare_digest(each["fingerprint"] or "", wanted)
            has = used or (question == "holds" and wanted in each["held"])
            if each["backend"] == str(self.ref) and not has:
                return True
        return False


@dataclass(frozen=True)
class ConsumerGateways:
    """Implements the rotation's `Gateways` for these consumers' key: who holds it takes it from clients."""

    revisions: RevisionGateways
    consumers: frozenset[str]

    async def ask(self, value: str, question: Question, *, urgent: bool) -> str:
        """See `moltbot_operator.rotation.driver.Gateways`."""
        return await self.revisions.ask(value, question, self._lacks, urgent=urgent)

    def _lacks(self, found: dict[str, Any], wanted: str, question: Question) -> bool:  # noqa: ARG002
        return any(
            each["consumer"] in self.consumers and wanted not in each["held"] for each in found["consumers"]
        )


class KeyFile:
    """Implements the rotation's `Keys`: the file with the JWKS of one backend."""

    def __init__(self, store: FolderStore, path: Path, algorithm: str) -> None:
        self._store = store
        self._path = path
        self._algorithm = algorithm

    async def published(self) -> frozenset[str]:
        """Versions whose key is in the file."""
        try:
            kids = {each["kid"] for each in orjson.loads(self._path.read_bytes())["keys"]}
        except (OSError, ValueError, KeyError, TypeError):
            return frozenset()
        keys = await asyncio.to_thread(self._public)
        return frozenset(version for version, key in keys.items() if key["kid"] in kids)

    async def publish(self) -> None:
        """Write the file. InvalidInput where it can't be written."""
        keys = list((await asyncio.to_thread(self._public)).values())
        content = orjson.dumps({"keys": keys}, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
        try:
            if not self._path.exists() or self._path.read_bytes() != content:
                write_whole(self._path, content)
                self._path.chmod(0o644)
        except OSError as error:
            raise InvalidInput(f"{self._path}: the JWKS can't be written: {error.strerror}") from error

    def _public(self) -> dict[str, dict[str, str]]:
        found = self._store.credentials()
        return {version: public_jwk(each.value, self._algorithm) for version, each in found.items()}
