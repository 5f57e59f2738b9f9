"""From mounted Secrets to the files that Envoy watches, again and again.

:class:`Deliveries` compares each source with what it last saw, renders what changed and writes what
differs. A source that turned unusable leaves the file as it was for an upstream credential (a provider may
still take the old value), and takes the keys away for a consumer (a removed key must not open the door). A
write that fails is tried again each time. Envoy refuses a bootstrap whose SDS paths do not exist, so the
bootstrap comes last, and waits a little for the first tokens.

Tokens (:mod:`moltbot_agent.tokens`) are signed here and fetched by :mod:`moltbot_agent.fetching`. Their state
file is written before Envoy's and removed after it, so that an agent that dies in between leaves nothing
whose end is not known.
"""

import contextlib
import copy
import logging
from collections import defaultdict
from dataclasses import dataclass, field
from functools import reduce
from operator import getitem
from pathlib import Path
from typing import Any, Final

import orjson

from moltbot_agent.certificate import CertificateDelivery
from moltbot_agent.clock import boot, offset
from moltbot_agent.config import AgentConfig, Consumers, Credential, SignedToken
from moltbot_agent.files import write_if_different
from moltbot_agent.leaving import STAYING
from moltbot_agent.sources import (
    Unusable,
    file_signature,
    folder_signature,
    read_folder,
    read_pem,
    read_value,
)
from moltbot_agent.tokens import Issuance, Token, digest
from moltbot_agent.verifier import VerifierDelivery

__all__ = ["CredentialState", "Deliveries", "consumers_resource", "credential_resource"]

_SECRET_TYPE: Final = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret"  # noqa: S105
_EXTENSION_TYPE: Final = "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig"

FIRST_TOKENS_S: Final = 15.0
"""How long Envoy waits for the first answer of token endpoints; then it starts for the other backends."""

_log = logging.getLogger(__name__)


def credential_resource(credential: Credential, value: str | None) -> bytes:
    """The SDS file: a DiscoveryResponse with one generic secret, which is empty while there is no value.

    Envoy refuses a response without the secret and goes on with the one it had; with an empty one it answers
    that it has no credential.
    """
    sent = "" if value is None else f"{credential.prefix}{value}"
    resource = {
        "@type": _SECRET_TYPE,
        "name": credential.name,
        "generic_secret": {"secret": {"inline_string": sent}},
    }
    return orjson.dumps({"resources": [resource]}, option=orjson.OPT_SORT_KEYS)


def consumers_resource(consumers: Consumers) -> tuple[bytes, list[str], dict[str, str]]:
    """The ECDS file with every usable key, what is wrong with the others, and whose each key is.

    Raises OSError.
    """
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
    filter_config = copy.deepcopy(consumers.template)
    keys = reduce(getitem, consumers.inside, filter_config)
    keys["credentials"] = [{"key": key, "client": consumer} for key, consumer in owners.items()]
    resource = {"@type": _EXTENSION_TYPE, "name": consumers.resource, "typed_config": filter_config}
    return orjson.dumps({"resources": [resource]}, option=orjson.OPT_SORT_KEYS), problems, owners


@dataclass
class CredentialState:
    """One upstream credential: what Envoy was given, and what is wrong with its source now."""

    credential: Credential
    value: str | None = field(default=None, repr=False)
    """Delivered to Envoy; None until there was one."""
    problem: str | None = None
    seen: tuple[object, ...] | None = None
    """Signature of the source when it was last carried out; None = do it (again)."""
    issuance: Issuance | None = None
    """Where the credential is a token."""

    def held(self) -> list[str]:
        """What the mounted Secret has for it now; what can't be read or used is left out."""
        credential = self.credential
        signs = credential.token is not None and credential.token.kind == "JWT"
        found = []
        for path in (credential.source, credential.next):
            if path is not None:
                with contextlib.suppress(Unusable, OSError):
                    found.append(read_pem(path) if signs else read_value(path))
        return found

    @property
    def source_in_use(self) -> str | None:
        """The source's value that is in use: itself, or what the token in use was got with."""
        return self.value if self.issuance is None else self.issuance.known_source


class Deliveries:
    """All files of one gateway."""

    def __init__(self, config: AgentConfig, envoy: dict[str, Any]) -> None:
        self._config = config
        self._bootstrap = orjson.dumps(envoy)
        self.issuances = _issuances(config.credentials)
        """Tokens, each for all credentials with the same target."""
        by_target = {issuance.credential.target: issuance for issuance in self.issuances}
        self.credentials = [
            CredentialState(credential, issuance=by_target.get(credential.target))
            for credential in config.credentials
        ]
        self._delivered: dict[Path, Token | None] = {}
        self._began = boot()
        self._keys = [each for each in (config.consumers, config.probe) if each is not None]
        self._keys_seen: dict[Path, tuple[object, ...]] = {}
        self._keys_problems: dict[Path, list[str]] = {}
        self._keys_owners: dict[Path, dict[str, str]] = {}
        self._verifier = VerifierDelivery(config.verifier, self._write) if config.verifier else None
        self._certificate = (
            CertificateDelivery(config.certificate, self._write) if config.certificate else None
        )
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
        tokens = [problem for issuance in self.issuances for problem in issuance.problems]
        keys = [problem for found in self._keys_problems.values() for problem in found]
        verifier = self._verifier.problems if self._verifier else []
        certificate = self._certificate.problem if self._certificate else None
        shown = [certificate] if certificate else []
        own = [*self._write_problems.values(), *shown]
        return [*own, *sources, *tokens, *keys, *verifier]

    @property
    def consumer_keys(self) -> dict[str, list[str]]:
        """Keys that Envoy was given, by consumer: those of clients, not the probe's."""
        if self._config.consumers is None:
            return {}
        found: dict[str, list[str]] = {entry.consumer: [] for entry in self._config.consumers.keys}
        for key, consumer in self._keys_owners.get(self._config.consumers.target, {}).items():
            found[consumer].append(key)
        return found

    @property
    def next_due(self) -> float:
        """When the next token has to be signed, fetched or taken away, by the boot clock."""
        ends = [issuance.token.end for issuance in self.issuances if issuance.token is not None]
        dues = [each.next_due for each in self.issuances if each.source is not None and not each.under_way]
        return min([*ends, *dues], default=float("inf"))

    def run_once(self) -> None:
        """Carry out what changed since the last time; a file that can't be read or written is a problem."""
        before = set(self.problems)
        for state in self.credentials:
            if state.issuance is None:
                self._deliver_credential(state)
        for issuance in self.issuances:
            self._deliver_token(issuance)
        for state in self.credentials:
            if state.issuance is not None:
                state.value = state.issuance.token.value if state.issuance.token else None
        self._deliver_access()
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

    def _deliver_token(self, issuance: Issuance) -> None:
        now = boot()
        if issuance.credential.target not in self._delivered:
            try:
                issuance.restore()
            except OSError as error:
                _log.warning("a kept token can't be read", extra={"file": error.filename})
        issuance.look()
        if not issuance.fetched and issuance.due(now):
            _sign(issuance, now)
        issuance.expire(now)
        self._hand_over(issuance)

    def _hand_over(self, issuance: Issuance) -> None:
        """Make Envoy's file and the state file say what the issuance says."""
        credential, token = issuance.credential, issuance.token
        if self._delivered.get(credential.target, _NEVER) == token:
            return
        if token is not None and credential.state is not None:
            self._write(credential.state, token.pack())
        done = self._write(credential.target, credential_resource(credential, token.value if token else None))
        if done and token is None and credential.state is not None:
            done = self._remove(credential.state)
        if done:
            self._delivered[credential.target] = token

    def _deliver_access(self) -> None:
        if self._certificate is not None:
            self._certificate.run_once()
        for keys in self._keys:
            self._deliver_keys(keys)
        if self._verifier is not None:
            self._verifier.run_once()

    def _deliver_keys(self, consumers: Consumers) -> None:
        now = _signatures(consumers)
        if now == self._keys_seen.pop(consumers.target, None):
            self._keys_seen[consumers.target] = now
            return
        try:
            content, problems, owners = consumers_resource(consumers)
        except OSError as error:
            self._keys_problems[consumers.target] = [
                f"consumers' keys: {error.filename} can't be read: {error.strerror}; the last keys stay valid"
            ]
            if not _exists(consumers.target):  # as above; nobody is let in until they can be read
                self._write(
                    consumers.target, consumers_resource(consumers.model_copy(update={"keys": ()}))[0]
                )
            return
        if _signatures(consumers) != now:
            return  # swapped while it was read: nobody may lose a key for that, so look again the next time
        self._keys_problems[consumers.target] = problems
        if self._write(consumers.target, content):
            self._keys_seen[consumers.target], self._keys_owners[consumers.target] = now, owners

    def _deliver_bootstrap(self) -> None:
        targets = [state.credential.target for state in self.credentials]
        targets += [keys.target for keys in self._keys]
        targets += [self._verifier.target] if self._verifier else []
        targets += [self._certificate.target] if self._certificate else []
        tried = all(issuance.tried or issuance.source is None for issuance in self.issuances)
        waited = boot() - self._began > FIRST_TOKENS_S
        if (tried or waited) and self._begin_leaving() and all(map(_exists, targets)):
            self.ready = self._write(self._config.bootstrap, self._bootstrap)
        if self.ready:
            _log.info("all files are written", extra={"revision": self._config.revision})

    def _begin_leaving(self) -> bool:
        path = self._config.leave
        return path is None or _exists(path) or self._write(path, STAYING)

    def _remove(self, path: Path) -> bool:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            self._write_problems[path] = f"file {path} can't be removed: {error.strerror}; tried again"
            return False
        self._write_problems.pop(path, None)
        return True

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


_NEVER: Final = object()


def _issuances(credentials: tuple[Credential, ...]) -> list[Issuance]:
    backends: defaultdict[Path, list[str]] = defaultdict(list)
    first: dict[Path, Credential] = {}
    for credential in credentials:
        if credential.token is not None:
            backends[credential.target].append(credential.backend)
            first.setdefault(credential.target, credential)
    return [Issuance(credential, tuple(backends[target])) for target, credential in first.items()]


def _sign(issuance: Issuance, now: float) -> None:
    """Sign a token, or note why it can't be."""
    from moltbot_agent.signing import sign, signing_key  # noqa: PLC0415 -- other gateways start without it

    wanted = issuance.credential.token
    if not isinstance(wanted, SignedToken) or issuance.source is None:
        return
    try:
        key = signing_key(issuance.source, wanted.algorithm)
    except Unusable as error:
        issuance.missed(f"{issuance.credential.source} {error}", now)
        return
    value, life_s = sign(key, wanted, now + offset())
    issuance.got(Token.issue(value, now, life_s, digest(issuance.source)))


def _exists(path: Path) -> bool:
    """False also where it can't be told: writing then tells why."""
    try:
        return path.exists()
    except OSError:
        return False


def _signatures(consumers: Consumers) -> tuple[object, ...]:
    return tuple(folder_signature(entry.source) for entry in consumers.keys)
