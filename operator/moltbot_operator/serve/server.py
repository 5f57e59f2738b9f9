"""A server: one active revision, the next one beside it for a while, and old ones that drain.

::

    start ──▶ serving ──files changed──▶ wanted? ──same revision──▶ values written ──▶ serving
                 ▲                          │ no: said, and the running one goes on
                 │                          ▼
                 │         new revision started, ready, reports itself, worker used ──fails──▶ said, ended
                 │                          │                    (killed or too slow: again after a pause)
                 │                          ▼
                 └── old drained, ended ── public port taken, new connections steered, old told to drain
"""

import asyncio
import contextlib
import errno
import logging
import threading
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, Final, TypeGuard

from moltbot_operator.compile import Mount
from moltbot_operator.errors import Interrupted, InvalidInput, MoltBotError
from moltbot_operator.serve.decision import Change, decide
from moltbot_operator.serve.files import Manifests, Rotated, read
from moltbot_operator.serve.keys import default_folder
from moltbot_operator.serve.layout import write_mounts
from moltbot_operator.serve.options import Options
from moltbot_operator.serve.ports import held_port
from moltbot_operator.serve.revision import (
    Revision,
    Wanted,
    drained,
    evidence_of,
    launch,
    reports,
    takes_port,
    wanted,
    worked,
)
from moltbot_operator.serve.state import Home, default_state
from moltbot_operator.serve.steer import listening, steer
from moltbot_operator.serve.watch import signature
from moltbot_operator.serve.words import Words
from moltbot_operator.serve.worker import pause_after

if TYPE_CHECKING:
    from moltbot_operator.serve.rotation.rotations import Rotations

__all__ = ["Server", "serving"]

POLL: Final = timedelta(milliseconds=500)
"""Between looks at the files. A change counts once a second look finds the same: editors write in steps."""

_SETTLE: Final = timedelta(milliseconds=500)
"""From the new revision's listening to the old one's end of it: what waits in its queue is taken then."""

_GRACE: Final = timedelta(minutes=30)
"""How long a stream of an old revision may go on."""

_FOUND: Final = timedelta(seconds=1)
"""The agent looks at changed values within half of it."""

_QUIET: Final = timedelta(seconds=5)
"""Open connections without a request for so long are closed."""

_LAST: Final = timedelta(seconds=10)
"""How long requests may take to finish when the server is told to stop."""

_log = logging.getLogger(__name__)


class Server:
    """Use it by :func:`serving`."""

    def __init__(self, options: Options, home: Home, port: int, words: Words) -> None:
        self.options = options
        self.home = home
        self.port = port
        self.reloads = {"success": 0, "failure": 0, "unchanged": 0}
        """Changes of files by what came of them."""
        self.failure: str | None = None
        """Why the files as they are now are not served."""
        self._words = words
        self._number = 0
        self._active: Revision | None = None
        self._leaving: dict[asyncio.Task[None], tuple[Revision, threading.Event]] = {}
        self._settled = asyncio.Lock()
        """Held while a revision is being made: it may have begun with credentials that are older by now."""
        self._served_rotated: set[Rotated] = set()
        self.rotations: Rotations | None = None
        """None until a credential or a consumer's key is rotated."""
        self._asked = asyncio.Event()
        self._interrupted = 0
        """Times in a row that a new revision was killed or too slow."""
        self._again: asyncio.TimerHandle | None = None
        self._told: set[str] = set()
        """Problems of which people know."""
        self._read = signature(options.files)
        """Of the files as they were before they were read last."""

    @property
    def active(self) -> Revision:
        """The one that serves."""
        if self._active is None:
            raise AssertionError("asked before the start")
        return self._active

    @property
    def draining(self) -> int:
        """Old revisions that still have requests."""
        return len(self._leaving)

    def reload(self) -> None:
        """Read the files now, changed or not."""
        self._asked.set()

    async def start(self) -> None:
        """Serve the first revision. Everything as in :func:`moltbot_operator.serve.launch.launched`."""
        asked = self._wanted()
        self._active = await launch(
            asked, self.options, self.home, self._next(), self.port, opened=True, tell=self._warn
        )
        self._tell(self._active)
        self._rotate(asked)

    async def keep(self) -> None:
        """Take over changes until cancelled."""
        seen = self._read
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._asked.wait(), POLL.total_seconds())
            before, seen = seen, signature(self.options.files)
            if not self._asked.is_set() and (seen == self._read or seen != before or not self.options.watch):
                continue
            self._asked.clear()
            if self._again is not None:
                self._again.cancel()
            self._read = seen
            await self.take_over()

    async def take_over(self) -> bool:
        """Serve what the files say now; False where they can't be served, and the running one goes on."""
        before = self._active
        try:
            changed = await self._take_over()
        except Interrupted as error:
            self._try_again(str(error))
            return False
        except MoltBotError as error:
            self._failed(str(error))
            return False
        except Exception as error:  # noqa: BLE001 - whatever it is, the running revision must go on
            if _no_room(error):
                self._try_again(_unwritable(error, self.home))
                return False
            _log.exception("taking over a change failed; this is a defect")
            self._failed(f"{type(error).__name__} while a change was taken over; this is a defect")
            return False
        self.reloads["success" if changed else "unchanged"] += 1
        self.failure = None
        self._interrupted = 0
        if changed and self._active is before:  # else they were told as it began
            await self._tell_problems()
        return True

    async def stop(self, hurry: threading.Event) -> None:
        """Let requests finish, then end everything; `hurry` ends it at once."""
        if self._again is not None:
            self._again.cancel()
        if self.rotations is not None:
            await self.rotations.close()
        for task, (_, event) in self._leaving.items():
            event.set()
            task.cancel()
        await asyncio.gather(*self._leaving, return_exceptions=True)
        if self._active is not None:
            if not self._active.gateway.ended.done():
                await drained(
                    self._active, hurry, settle=timedelta(0), grace=_LAST, quiet=timedelta(seconds=0.5)
                )
            await self._active.stack.aclose()

    async def _take_over(self) -> bool:
        async with self._settled:
            asked = self._wanted()
            changed = await self._change(asked)
        self._rotate(asked)
        return changed

    def _wanted(self) -> Wanted:
        manifests = read(self.options.files)
        rotating = manifests.rotating(self.options.route)
        if rotating and self.rotations is None:
            from moltbot_operator.serve.rotation.around import RevisionGateways  # noqa: PLC0415 - few need it
            from moltbot_operator.serve.rotation.rotations import Rotations  # noqa: PLC0415

            gateways = RevisionGateways(
                lambda: self.active, lambda: [each for each, _ in self._leaving.values()], self._settled
            )
            folder = self.options.keys or default_folder()
            self.rotations = Rotations(folder, self._words, gateways, self._credential_changed)
        if self.rotations is not None:
            self.rotations.fill(manifests, rotating)
        return wanted(manifests, self.options)

    def _rotate(self, asked: Wanted) -> None:
        """What was asked for is served: rotate its credentials from now on."""
        self._served_rotated = asked.manifests.rotated
        if self.rotations is not None:
            self.rotations.serve(asked.manifests, asked.sources, asked.manifests.rotating(self.options.route))

    async def _credential_changed(self, ref: Rotated) -> None:
        """Give every revision what is stored; a backend's first one makes a revision of its own."""
        if self.rotations is None:
            return
        async with self._settled:
            manifests = self.rotations.current(ref)
            if ref not in manifests.rotated:
                return
            for revision in (self.active, *(each for each, _ in self._leaving.values())):
                mounts = revision.gateway.compiled.mounts
                mine = tuple(mount for mount in mounts if self.rotations.gives(ref, mount))
                if mine and revision.gateway.folder.exists():
                    write_mounts(revision.gateway.folder, mine, manifests)
        if ref not in self._served_rotated:
            self.reload()

    async def _change(self, asked: Wanted) -> bool:
        active = self.active
        if decide(active.identity, asked.identity) is Change.VALUES:
            mounts = (*asked.compiled.mounts, *asked.compiled.worker_mounts)
            return self._write_values(active, asked.manifests, mounts)
        new = await launch(
            asked, self.options, self.home, self._next(), self.port, opened=False, tell=self._warn
        )
        try:
            await reports(new)
            await worked(new)
            before = listening(active.gateway.envoy_pid, self.port)
            await takes_port(new)
        except BaseException:
            await new.stack.aclose()
            raise
        steered = steer(new.gateway.envoy_pid, self.port, before)
        if new.gateway.ended.done():  # the old one listens still
            await new.stack.aclose()
            raise Interrupted(f"{new.gateway.ended.result()} as it took over")
        self._active = new
        _log.debug("handed over", extra={"steered": steered})
        self._leave(active)
        self._tell(new)
        return True

    def _write_values(self, active: Revision, manifests: Manifests, mounts: tuple[Mount, ...]) -> bool:
        changed = write_mounts(active.gateway.folder, mounts, manifests)
        if changed:
            self._words.say(f"{changed} credential files replaced, revision unchanged", files=changed)
        return changed > 0

    def _warn(self, why: str) -> None:
        self._told.add(why)
        self._words.say(why, level="warning")

    async def _tell_problems(self) -> None:
        """Of values that can't be used, which the agent has found by now."""
        await asyncio.sleep(_FOUND.total_seconds())
        with contextlib.suppress(Interrupted):  # the agent is being started again
            found = (await asyncio.to_thread(evidence_of, self.active.gateway))["problems"]
            for each in found:
                if each not in self._told:
                    self._warn(each)
            self._told.intersection_update(found)

    def _leave(self, old: Revision) -> None:
        event = threading.Event()
        task = asyncio.create_task(self._drain(old, event))
        self._leaving[task] = (old, event)
        task.add_done_callback(self._leaving.pop)

    async def _drain(self, old: Revision, event: threading.Event) -> None:
        try:
            outcome = await drained(old, event, settle=_SETTLE, grace=_GRACE, quiet=_QUIET)
            self._words.say(
                f"revision {old.identity.revision} ended: {outcome.message}",
                revision=old.identity.revision,
                in_flight=outcome.in_flight,
            )
            if old.gateway.worker is not None:
                await old.gateway.worker.idle(event)  # it took jobs that only it knows
        finally:
            await old.stack.aclose()

    def _try_again(self, why: str) -> None:
        self._interrupted += 1
        pause = pause_after(self._interrupted).total_seconds()
        self._again = asyncio.get_running_loop().call_later(pause, self.reload)
        self._failed(why, f"; tried again in {pause:g} s")

    def _failed(self, why: str, then: str = "") -> None:
        self.reloads["failure"] += 1
        self.failure = why
        self._words.say(
            f"{why}\nnot taken over: revision {self.active.identity.revision} goes on{then}",
            level="error",
            revision=self.active.identity.revision,
        )

    def _next(self) -> int:
        self._number += 1
        return self._number

    def _tell(self, revision: Revision) -> None:
        """Where to go, and what is not as written."""
        compiled, gateway = revision.gateway.compiled, revision.gateway
        for rule in compiled.rules:
            if rule.problem is not None:
                word = "degraded" if rule.serving else "refused"
                self._words.say(f"{word}: {rule.problem.message}", level="warning", rule=rule.name)
        for warning in compiled.warnings:
            self._words.say(f"warning: {warning.message}", level="warning", reason=warning.reason)
        if compiled.worker is not None:
            rules = ", ".join(rule.name for rule in compiled.worker.rules)
            self._words.say(f"a worker stands by for: {rules}", rules=rules)
        for ref, file in gateway.jwks.items():
            self._words.say(f"backend {ref} is sent tokens of a key whose JWKS is {file}")
        at = f"{compiled.agent.namespace}/{compiled.agent.route}"
        self._words.say(
            f"serving {at}, revision {revision.identity.revision}", revision=revision.identity.revision
        )
        self.home.describe(
            route=at,
            revision=revision.identity.revision,
            files=[str(path.absolute()) for path in self.options.files],
            url=self.url,
            admin_port=gateway.admin_port,
        )

    @property
    def url(self) -> str:
        """Where clients go, without a path."""
        host = self.options.address
        scheme = "http" if self.active.gateway.compiled.agent.certificate is None else "https"
        return f"{scheme}://{f'[{host}]' if ':' in host else host}:{self.port}"


_NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO})


def _no_room(error: Exception) -> TypeGuard[OSError]:
    return isinstance(error, OSError) and error.errno in _NO_ROOM


def _unwritable(error: OSError, home: Home) -> str:
    where = error.filename or f"{home.folder} or {home.run}"
    return (
        f"{where}: can't be written: {error.strerror}; make room there, or give other folders by --state and "
        "TMPDIR"
    )


@contextlib.contextmanager
def _room(home: Home) -> Iterator[None]:
    """InvalidInput where the disk takes no more."""
    try:
        yield
    except OSError as error:
        if not _no_room(error):
            raise
        raise InvalidInput(_unwritable(error, home)) from error


@contextlib.asynccontextmanager
async def serving(options: Options, words: Words, hurry: threading.Event) -> AsyncIterator[Server]:
    """Serve until the block ends. InvalidInput and EnvoyRejected where that can't begin."""
    read(options.files)  # before anything is touched
    with contextlib.ExitStack() as stack:
        port = options.port or stack.enter_context(held_port(options.address))
        home = Home(options.state or default_state(), options.address, port)
        with _room(home):
            left = stack.enter_context(home.held())
        for what in left:
            words.say(f"cleaned up after a server that was killed: {what}", level="warning")
        if options.port:  # only now: a server that was killed may have had it
            stack.enter_context(held_port(options.address, port))
        server = Server(options, home, port, words)
        try:
            with _room(home):
                await server.start()
            yield server
        finally:
            await server.stop(hurry)
