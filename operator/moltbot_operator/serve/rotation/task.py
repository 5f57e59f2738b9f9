"""One rotation of a server: whose it is, what is asked of it, and its task."""

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, Literal, Protocol

from moltbot_operator.compile import Mount, RouteSources
from moltbot_operator.errors import MoltBotError
from moltbot_operator.rotation import Issuer, IssuerFor
from moltbot_operator.rotation.driver import Driver, Gateways, Origin, Surroundings
from moltbot_operator.rotation.state import Policy
from moltbot_operator.rotation.telling import Announcement
from moltbot_operator.rotation.timing import pause
from moltbot_operator.rotation.versions import fresh_version
from moltbot_operator.serve.files import Manifests
from moltbot_operator.serve.rotation.around import KeyFile, RevisionGateways
from moltbot_operator.serve.rotation.store import FolderStore
from moltbot_operator.serve.words import Words

__all__ = ["Plan", "Rotation", "Shared", "Subject"]

_LONGEST_SLEEP: Final = timedelta(minutes=10)
"""A timer does not see the clock being set, so it is looked at again after this."""

_HELD_UP: Final = timedelta(seconds=5)
"""First pause after an error of the disk; it doubles."""

_LOOK: Final = timedelta(seconds=1)
"""Between looks at a folder in which people may take files away."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Shared:
    """What all plans of a server are made with."""

    folder: Path
    """Where keys are kept."""
    gateways: RevisionGateways
    served: Callable[[], Manifests]
    """The files as they are served now."""
    opener: Callable[[], IssuerFor]


@dataclass(frozen=True)
class Plan:
    """How a wish is fulfilled."""

    policy: Policy
    issuer: Issuer
    gateways: Gateways
    origin: Origin
    keys: KeyFile | None = None
    """Only with managed keys."""


class Subject(Protocol):
    """Whose credential or key it is."""

    @property
    def kind(self) -> Literal["backend", "secret"]:
        """Of what."""

    @property
    def name(self) -> str:
        """Namespace and name."""

    @property
    def label(self) -> str:
        """In words."""

    def opened(self, folder: Path, changed: Callable[[], Awaitable[None]]) -> FolderStore:
        """Its store below the folder with keys; see :class:`FolderStore`."""

    def fill(self, manifests: Manifests, values: Mapping[str, str]) -> None:
        """Put what gateways are to be given (a store's `values`) into what the files say."""

    def gives(self, mount: Mount) -> bool:
        """Whether gateways are given it by this."""

    def wish(self, manifests: Manifests, sources: RouteSources) -> object:
        """What the files ask for, never None; where it is another, the rotation is planned anew."""

    def begins(self, store: FolderStore) -> str:
        """What people are told first; empty: nothing."""

    def plan(self, wish: object, store: FolderStore, shared: Shared) -> Plan:
        """How to do what :meth:`wish` told."""


@dataclass
class Rotation:
    """One subject's."""

    subject: Subject
    store: FolderStore
    words: Words
    wish: object = None
    """None until it is served for the first time."""
    plan: Plan | None = None
    driver: Driver | None = None
    task: "asyncio.Task[None] | None" = None
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    """Something changed."""
    failures: Counter[str] = field(default_factory=Counter)
    """Warnings by reason."""

    def begin(self, wish: object, plan: Plan) -> None:
        """Go by this plan from now on."""
        around = Surroundings(
            uid=self.store.uid,
            store=self.store,
            issuer=plan.issuer,
            gateways=plan.gateways,
            origin=plan.origin,
            keys=plan.keys,
            clock=_now,
            fresh=lambda: fresh_version(_now()),
            tell=self._tell,
        )
        if self.wish is None and (said := self.subject.begins(self.store)):
            self._say(said, warning=False)
        self.driver = Driver(around, hurry=self.wish is not None)
        self.wish, self.plan = wish, plan

    def go_on(self) -> None:
        """Something may have changed."""
        self.asked.set()
        if self.task is None:
            self.task = asyncio.create_task(self._run(), name=f"rotation: {self.subject.label}")

    def end(self) -> None:
        """The next start goes on from where it is."""
        if self.task is not None:
            self.task.cancel()
        self.store.close()

    async def _tell(self, each: Announcement) -> None:
        if each.type == "Warning":
            self.failures[each.reason] += 1
        self._say(each.message, warning=each.type == "Warning", reason=each.reason)

    async def _run(self) -> None:
        failures = 0
        while True:
            self.asked.clear()
            wait: timedelta | None = None
            try:
                wait = await self._advance()
                failures = 0
            except MoltBotError as error:
                failures += 1
                wait = pause(failures, _HELD_UP)
                self._say(f"rotation is held up: {error}", warning=True)
            except Exception as error:  # noqa: BLE001 - one's defect must not end the others
                failures += 1
                wait = pause(failures, _HELD_UP)
                _log.exception("a rotation crashed; this is a defect")
                self._say(f"{type(error).__name__} in its rotation; this is a defect", warning=True)
            await self._wait(max(min(wait or _LONGEST_SLEEP, _LONGEST_SLEEP), timedelta(seconds=0.05)))

    async def _wait(self, longest: timedelta) -> None:
        """Until that is over, something changed, or somebody took a file away."""
        clock = asyncio.get_running_loop().time
        end = clock() + longest.total_seconds()
        while (left := end - clock()) > 0 and not self.asked.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.asked.wait(), min(left, _LOOK.total_seconds()))
            if self.store.touched():
                await self.store.changed()
                return

    async def _advance(self) -> timedelta | None:
        """How long to wait; None: for a change."""
        if self.driver is None or self.plan is None:
            return None
        again = await self.driver.advance(self.plan.policy)
        if self.plan.keys is not None and self.store.state.version is not None:
            await self.plan.keys.publish()  # without those that were dropped
        return None if again is None else again - _now()

    def _say(self, message: str, *, warning: bool, **more: str) -> None:
        level = "warning" if warning else "info"
        text = f"{self.subject.label}: {message}"
        self.words.say(text, level=level, **{self.subject.kind: self.subject.name}, **more)


def _now() -> datetime:
    return datetime.now(UTC)
