"""What becomes of a state by what came of an action (pure)."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

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
from moltbot_operator.rotation.machine import View, discard, promote
from moltbot_operator.rotation.state import Phase, State
from moltbot_operator.rotation.timing import FIRST_PAUSE, FIRST_STEP_PAUSE, LATE_ANSWER, next_due, pause

__all__ = ["POLL", "settle"]

POLL: Final = timedelta(seconds=1)
"""How soon gateways are asked again."""

SLOW_POLL: Final = timedelta(seconds=15)
"""The same after a minute's worth of asking."""

QUICK_ASKS: Final = 60

REFUSALS: Final = 3
"""How often a new credential may be refused before it is given up: some providers take seconds to know it."""


def settle(state: State, action: Action, outcome: Outcome, view: View) -> State:
    """The state after `action` had this `outcome`; to be stored before anything else is done."""
    now = view.now
    match action:
        case Adopt(version) if isinstance(outcome, Done):
            after = _adopted(state, version, outcome, view)
        case Issue(version) | Publish(version) if version == state.spare:
            after = _spared(state, action, outcome, now)
        case Issue():
            after = _issued(state, outcome, now)
        case Publish() if isinstance(outcome, Done):
            after = replace(state, published=now, tries=0, retry=None)
        case Verify():
            after = _verified(state, outcome, view)
        case Ask():
            after = _asked(state, outcome, view)
        case Retire():
            after = _retired(state, outcome, now)
        case Clean() | Sweep():
            after = _cleaned(state, action, outcome, now)
        case Mount() if isinstance(outcome, Done):
            after = state
        case _:
            after = _again(state, outcome, now)
    return after


def _adopted(state: State, version: str, outcome: Done, view: View) -> State:
    due = next_due(view.policy, view.now, outcome.not_after)
    return replace(state, version=version, rotated=view.now, due=due, not_after=outcome.not_after, message="")


def _spared(state: State, action: Action, outcome: Outcome, now: datetime) -> State:
    """A spare is no part of a rotation: it fails by itself, and is tried again in a while."""
    if isinstance(outcome, Done):
        state = replace(state, spare_published=now) if isinstance(action, Publish) else state
        return state if state.retry is None else replace(state, retry=None, message="")
    return replace(state, retry=now + pause(1, FIRST_PAUSE), message=_words(outcome))


def _issued(state: State, outcome: Outcome, now: datetime) -> State:
    sweep = state.sweep
    if isinstance(outcome, Done):
        sweep = now + LATE_ANSWER if outcome.unswept else sweep
        return replace(state, phase=Phase.ISSUED, tries=0, retry=None, sweep=sweep, message="")
    if isinstance(outcome, Failed) and outcome.failure is Failure.UNCLEAR:
        sweep = now + LATE_ANSWER
    return replace(_failed(state, outcome, now), sweep=sweep)


def _failed(state: State, outcome: Outcome, now: datetime) -> State:
    """The rotation failed before Promoted."""
    retry_after = outcome.retry_after if isinstance(outcome, Failed) else None
    if retry_after is not None and isinstance(outcome, Failed) and outcome.failure is Failure.NOTHING:
        # A queue before a busy issuer is no failure.
        return replace(state, tries=state.tries + 1, retry=now + retry_after, message=outcome.message)
    attempts = state.attempts + 1
    given_up = discard(state, _words(outcome))
    return replace(given_up, attempts=attempts, retry=now + pause(attempts, FIRST_PAUSE, retry_after))


def _verified(state: State, outcome: Outcome, view: View) -> State:
    now = view.now
    late = state.phase is Phase.OVERLAP
    if isinstance(outcome, Done):
        return replace(
            state, phase=Phase.REVOKED if late else Phase.VERIFIED, tries=0, retry=None, message=""
        )
    refused = isinstance(outcome, Failed) and outcome.failure is Failure.REFUSED
    settling = (
        state.published is not None and now < state.published + view.policy.settle
    )  # verifiers may still have the JWKS of before
    if not refused or settling or state.tries + 1 < REFUSALS:
        return _again(state, outcome, now)
    if not late:
        return _failed(state, outcome, now)
    if state.reverted or state.previous is None:
        return _again(state, outcome, now)
    message = (
        f"The backend no longer takes version {state.version}: back to {state.previous}. {_words(outcome)}"
    )
    return replace(
        state,
        phase=Phase.PROMOTED,
        version=state.previous,
        previous=state.version,
        until=now,
        due=now,
        tries=0,
        attempts=state.attempts + 1,
        retry=None,
        urgent=False,
        reverted=True,
        message=message,
    )


def _asked(state: State, outcome: Outcome, view: View) -> State:
    policy, now = view.policy, view.now
    if not isinstance(outcome, Done):
        message = _words(outcome)
        wait = POLL if state.tries < QUICK_ASKS else SLOW_POLL
        return replace(state, tries=state.tries + 1, retry=now + wait, message=message)
    if state.phase is Phase.DISTRIBUTED:
        return promote(state, view)
    overlap = timedelta(0) if state.urgent or state.reverted else policy.overlap + policy.longest
    kept = timedelta(0) if state.urgent else policy.keep
    return replace(
        state,
        phase=Phase.OVERLAP,
        until=now + max(overlap, kept),
        tries=0,
        retry=None,
        message=state.message if state.reverted else outcome.note,
    )


def _retired(state: State, outcome: Outcome, now: datetime) -> State:
    if isinstance(outcome, Done):
        message = state.message if state.reverted else outcome.note
        return replace(state, previous=None, tries=0, retry=None, sweep=state.sweep or now, message=message)
    if isinstance(outcome, Waiting):
        return replace(state, retry=now + POLL, message=outcome.message)
    return _again(state, outcome, now)


def _cleaned(state: State, action: Action, outcome: Outcome, now: datetime) -> State:
    if isinstance(outcome, Done):
        return replace(state, sweep=None) if isinstance(action, Sweep) else state
    retry_after = outcome.retry_after if isinstance(outcome, Failed) else None
    return replace(state, sweep=now + pause(1, LATE_ANSWER, retry_after))


def _again(state: State, outcome: Outcome, now: datetime) -> State:
    """The same step after a pause."""
    retry_after = outcome.retry_after if isinstance(outcome, Failed) else None
    tries = state.tries + 1
    return replace(
        state, tries=tries, retry=now + pause(tries, FIRST_STEP_PAUSE, retry_after), message=_words(outcome)
    )


def _words(outcome: Outcome) -> str:
    return outcome.message if isinstance(outcome, Failed | Waiting) else ""
