"""Runs the rotations of a server: a task for each backend of the served route that has `rotation`."""

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from secrets import token_hex
from typing import Final

from moltbot_operator.api import IssuerType, ModelBackendSpec
from moltbot_operator.compile import BackendRef, RouteSources
from moltbot_operator.compile.credentials import rotated_secret, secret_ref
from moltbot_operator.errors import MoltBotError
from moltbot_operator.rotation import Issuer, IssuerFor
from moltbot_operator.rotation.driver import Driver, Surroundings
from moltbot_operator.rotation.local import ExternalIssuer
from moltbot_operator.rotation.opened import OpenedIssuer
from moltbot_operator.rotation.policies import policy_of
from moltbot_operator.rotation.state import Policy
from moltbot_operator.rotation.telling import Announcement
from moltbot_operator.rotation.timing import pause
from moltbot_operator.serve.files import Manifests
from moltbot_operator.serve.keys import key_files
from moltbot_operator.serve.rotation.around import FileOrigin, FileReader, KeyFile, RevisionGateways
from moltbot_operator.serve.rotation.store import FolderStore
from moltbot_operator.serve.words import Words

__all__ = ["Rotations"]

_LONGEST_SLEEP: Final = timedelta(minutes=10)
"""A timer does not see the clock being set, so it is looked at again after this."""

_HELD_UP: Final = timedelta(seconds=5)
"""First pause after an error of the disk; it doubles."""

_log = logging.getLogger(__name__)


@dataclass
class Rotation:
    """One backend's."""

    ref: BackendRef
    store: FolderStore
    spec: ModelBackendSpec | None = None
    """None until it is served for the first time."""
    driver: Driver | None = None
    policy: Policy | None = None
    keys: KeyFile | None = None
    task: "asyncio.Task[None] | None" = None
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    """Something changed."""
    failures: Counter[str] = field(default_factory=Counter)
    """Warnings by reason."""


class Rotations:
    """All of one server."""

    def __init__(
        self,
        folder: Path,
        words: Words,
        gateways: RevisionGateways,
        changed: Callable[[BackendRef], Awaitable[None]],
        opener: IssuerFor | None = None,
    ) -> None:
        """`changed` is awaited when a backend's state, or what gateways are to be given, is another."""
        self._folder = folder
        self._words = words
        self._gateways = gateways
        self._changed = changed
        self._opener = opener
        self._served = Manifests()
        self._known: dict[BackendRef, Rotation] = {}

    @property
    def all(self) -> Mapping[BackendRef, Rotation]:
        """By backend."""
        return self._known

    def fill(self, manifests: Manifests, refs: set[BackendRef]) -> None:
        """Put the credentials in use, as far as there are some, into what the files say.

        InvalidInput where another server rotates one of them, or the disk can't be used.
        """
        for ref in sorted(refs):
            if ref not in self._known:
                self._known[ref] = Rotation(ref, self._open(ref))
            if values := self._known[ref].store.values():
                manifests.rotated.add(ref)
                manifests.data["Secret", ref.namespace, rotated_secret(ref.name)] = {
                    name: value.encode() for name, value in values.items()
                }

    def serve(self, manifests: Manifests, sources: RouteSources, refs: set[BackendRef]) -> None:
        """These files are served now: begin what is new, go on with the rest, end what is gone."""
        self._served = manifests
        for ref in [each for each in self._known if each not in refs]:
            self._forget(ref)
        for ref in refs:
            known, spec = self._known[ref], sources.backends[ref].spec
            if known.spec != spec:
                self._plan(known, spec, hurry=known.spec is not None)
            known.asked.set()
            if known.task is None:
                known.task = asyncio.create_task(self._run(known), name=f"rotation {ref}")

    async def close(self) -> None:
        """End all of them; the next start goes on from where each is."""
        tasks = [known.task for known in self._known.values() if known.task is not None]
        for ref in list(self._known):
            self._forget(ref)
        await asyncio.gather(*tasks, return_exceptions=True)

    def _open(self, ref: BackendRef) -> FolderStore:
        async def changed() -> None:
            await self._changed(ref)

        return FolderStore(self._folder / f"{ref.namespace}_{ref.name}.rotation", changed)

    def _forget(self, ref: BackendRef) -> None:
        known = self._known.pop(ref)
        if known.task is not None:
            known.task.cancel()
        known.store.close()

    def _plan(self, known: Rotation, spec: ModelBackendSpec, *, hurry: bool) -> None:
        if spec.rotation is None:
            raise ValueError("a backend without spec.rotation has none to run")
        ref, store = known.ref, known.store
        origin = FileOrigin(lambda: self._served, ref.namespace, secret_ref(ref.name, spec))
        reader = FileReader(lambda: self._served, ref.namespace)
        issuer: Issuer = OpenedIssuer(self._opened(), spec, reader, ref.namespace)
        if spec.rotation.issuer.type is IssuerType.EXTERNAL:
            issuer = ExternalIssuer(origin.read, issuer.verify)
        keys = None
        if spec.rotation.issuer.type is IssuerType.MANAGED_KEY and spec.auth.jwt is not None:
            algorithm = spec.auth.jwt.algorithm.value
            keys = KeyFile(store, key_files(self._folder, ref, algorithm)[1], algorithm)

        async def tell(each: Announcement) -> None:
            if each.type == "Warning":
                known.failures[each.reason] += 1
            self._say(known, each.message, warning=each.type == "Warning", reason=each.reason)

        around = Surroundings(
            uid=store.uid,
            store=store,
            issuer=issuer,
            gateways=self._gateways.of(ref),
            origin=origin,
            keys=keys,
            clock=_now,
            fresh=lambda: f"{_now():%Y%m%d-%H%M%S}-{token_hex(2)}",
            tell=tell,
        )
        known.spec, known.keys = spec, keys
        known.driver = Driver(around, hurry=hurry)
        known.policy = policy_of(spec, spec.rotation, store.uid)

    def _opened(self) -> IssuerFor:
        if self._opener is None:
            from moltbot_operator.providers.issuers import Issuers  # noqa: PLC0415 - requests come first

            self._opener = Issuers(loopback=True).open
        return self._opener

    async def _run(self, known: Rotation) -> None:
        failures = 0
        while True:
            known.asked.clear()
            wait: timedelta | None = None
            try:
                wait = await self._advance(known)
                failures = 0
            except MoltBotError as error:
                failures += 1
                wait = pause(failures, _HELD_UP)
                self._say(known, f"rotation is held up: {error}", warning=True)
            except Exception as error:  # noqa: BLE001 - one backend's defect must not end the others
                failures += 1
                wait = pause(failures, _HELD_UP)
                _log.exception("a rotation crashed; this is a defect")
                text = f"{type(error).__name__} in its rotation; this is a defect"
                self._say(known, text, warning=True)
            seconds = min(wait or _LONGEST_SLEEP, _LONGEST_SLEEP).total_seconds()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(known.asked.wait(), max(seconds, 0.05))

    async def _advance(self, known: Rotation) -> timedelta | None:
        """How long to wait; None: for a change."""
        if known.driver is None or known.policy is None:
            return None
        again = await known.driver.advance(known.policy)
        if known.keys is not None and known.store.state.version is not None:
            await known.keys.publish()  # without those that were dropped
        return None if again is None else again - _now()

    def _say(self, known: Rotation, message: str, *, warning: bool, **more: str) -> None:
        level = "warning" if warning else "info"
        self._words.say(f"credential of {known.ref}: {message}", level=level, backend=str(known.ref), **more)


def _now() -> datetime:
    return datetime.now(UTC)
