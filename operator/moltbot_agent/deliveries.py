"""From mounted Secrets to the files that Envoy watches, again and again.

:class:`Deliveries` compares each source with what it last saw, renders what changed and writes what
differs. A source that turned unusable leaves the file as it was for an upstream credential (a provider may
still take the old value), and takes the keys away for a consumer (a removed key must not open the door). A
write that fails is tried again each time. Envoy refuses a bootstrap whose SDS paths do not exist, so the
bootstrap comes last.
"""

import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import orjson

from moltbot_agent.config import AgentConfig, Consumers, Credential
from moltbot_agent.files import write_if_different
from moltbot_agent.sources import Unusable, file_signature, folder_signature, read_folder, read_value

__all__ = ["CredentialState", "Deliveries", "consumers_resource", "credential_resource"]

_SECRET_TYPE: Final = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret"  # noqa: S105
_EXTENSION_TYPE: Final = "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig"

_log = logging.getLogger(__name__)


def credential_resource(credential: Credential, value: str | None) -> bytes:
    """The SDS file: a DiscoveryResponse with one generic secret, or with nothing while there is no value."""
    resource = {
        "@type": _SECRET_TYPE,
        "name": credential.name,
        "generic_secret": {"secret": {"inline_string": f"{credential.prefix}{value}"}},
    }
    return orjson.dumps({"resources": [] if value is None else [resource]}, option=orjson.OPT_SORT_KEYS)


def consumers_resource(consumers: Consumers) -> tuple[bytes, list[str]]:
    """The ECDS file with every usable key, and what is wrong with the others. Raises OSError."""
    owners: dict[str, str] = {}
    problems: list[str] = []
    for entry in consumers.keys:
        before = len(problems)
        usable = 0
        try:
            found = read_folder(entry.source)
        except Unusable as error:
            problems.append(f"consumer {entry.consumer}: folder {entry.source} {error}")
            continue
        for key in found:
            if key.value is None:
                problems.append(f"consumer {entry.consumer}: key {key.name} {key.problem}")
            elif owners.setdefault(key.value, entry.consumer) != entry.consumer:
                problems.append(
                    f"consumer {entry.consumer}: key {key.name} is consumer {owners[key.value]}'s too, "
                    "who keeps it; give each consumer keys of its own"
                )
            else:
                usable += 1
        if not usable and len(problems) == before:
            problems.append(f"consumer {entry.consumer}: no key in {entry.source}; add one to the Secret")
    credentials = [{"key": key, "client": consumer} for key, consumer in owners.items()]
    resource = {
        "@type": _EXTENSION_TYPE,
        "name": consumers.resource,
        "typed_config": {**consumers.template, "credentials": credentials},
    }
    return orjson.dumps({"resources": [resource]}, option=orjson.OPT_SORT_KEYS), problems


@dataclass
class CredentialState:
    """One upstream credential: what Envoy was given, and what is wrong with its source now."""

    credential: Credential
    value: str | None = field(default=None, repr=False)
    """Delivered to Envoy; None until there was one."""
    problem: str | None = None
    seen: tuple[object, ...] | None = None
    """Signature of the source when it was last carried out; None = do it (again)."""


class Deliveries:
    """All files of one gateway."""

    def __init__(self, config: AgentConfig, envoy: dict[str, Any]) -> None:
        self._config = config
        self._bootstrap = orjson.dumps(envoy)
        self.credentials = [CredentialState(credential) for credential in config.credentials]
        self._consumers_seen: tuple[object, ...] | None = None
        self._consumers_problems: list[str] = []
        self._write_problems: dict[Path, str] = {}
        self.ready = False
        """Whether every file is there, so that Envoy can start."""
        self.writes = 0
        """Files replaced since the start."""
        self.write_failures = 0

    @property
    def problems(self) -> list[str]:
        """What keeps something from working, for evidence; never a secret value."""
        sources = [state.problem for state in self.credentials if state.problem]
        return [*self._write_problems.values(), *sources, *self._consumers_problems]

    def run_once(self) -> None:
        """Carry out what changed since the last time; a file that can't be read or written is a problem."""
        before = set(self.problems)
        for state in self.credentials:
            self._deliver_credential(state)
        if self._config.consumers is not None:
            self._deliver_consumers(self._config.consumers)
        if not self.ready:
            self._deliver_bootstrap()
        after = set(self.problems)
        for problem in sorted(after - before):
            _log.warning("problem", extra={"problem": problem})
        for problem in sorted(before - after):
            _log.info("problem solved", extra={"problem": problem})

    def _deliver_credential(self, state: CredentialState) -> None:
        credential = state.credential
        now = file_signature(credential.source)
        if now == state.seen:
            return
        state.seen = None
        name = f"backend {credential.backend}: credential {credential.source}"
        try:
            value = read_value(credential.source)
        except Unusable as error:
            if file_signature(credential.source) != now:
                return  # swapped while it was read: look again the next time
            kept = _exists(credential.target)
            rest = "; the last usable value stays in use" if kept and state.value else ""
            state.problem = f"{name} {error}{rest}"
            if not kept:
                self._write(credential.target, credential_resource(credential, None))
            return  # not marked as seen: the kubelet adds a new key's link after it swapped `..data`
        except OSError as error:
            state.problem = f"{name} can't be read: {error.strerror}; tried again"
            if not _exists(credential.target):  # Envoy must start for the others
                self._write(credential.target, credential_resource(credential, None))
            return
        if self._write(credential.target, credential_resource(credential, value)):
            state.value, state.problem, state.seen = value, None, now

    def _deliver_consumers(self, consumers: Consumers) -> None:
        now = _signatures(consumers)
        if now == self._consumers_seen:
            return
        self._consumers_seen = None
        try:
            content, problems = consumers_resource(consumers)
        except OSError as error:
            self._consumers_problems = [
                f"consumers' keys: {error.filename} can't be read: {error.strerror}; the last keys stay valid"
            ]
            if not _exists(consumers.target):  # as above; nobody is let in until they can be read
                self._write(
                    consumers.target, consumers_resource(consumers.model_copy(update={"keys": ()}))[0]
                )
            return
        if _signatures(consumers) != now:
            return  # swapped while it was read: nobody may lose a key for that, so look again the next time
        self._consumers_problems = problems
        self._consumers_seen = now if self._write(consumers.target, content) else None

    def _deliver_bootstrap(self) -> None:
        targets = [state.credential.target for state in self.credentials]
        targets += [self._config.consumers.target] if self._config.consumers else []
        if all(map(_exists, targets)):
            self.ready = self._write(self._config.bootstrap, self._bootstrap)
        if self.ready:
            _log.info("all files are written", extra={"revision": self._config.revision})

    def _write(self, path: Path, content: bytes) -> bool:
        """False where it failed: the problem is kept, and the caller tries again the next time."""
        try:
            if write_if_different(path, content):
                self.writes += 1
                _log.log(logging.INFO if self.ready else logging.DEBUG, "wrote %s", path)
        except OSError as error:
            self.write_failures += 1
            self._write_problems[path] = f"file {path} can't be written: {error.strerror}; tried again"
            return False
        self._write_problems.pop(path, None)
        return True


def _exists(path: Path) -> bool:
    """False also where it can't be told: writing then tells why."""
    try:
        return path.exists()
    except OSError:
        return False


def _signatures(consumers: Consumers) -> tuple[object, ...]:
    return tuple(folder_signature(entry.source) for entry in consumers.keys)
