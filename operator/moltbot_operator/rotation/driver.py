"""Carries a rotation out, with whatever surrounds it behind protocols: a cluster, or a folder on a disk.

Everything durable is in the :class:`Store`; a driver can be killed anywhere and another one goes on from
there. Errors of the store are not caught: without it nothing may be done, and the caller tries again later.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final, Literal, Protocol, TypeVar

from moltbot_operator.errors import IssuerError, MoltBotError, NotOurs, Refused, Unclear
from moltbot_operator.rotation.actions import (
    Action,
    Adopt,
    Ask,
    Clean,
    Done,
    Failed,
    Failure,
    Issue,
    Mount,
    Outcome,
    Publish,
    Retire,
    Sweep,
    Verify,
    Waiting,
)
from moltbot_operator.rotation.issuing import Credential, Issuer, tag_of, tag_prefix
from moltbot_operator.rotation.machine import View, decide
from moltbot_operator.rotation.outcomes import settle
from moltbot_operator.rotation.state import Facts, Mounted, Phase, Policy, State
from moltbot_operator.rotation.telling import Announcement, announcements
from moltbot_operator.rotation.timing import BEAT, LATE_ANSWER, clamp, ends_of_waits, put_off
from moltbot_operator.rotation.watch import Watch

__all__ = ["Driver", "Gateways", "Keys", "Origin", "Store", "Surroundings"]

CALL_LIMIT: Final = timedelta(seconds=60)
"""Longest call of an issuer, whose client has shorter limits of its own; after it: Unclear."""

STORE_TRIES: Final = 5
"""How often a new credential is offered to the store, before it is given back to the issuer."""

STORE_PAUSE: Final = timedelta(seconds=2)

MOST_STEPS: Final = 200
"""In a row without a wait: far more than a rotation has."""

T = TypeVar("T")


class Store(Protocol):
    """What survives: the state, each version's credential, and what gateways are given."""

    async def load(self) -> State:
        """The state as it was saved last."""

    async def save(self, state: State) -> None:
        """Durable when it returns."""

    async def versions(self) -> Mapping[str, datetime | None]:
        """Stored versions, and when each expires."""

    async def get(self, version: str) -> Credential | None:
        """A stored credential."""

    async def put(self, version: str, credential: Credential) -> None:
        """Store a credential whole; once stored it never changes."""

    async def drop(self, version: str) -> None:
        """Delete it; one that is gone already is success."""

    async def mounted(self) -> Mounted:
        """What gateways are given."""

    async def mount(self, mounted: Mounted) -> None:
        """Give gateways these; both are stored."""


class Gateways(Protocol):
    """What gateways say of the credential that they use."""

    async def ask(self, value: str, question: Literal["holds", "uses", "uses only"], *, urgent: bool) -> str:
        """Empty if every gateway holds it (or uses it); else which does not, and why.

        `uses only`: gateways that are about to end count as well. `urgent`: only those count that get
        requests. It also has the value brought to those that lack it. No gateways: empty.
        """


class Origin(Protocol):
    """The credential that a person (or a tool) made."""

    async def read(self) -> Credential | None:
        """It, with an empty tag; None where there is none."""


class Keys(Protocol):
    """The JWKS of managed keys: the public halves of all stored versions."""

    async def published(self) -> frozenset[str]:
        """Versions that are in the JWKS as it is published."""

    async def publish(self) -> None:
        """Make it so for all stored versions."""


def _steady() -> timedelta:
    return timedelta(seconds=asyncio.get_running_loop().time())


@dataclass(frozen=True)
class Surroundings:
    """Everything around one credential's rotation."""

    uid: str
    """Of the owner, for tags."""
    store: Store
    issuer: Issuer
    gateways: Gateways
    origin: Origin
    keys: Keys | None
    """Only with managed keys."""
    clock: Callable[[], datetime]
    fresh: Callable[[], str]
    """A version that was never used before: letters, digits and `-`."""
    tell: Callable[[Announcement], Awaitable[None]]
    steady: Callable[[], timedelta] = _steady
    """Time since any fixed moment, by a clock that nobody sets."""


class Driver:
    """One credential's rotation."""

    def __init__(self, around: Surroundings, *, hurry: bool = False) -> None:
        """`hurry`: what is asked for has just changed, so what failed is tried again at once."""
        self._around = around
        self._hurry = hurry
        self._state: State | None = None
        self._overdue_since: datetime | None = None
        self._watch = Watch(around.clock, around.steady)
        self._amid = False
        """Whether waits were under way when this began."""
        self._warned: str | None = None
        """The version of which was told that a process ended while it had it made."""

    async def advance(self, policy: Policy) -> datetime | None:
        """Go on as far as can be gone now; returns when to call again (None: when something changes).

        MoltBotError where the store fails: call again later.
        """
        state, self._state = self._state, None  # read anew after an error in between
        if state is None:
            state = await self._around.store.load()
            if self._hurry:
                state, self._hurry = replace(state, retry=None), False
            state = await self._resume(state, policy)
        for _ in range(MOST_STEPS):
            ahead, now = self._watch.ahead(), self._around.clock()
            facts = await self._facts(state, policy, now)
            step = decide(put_off(state, ahead), View(facts, policy, now, self._around.fresh))
            moved = step.state != state
            state = await self._save(state, step.state)
            self._watch.allow(ahead)
            if step.action is None:
                if step.again is not None or not moved:
                    self._state = state = await self._note(state, policy, now)
                    return self._again(state, policy, now, step.again)
                continue
            outcome = await self._perform(step.action, state)
            ahead, now = self._watch.ahead(), self._around.clock()
            after = settle(put_off(state, ahead), step.action, outcome, View(facts, policy, now))
            note = outcome.note if isinstance(outcome, Done) else ""
            state = await self._save(state, after, note)
            self._watch.allow(ahead)
        self._state = state
        return self._around.clock() + STORE_PAUSE

    async def _resume(self, state: State, policy: Policy) -> State:
        """What follows from another process having ended; what it stored is of then."""
        around, now = self._around, self._around.clock()
        if state.watched is not None:
            state = put_off(state, now - state.watched)
        self._amid = any(end > now for end in ends_of_waits(clamp(state, policy, now), policy))
        if state.phase is not Phase.PREPARED:
            return state
        # It may have left a call on its way, which makes a credential later: no search before that ends it.
        late = now + LATE_ANSWER
        state = await self._save(state, replace(state, sweep=max(state.sweep or late, late)))
        pending = state.pending
        unheard = pending is not None and pending not in await around.store.versions()
        if unheard and not around.issuer.lists and self._warned != pending:
            self._warned = pending
            message = (
                f"The operator ended while it had version {pending} made. The issuer may have made one "
                f"with the tag {tag_of(around.uid, str(pending))}, which can't be listed: look for it there."
            )
            await around.tell(Announcement("Warning", "CredentialNotRevoked", message))
        return state

    async def _note(self, state: State, policy: Policy, now: datetime) -> State:
        """Store that a wait is over, and, where processes come and go, how far one is."""
        ends, since = ends_of_waits(state, policy), state.watched
        self._amid = self._amid and any(now < end for end in ends)
        over = any(end <= now and (since is None or since < end) for end in ends)
        if not over and not (self._amid and (since is None or now - since >= BEAT)):
            return state
        state = replace(state, watched=now)
        await self._around.store.save(state)
        return state

    def _again(self, state: State, policy: Policy, now: datetime, again: datetime | None) -> datetime | None:
        """When there is something to do, or to note."""
        looks = [end for end in ends_of_waits(state, policy) if end > now]
        looks += [now + BEAT] if self._amid else []
        looks += [again] if again is not None else []
        return min(looks, default=None)

    async def _save(self, before: State, after: State, note: str = "") -> State:
        """Waiting is no news: only what has a meaning after a restart is written."""
        if (
            replace(after, tries=before.tries, retry=before.retry) != before
            or after.attempts != before.attempts
        ):
            after = replace(after, watched=self._around.clock())
            await self._around.store.save(after)
        for each in announcements(before, after, note):
            await self._around.tell(each)
        return after

    async def _facts(self, state: State, policy: Policy, now: datetime) -> Facts:
        store, around = self._around.store, self._around
        stored = await store.versions()
        if state.due is None or now < state.due:
            self._overdue_since = None
        elif self._overdue_since is None or now < self._overdue_since:
            self._overdue_since = now
        origin = await around.origin.read() if state.version is None or policy.external else None
        changed = False
        if policy.external and origin is not None and state.version is not None:
            used = await store.get(state.version)
            changed = used is None or used.value != origin.value
        mounted = await store.mounted()
        first = await store.get(mounted.value) if state.version is None and mounted.value else None
        published = (
            await around.keys.published()
            if around.keys is not None and (state.pending or state.spare)
            else frozenset()
        )
        return Facts(
            stored=stored,
            mounted=mounted,
            begun_with=first is not None and not first.tag,
            bootstrap=origin is not None,
            changed=changed,
            published=published,
            overdue_since=self._overdue_since,
        )

    async def _perform(self, action: Action, state: State) -> Outcome:
        outcome: Outcome = Done()
        match action:
            case Adopt(version):
                outcome = await self._adopt(version)
            case Issue(version):
                outcome = await self._issue(version, state)
            case Publish() if self._around.keys is not None:
                await self._around.keys.publish()
            case Verify(version):
                outcome = await self._verify(version)
            case Mount(mounted):
                await self._around.store.mount(mounted)
            case Ask(version, hold, urgent):
                outcome = await self._ask(version, "holds" if hold else "uses", urgent=urgent)
            case Retire(version, used, urgent) | Clean(version, used, urgent):
                outcome = await self._retire(version, used, urgent=urgent)
            case Sweep():
                outcome = await self._sweep(state) or outcome
        return outcome

    async def _adopt(self, version: str) -> Outcome:
        found = await self._around.origin.read()
        if found is None:
            return Waiting("the credential that the spec names is gone")
        await self._around.store.put(version, found)
        await self._around.store.mount(
            Mounted(version)
        )  # gateways look for it once the state names a version
        return Done(found.not_after)

    async def _issue(self, version: str, state: State) -> Outcome:
        left = await self._sweep(state)
        if left is not None and left.failure is not Failure.UNCLEAR:
            return left  # can't even be listed: it is no moment to make one
        issuer, store = self._around.issuer, self._around.store
        made = await _call(issuer.create(tag_of(self._around.uid, version)))
        if isinstance(made, Failed):
            if made.failure is Failure.UNCLEAR and not issuer.lists:
                tag = tag_of(self._around.uid, version)
                lost = f" It may have made one with the tag {tag}, which can't be listed: look for it there."
                return replace(made, message=made.message + lost)
            return made
        for attempt in range(1, STORE_TRIES + 1):
            try:
                await store.put(version, made)
            except MoltBotError:
                if attempt == STORE_TRIES:
                    await _call(issuer.revoke(made))  # else it is found and revoked later
                    raise
                await asyncio.sleep(STORE_PAUSE.total_seconds())
            else:
                break
        return Done(made.not_after, unswept=left is not None)

    async def _verify(self, version: str) -> Outcome:
        credential = await self._around.store.get(version)
        if credential is None:
            return Failed(Failure.REFUSED, f"Version {version} is no longer stored.")
        found = await _call(self._around.issuer.verify(credential))
        return found if isinstance(found, Failed) else Done()

    async def _ask(
        self, version: str, question: Literal["holds", "uses", "uses only"], *, urgent: bool
    ) -> Done | Waiting:
        credential = await self._around.store.get(version)
        if credential is None:
            return Waiting(f"Version {version} is no longer stored.")
        lacking = await self._around.gateways.ask(credential.value, question, urgent=urgent)
        return Waiting(lacking) if lacking else Done()

    async def _retire(self, version: str, used: str | None, *, urgent: bool) -> Outcome:
        """Evidence, the issuer's confirmation, then the Secret: in this order, each again after a crash."""
        if used is not None and used in await self._around.store.versions():
            waiting = await self._ask(used, "uses only", urgent=urgent)
            if isinstance(waiting, Waiting):
                return waiting
        credential = await self._around.store.get(version)
        if credential is None:
            return Done()
        note = ""
        try:
            revoked = await _call(self._around.issuer.revoke(credential))
        except NotOurs as error:
            note = f"Version {version} was not made by the operator: revoke it yourself. {error}"
        else:
            if isinstance(revoked, Failed):
                return revoked
        await self._around.store.drop(version)
        return Done(note=note)

    async def _sweep(self, state: State) -> Failed | None:
        """Revoke what is ours by its tag and known to nobody; None if nothing of that kind is left.

        A failure to list is told as it is; one to revoke as UNCLEAR, since the listing itself was had.
        """
        around = self._around
        listed = await _call(around.issuer.find(tag_prefix(around.uid)))
        if isinstance(listed, Failed):
            return replace(listed, failure=Failure.NOTHING)
        if not listed:
            return None
        stored = [await around.store.get(version) for version in await around.store.versions()]
        known = {credential.id for credential in stored if credential is not None}
        # One in use whose Secret is gone is known by its tag alone; one that is known has no twin of its tag.
        lived = {tag_of(around.uid, version) for version in (state.version, state.previous) if version}
        lived -= {found.tag for found in listed if found.id in known}
        left: Failed | None = None
        for found in listed:
            if found.id in known or found.tag in lived:
                continue
            try:
                revoked = await _call(around.issuer.revoke(found))
            except NotOurs as error:  # it was listed, so it has an id
                revoked = Failed(Failure.REFUSED, str(error))
            if isinstance(revoked, Failed):
                left = replace(revoked, failure=Failure.UNCLEAR)
        return left


async def _call(call: Awaitable[T]) -> T | Failed:
    """An issuer's call within its limit; errors as values, but for NotOurs."""
    try:
        async with asyncio.timeout(CALL_LIMIT.total_seconds()):
            return await call
    except TimeoutError:
        return Failed(Failure.UNCLEAR, f"The issuer did not answer within {CALL_LIMIT.seconds} s.")
    except NotOurs:
        raise
    except Refused as error:
        return Failed(Failure.REFUSED, str(error), error.retry_after)
    except Unclear as error:
        return Failed(Failure.UNCLEAR, str(error), error.retry_after)
    except IssuerError as error:
        return Failed(Failure.NOTHING, str(error), error.retry_after)
