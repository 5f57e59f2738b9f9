"""The rollout machine: one call is one step, and what it remembers is what it is given back.

::

             spec changed              tests, analysis, gates pass              analysis passes
    Stable ─────────────▶ Preparing ─▶ Testing ─────▶ Promoting ─▶ Verifying ─────────────────▶ Stable
       ▲                     │            │  ▲           │  the flip    │
       │ spec changed        │            ▼  │           │              │ (a person: promote)
       │ or retry            │          Paused ◀─────────┼──────────────┤ inconclusive, or paused: true
       │                     ▼            ▼              ▼              ▼
    Failed ◀──────────── Aborting ◀───────┴──────────────┴──────────────┘ flips back if it was switched

The flip is a step of its own: `Promoting` (or `Aborting`) is recorded first, and only a call that was given
that state flips. Old revisions go only in later calls, which have seen the Service select another one. So an
operator that dies between any two steps resumes from what is recorded and what the cluster shows.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Final

from moltbot_operator.api import NotificationEvent
from moltbot_operator.rollout import after, before
from moltbot_operator.rollout.commands import remarks
from moltbot_operator.rollout.notices import delivered, noted, notifications
from moltbot_operator.rollout.state import Failure, Phase, Stage, State
from moltbot_operator.rollout.step import Scene, Step, go
from moltbot_operator.rollout.view import Create, Delete, Note, Plan, View

__all__ = ["decide"]

MOST_STEPS: Final = 64
"""Phases, stages and gates that one call may pass through; more is a defect."""


def decide(state: State, view: View, now: datetime) -> Plan:
    """The next step; never flips to unproven pods, never deletes what serves."""
    scene = Scene(view, now, state)
    heard, notes = delivered(state, view)
    step = Step(heard, settled=False, notes=tuple(notes))
    found: list[Note] = []
    for turn in range(MOST_STEPS):
        found += step.notes
        if step.settled:
            break
        step = _aim(step.state, scene) if turn == 0 else _look(step.state, scene)
    else:
        raise AssertionError(f"a rollout that does not come to rest: {step.state}")
    return _plan(step, scene, found)


def _aim(state: State, scene: Scene) -> Step:
    """Which revision is under way: the desired one, unless the Service has to go back first."""
    view, failure = scene.view, state.failed
    if state.phase is Phase.ABORTING and view.serving == state.target and state.rollback_to:
        return go(state)
    if view.desired is None:
        return _refused(state, scene)
    given_up = failure is not None and failure.revision == view.desired
    if failure is not None and given_up and not _retried(failure, view):
        return go(state.rest(Phase.FAILED))
    underway = state.target == view.desired and state.phase not in {Phase.STABLE, Phase.FAILED}
    if not given_up and _rests(state, view):
        return go(replace(state.rest(), failed=None))
    return go(state) if underway else _begin(state, scene, view.desired)


def _rests(state: State, view: View) -> bool:
    """The desired revision serves and has completed."""
    underway = state.target == view.desired and state.phase in _UNFINISHED
    return view.serving == view.desired and state.rollback_to in {None, view.desired} and not underway


_UNFINISHED = {Phase.PROMOTING, Phase.VERIFYING, Phase.PAUSED, Phase.ABORTING}
"""Phases in which a revision may serve that has not completed."""


def _refused(state: State, scene: Scene) -> Step:
    """Keep what serves; a half-built revision belongs to a spec that is no longer asked for."""
    view = scene.view
    if view.serving is None:
        return go(state.rest(Phase.FAILED))
    if view.serving == state.target and state.rollback_to not in {None, view.serving}:
        return Step(state, waiting="the spec was refused; the revision before is kept until it is mended")
    return go(after.released(state, scene).rest(Phase.FAILED if state.failed else Phase.STABLE))


def _retried(failure: Failure, view: View) -> bool:
    settings = view.settings
    return (
        settings.retry == failure.revision
        and settings.abort != failure.revision
        and view.generation > failure.generation
    )


def _begin(state: State, scene: Scene, desired: str) -> Step:
    """A rollout of its own for each spec; a half-built one before it is given up silently."""
    view = scene.view
    completed = state.rollback_to if state.phase not in {Phase.STABLE, Phase.FAILED} else None
    begun = replace(
        state.rest(Phase.PREPARING),
        target=desired,
        rollback_to=completed or view.serving,
        started_at=scene.now,
        deadline=scene.deadline,
        failed=None,
    )
    if view.serving == desired:
        # It was switched to and never completed: a newer spec came, and went again.
        return go(replace(begun, phase=Phase.PROMOTING))
    seen = scene.seen(desired)
    if desired in (*state.history, completed) and seen is not None and seen.ready > 0:
        begun = replace(begun, overridden=True)
        text = f"Revision {desired} was stable before and still runs: it is switched to at once."
    else:
        text = f"Revision {desired} is being brought up beside {view.serving or 'nothing'}."
    return go(begun, Note("Normal", "RolloutStarted", text, NotificationEvent.STARTED))


def _look(state: State, scene: Scene) -> Step:
    return _PHASES[state.phase](state, scene)


def _stable(state: State, scene: Scene) -> Step:
    """The serving revision is made anew if somebody deleted it."""
    view = scene.view
    lost = view.desired is not None and view.serving == view.desired and scene.seen(view.desired) is None
    return Step(state, actions=(Create(str(view.desired)),) if lost else ())


def _paused(state: State, scene: Scene) -> Step:
    if scene.view.serving != state.target:
        return before.paused(state, scene)
    if state.resume is Phase.VERIFYING:
        return after.paused_after(state, scene)
    return go(state.at(Phase.PROMOTING, Stage.PASSED))


def _verifying(state: State, scene: Scene) -> Step:
    if scene.view.serving != state.target:
        return go(state.at(Phase.PREPARING, Stage.PASSED, scene.deadline))
    return after.verifying(state, scene)


_PHASES: Mapping[Phase, Callable[[State, Scene], Step]] = {
    Phase.STABLE: _stable,
    Phase.PREPARING: before.preparing,
    Phase.TESTING: before.testing,
    Phase.PAUSED: _paused,
    Phase.PROMOTING: after.promoting,
    Phase.VERIFYING: _verifying,
    Phase.ABORTING: after.aborting,
    Phase.FAILED: after.failed,
}


def _plan(step: Step, scene: Scene, notes: list[Note]) -> Plan:
    view, now = scene.view, scene.now
    state = noted(step.state, notes, view, now)
    flipped = next(
        (action.revision for action in step.actions if not isinstance(action, Create | Delete)), None
    )
    underway = state.phase not in {Phase.STABLE, Phase.FAILED}
    unwanted = {state.target} if state.phase is Phase.ABORTING and view.serving != state.target else set()
    kept = {view.serving, flipped, state.rollback_to} | ({state.target} - unwanted if underway else set())
    old = tuple(
        each
        for each in state.old
        if each.revision in view.revisions and each.revision not in kept and now < each.until
    )
    kept |= {each.revision for each in old}
    state = replace(state, old=old)
    deletions = tuple(Delete(name) for name in sorted(view.revisions) if name not in kept)
    created = {action.revision for action in step.actions if isinstance(action, Create)}
    active = flipped or view.serving
    preview = state.target if underway and not unwanted and state.target != active else None
    sends = notifications(state, view)
    dues = [each.until for each in old] + [
        due for due in (state.deadline, state.not_before) if due and due > now
    ]
    return Plan(
        phase=state.phase,
        active=active,
        preview=preview,
        actions=(*deletions, *step.actions),
        replicas=_sizes(state, scene, kept, created),
        waiting=step.waiting,
        state=state,
        effects=(*step.effects, *sends),
        notes=tuple(notes),
        remarks=remarks(state, view),
        again=min(dues, default=None),
        stalled=step.stalled,
    )


def _sizes(state: State, scene: Scene, kept: set[str | None], created: set[str]) -> dict[str, int]:
    """Pods of each revision: as the spec asks once nothing is under way, before it what takes over safely."""
    view = scene.view
    moving = state.phase not in {Phase.STABLE, Phase.FAILED}
    sizes: dict[str, int] = {}
    for name in sorted(filter(None, kept)):
        seen = scene.seen(name)
        if name == view.serving:
            resting = view.desired is not None and not moving
            sizes[name] = view.replicas if resting else scene.size(name)
        elif name == state.target or (name == state.rollback_to and view.serving == state.target):
            if seen is not None or name in created or name != state.target:
                sizes[name] = max(view.replicas, scene.size(view.serving) if view.serving else 0)
        elif seen is not None:
            sizes[name] = seen.replicas
    return sizes
