"""Which step of a rotation is next (pure).

::

    Idle → Prepared → Issued → Verified → Distributed → Promoted → Overlap → Revoked → Idle
              └── a failure before Promoted: the pending one is discarded, what serves goes on serving,
                  the next try comes after 1 m … 1 h
                                                        └── after it: forward, or, where the new one is no
                                                            longer taken, back to the previous one

Three things are levels rather than steps, so that they are put right whatever happened: what gateways are
given follows from the phase; a stored version that is neither in use, pending nor previous gets revoked and
deleted; and a version that somebody calls compromised is replaced, in whatever phase it is.

Time alone never ends a step: the end of an overlap must have come *and* no gateway may use the old version
*and* the new one must still be taken, before the old one is revoked.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from moltbot_operator.rotation.actions import (
    Action,
    Adopt,
    Ask,
    Clean,
    Issue,
    Mount,
    Publish,
    Retire,
    Sweep,
    Verify,
)
from moltbot_operator.rotation.state import BEFORE_PROMOTED, Facts, Mounted, Phase, Policy, State
from moltbot_operator.rotation.timing import FIRST_PAUSE, LATE_ANSWER, clamp, next_due, pause, start_of

__all__ = ["Step", "View", "decide", "discard", "promote"]

MOST_STRAYS: Final = 5
"""Versions that wait to be revoked; with more of them no further one is made."""

ALL_WELL: Final = ""


@dataclass(frozen=True)
class Step:
    """The state to store, then what to do; without an action, when to look again (None: at an event)."""

    state: State
    action: Action | None = None
    again: datetime | None = None


@dataclass(frozen=True)
class View:
    """What a step is decided by."""

    facts: Facts
    policy: Policy
    now: datetime
    fresh: Callable[[], str] = str
    """Gives an id that was never used before."""


def decide(state: State, view: View) -> Step:
    """The next step.

    Each call goes at most one phase further; a caller stores the state before it acts, and calls again.
    """
    facts, policy, now = view.facts, view.policy, view.now
    state = _leaked(clamp(state, policy, now), policy, now)
    if state.spare is not None and not policy.managed:
        state = replace(state, spare=None, spare_published=None)
    given = facts.mounted.value
    idle = state.phase is Phase.IDLE
    if idle and state.version is None and given is not None and given in facts.stored:
        # The status was lost: gateways use this one. With it went what was to be looked for at the issuer.
        due = state.due or next_due(policy, now, facts.stored[given])
        answered = state.answered if facts.begun_with or not _asked(state, policy, now) else policy.rotate_at
        found = replace(state, version=given, rotated=state.rotated or now, due=due, answered=answered)
        sweep = state.sweep or now + LATE_ANSWER
        return Step(replace(found, not_after=facts.stored[given], sweep=sweep))
    if (
        state.phase in BEFORE_PROMOTED
        and state.phase is not Phase.PREPARED
        and state.pending not in facts.stored
    ):
        return Step(discard(state, "The pending version's Secret is gone; a new one is made."))
    wanted = _mounted(state)
    if wanted.value in facts.stored and facts.mounted != wanted:
        return Step(state, Mount(wanted))
    return _PHASES[state.phase](state, view)


def discard(state: State, message: str) -> State:
    """Give up the pending version; being stored and nobody's, it is revoked and deleted (see `strays`)."""
    return replace(state, phase=Phase.IDLE, pending=None, published=None, tries=0, message=message)


def promote(state: State, view: View) -> State:
    """The pending version is the one to be used from now on."""
    not_after = view.facts.stored.get(state.pending or "")
    return replace(
        state,
        phase=Phase.PROMOTED,
        version=state.pending,
        previous=state.version,
        pending=None,
        rotated=view.now,
        due=next_due(view.policy, view.now, not_after),
        not_after=not_after,
        published=None,
        until=None,
        retry=None,
        tries=0,
        reverted=False,
        message=ALL_WELL,
    )


def strays(state: State, facts: Facts) -> list[str]:
    """Stored versions that nobody needs any more."""
    return sorted(facts.stored.keys() - {state.version, state.pending, state.previous, state.spare})


def _leaked(state: State, policy: Policy, now: datetime) -> State:
    """What `compromised` asks for, as far as it is not under way."""
    leaked = policy.compromised
    if leaked is None:
        return state
    if leaked == state.spare:
        return replace(state, spare=None, spare_published=None)
    if leaked == state.pending:
        return discard(state, f"Version {leaked} is compromised: it is revoked before it was ever used.")
    if leaked == state.version and not state.urgent:
        later = state.phase not in BEFORE_PROMOTED and state.phase is not Phase.IDLE
        # One that is being left behind in its turn: end that first.
        return replace(state, urgent=True, retry=None, until=now if later else state.until)
    if leaked == state.previous and not state.urgent:
        return replace(state, urgent=True, retry=None, until=now)
    return state


def _mounted(state: State) -> Mounted:
    return Mounted(state.version, state.pending if state.phase is Phase.DISTRIBUTED else None)


def _idle(state: State, view: View) -> Step:
    if state.version is None and view.facts.bootstrap:
        return Step(state, Adopt(view.fresh()))
    if state.version is None and view.policy.external:
        message = "There is no credential yet: fill the Secret that the spec names."
        return Step(replace(state, message=message))
    return _tidy(state, view) or _start(state, view)


def _spare(state: State, view: View) -> Step | None:
    """What is left to do for there to be a key that verifiers know and nobody has used yet."""
    if not view.policy.managed or state.version is None:
        return None
    if state.spare is None:
        return Step(replace(state, spare=view.fresh(), spare_published=None))
    if state.retry is not None and view.now < state.retry:
        return None
    if state.spare not in view.facts.stored:
        return Step(state, Issue(state.spare))
    if state.spare not in view.facts.published or state.spare_published is None:
        return Step(state, Publish(state.spare))
    return None


def _tidy(state: State, view: View) -> Step | None:
    """Revoke what earlier rotations left."""
    left = strays(state, view.facts)
    if state.sweep is None:
        return Step(state, Clean(left[0], state.version, state.urgent)) if left else None
    if view.now < state.sweep:
        return None
    return Step(state, Clean(left[0], state.version, state.urgent) if left else Sweep())


def _start(state: State, view: View) -> Step:
    facts, policy, now = view.facts, view.policy, view.now
    left = strays(state, facts)
    begin = _begin(state, facts, policy, now)
    pauses = state.retry if policy.managed and state.spare not in facts.stored else None  # of the spare
    waits = [moment for moment in (begin, state.sweep, pauses) if moment is not None]
    again = min(waits) if waits else None
    if begin is None or now < begin:
        return _spare(state, view) or Step(state, again=again)
    if len(left) >= MOST_STRAYS:
        message = f"{len(left)} earlier versions wait to be revoked at the issuer; none is made before."
        return Step(replace(state, message=message), again=state.sweep)
    answered = policy.rotate_at if _asked(state, policy, now) else state.answered
    urgent = policy.compromised is not None and policy.compromised == state.version
    spare = state.spare if state.spare in facts.stored else None
    return Step(
        replace(
            state,
            phase=Phase.PREPARED,
            pending=spare or view.fresh(),
            published=state.spare_published if spare else None,
            spare=None,
            spare_published=None,
            tries=0,
            retry=None,
            answered=answered,
            urgent=urgent,
        )
    )


def _begin(state: State, facts: Facts, policy: Policy, now: datetime) -> datetime | None:
    """When the next rotation begins; None: when something changes."""
    if policy.external:
        moments = [now] if facts.changed else []
    elif (
        state.version is None
        or state.attempts  # one failed, and what asked for it still holds
        or policy.compromised == state.version
        or state.version not in facts.stored
        or expired(state.not_after, now)  # every request is refused: no time to spread
    ):
        moments = [now]
    else:
        moments = [start_of(state.due, policy, facts.overdue_since)] if state.due else [now]
        if policy.rotate_at is not None and policy.rotate_at != state.answered:
            moments.append(policy.rotate_at)
    if not moments:
        return None
    return max(min(moments), state.retry) if state.retry else min(moments)


def _asked(state: State, policy: Policy, now: datetime) -> bool:
    return policy.rotate_at is not None and policy.rotate_at != state.answered and policy.rotate_at <= now


def _prepared(state: State, view: View) -> Step:
    if state.pending in view.facts.stored:
        return Step(replace(state, phase=Phase.ISSUED, tries=0, retry=None))
    if state.retry is not None and view.now < state.retry:
        return Step(state, again=state.retry)
    return Step(state, Issue(_some(state.pending)))


def _issued(state: State, view: View) -> Step:
    pending = _some(state.pending)
    if expired(view.facts.stored.get(pending), view.now):
        return Step(discard(state, f"Version {pending} expired before it was used; another is made."))
    if view.policy.managed:
        if pending not in view.facts.published or state.published is None:
            return Step(state, Publish(pending))
        known = state.published + view.policy.settle
        if view.now < known:  # even where another one leaked: nobody would take its tokens
            message = (
                f"The key of version {pending} is published; verifiers have read it by {known:%H:%M:%S} UTC."
            )
            return Step(replace(state, message=message), again=known)
    if state.retry is not None and view.now < state.retry:
        return Step(state, again=state.retry)
    return Step(state, Verify(pending))


def _verified(state: State, view: View) -> Step:
    first = Mounted(state.pending)
    if state.version is None and view.facts.mounted != first:
        return Step(state, Mount(first))  # gateways look for it once the state names a version
    if state.version is None or state.version not in view.facts.stored or _worthless(state, view):
        return Step(promote(state, view))
    return Step(replace(state, phase=Phase.DISTRIBUTED, tries=0, retry=None))


def _distributed(state: State, view: View) -> Step:
    pending = _some(state.pending)
    if expired(view.facts.stored.get(pending), view.now):
        return Step(
            discard(state, f"Version {pending} expired before every gateway held it; another is made.")
        )
    if _worthless(state, view):
        return Step(promote(state, view))
    if state.retry is not None and view.now < state.retry:
        return Step(state, again=state.retry)
    return Step(state, Ask(pending, hold=True))


def _promoted(state: State, view: View) -> Step:
    if state.retry is not None and view.now < state.retry:
        return Step(state, again=state.retry)
    return Step(state, Ask(_some(state.version), hold=False, urgent=state.urgent))


def _overlap(state: State, view: View) -> Step:
    if state.previous is None:
        return Step(replace(state, phase=Phase.REVOKED))
    gone = view.policy.own and state.previous not in view.facts.stored
    if state.until is not None and view.now < state.until and not (state.urgent or gone):
        until = f"{state.until:%Y-%m-%d %H:%M:%S} UTC"
        message = f"Version {state.previous} stays valid until {until}, for requests that began with it."
        if (spare := _spare(state, view)) is not None:
            return spare
        return Step(replace(state, message=message), again=state.until)
    if state.urgent and not state.reverted:
        return Step(replace(state, phase=Phase.REVOKED, tries=0, retry=None))
    if state.retry is not None and view.now < state.retry:
        return Step(state, again=state.retry)
    return Step(state, Verify(_some(state.version)))


def _revoked(state: State, view: View) -> Step:
    if state.previous is None or state.previous == state.version:
        state = replace(state, previous=None)
        rest = replace(state, phase=Phase.IDLE, until=None, tries=0, urgent=False, reverted=False)
        if state.reverted:
            return Step(replace(rest, retry=view.now + pause(state.attempts, FIRST_PAUSE)))
        return Step(replace(rest, retry=None, attempts=0))
    if state.due is not None and view.now >= state.due and state.tries:
        # Revoking goes on beside the next rotation.
        return Step(
            replace(state, phase=Phase.IDLE, previous=None, until=None, retry=None, tries=0, reverted=False)
        )
    if state.retry is not None and view.now < state.retry:
        return Step(state, again=state.retry)
    return Step(state, Retire(state.previous, _some(state.version), state.urgent))


def _worthless(state: State, view: View) -> bool:
    """Whether the version in use is none to be kept until every gateway has the next one."""
    return state.urgent or expired(state.not_after, view.now)


def expired(not_after: datetime | None, now: datetime) -> bool:
    """Whether a credential with this end can't be used any more."""
    return not_after is not None and not_after - timedelta(seconds=1) <= now


def _some(version: str | None) -> str:
    if version is None:
        raise ValueError("a state of this phase has this version; the stored one was edited")
    return version


_PHASES: Final = {
    Phase.IDLE: _idle,
    Phase.PREPARED: _prepared,
    Phase.ISSUED: _issued,
    Phase.VERIFIED: _verified,
    Phase.DISTRIBUTED: _distributed,
    Phase.PROMOTED: _promoted,
    Phase.OVERLAP: _overlap,
    Phase.REVOKED: _revoked,
}
