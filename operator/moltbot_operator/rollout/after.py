"""The switch and what comes after it: Promoting, Verifying, and the way back: Aborting, Failed."""

from dataclasses import replace

from moltbot_operator.api import NotificationEvent
from moltbot_operator.rollout.analysis import measurable
from moltbot_operator.rollout.measuring import measured
from moltbot_operator.rollout.state import Failure, Old, Phase, Run, Stage, State
from moltbot_operator.rollout.step import (
    Scene,
    Step,
    give_up,
    go,
    held_by_user,
    hold,
    pause,
    refused_by_user,
)
from moltbot_operator.rollout.view import Flip, Note

__all__ = ["aborting", "failed", "paused_after", "promoting", "released", "verifying"]


def promoting(state: State, scene: Scene) -> Step:
    """The switch, once it is recorded that it comes.

    So a crash between the two can be told from somebody's edit of the Service.
    """
    target = str(state.target)
    if scene.view.serving == target:
        taken_up = scene.view.generation if scene.view.settings.promote == target else None
        verified = replace(
            state.at(Phase.VERIFYING, Stage.ANALYSIS), promoted_at=scene.now, promote_generation=taken_up
        )
        message = f"Revision {target} serves from now on."
        return go(verified, Note("Normal", "RevisionPromoted", message, NotificationEvent.PROMOTED))
    if step := refused_by_user(state, scene) or held_by_user(state, scene):
        return step
    if not scene.may_serve(target):
        return go(state.at(Phase.PREPARING, Stage.PASSED, scene.deadline))
    if scene.given.phase is Phase.PROMOTING and scene.given.target == target:
        return Step(state, actions=(Flip(target),), waiting=f"the Service is switched to revision {target}")
    return hold(state, f"the Service is switched to revision {target}")


def verifying(state: State, scene: Scene) -> Step:
    """The new revision proves itself under users' requests, while the one before it waits."""
    settings, target = scene.view.settings, str(state.target)
    if step := refused_by_user(state, scene) or _lost(state, scene):
        return step
    if _accepted(state, scene):
        return _completed(state, scene)
    analysis = settings.analysis
    last = replace(state.at(Phase.VERIFYING, Stage.PASSED), run=state.run)
    if state.stage is not Stage.PASSED:
        if analysis is None or state.rollback_to is None or target in {*state.history, state.rollback_to}:
            return go(last)
        return measured(
            replace(state, run=state.run or Run()),
            scene,
            names=measurable(settings, preview=False),
            compare=(),
            needed=analysis.count,
            following=last,
        )
    if settings.paused:
        message = f"revision {target} serves and spec.rollout.paused is true: set it to false to complete"
        return pause(state, Stage.HELD, Phase.VERIFYING, message)
    return _completed(state, scene)


def paused_after(state: State, scene: Scene) -> Step:
    """Paused while the new revision serves: `promote` accepts it, `abort` goes back."""
    if step := refused_by_user(state, scene) or _lost(state, scene):
        return step
    if _accepted(state, scene):
        return _completed(state, scene)
    if state.stage is Stage.HELD and not scene.view.settings.paused:
        return go(replace(state.at(Phase.VERIFYING, Stage.PASSED), resume=None, message=""))
    return hold(state, state.message)


def aborting(state: State, scene: Scene) -> Step:
    """Back to what served, if users see the revision; then its pods go."""
    target = str(state.target)
    if scene.view.serving == target:
        back = state.rollback_to
        late = state.deadline is not None and scene.now >= state.deadline
        if back is None or (scene.seen(back) is None and late):
            return go(_failure(state, scene, "There is nothing to go back to."))
        if _may_return(state, scene) and scene.given.phase is Phase.ABORTING:
            return Step(state, actions=(Flip(back),), waiting=f"the Service goes back to revision {back}")
        seen = scene.seen(back)
        ready = seen.ready if seen else 0
        return hold(state, f"the Service goes back to revision {back}: {ready} of its pods are ready")
    if scene.seen(target) is not None:
        return hold(state, f"the objects of revision {target} go")
    failed = _failure(state, scene, "")
    return go(failed, _told(state))


def failed(state: State, scene: Scene) -> Step:
    """Until the spec changes, or `retry` asks."""
    del scene
    failure = state.failed
    return Step(state, waiting=failure.message if failure else "", stalled=failure.message if failure else "")


def _accepted(state: State, scene: Scene) -> bool:
    """`promote` names the revision in a spec that is newer than the one that switched it."""
    if scene.view.settings.promote != state.target:
        return False
    return state.promote_generation is None or scene.view.generation > state.promote_generation


def _lost(state: State, scene: Scene) -> Step | None:
    """The new revision has no ready pod any more, and the one before has."""
    seen = scene.seen(state.target)
    if (seen is not None and seen.ready > 0) or not _may_return(state, scene):
        return None
    trouble = f": {seen.trouble}" if seen and seen.trouble else ""
    return give_up(state, scene, "PodsLost", f"After the switch none of its pods was ready any more{trouble}")


def _may_return(state: State, scene: Scene) -> bool:
    """The revision before is as good as a new one has to be, or at least better off than what serves."""
    seen, serving = scene.seen(state.rollback_to), scene.seen(scene.view.serving)
    if seen is None or state.rollback_to == state.target or not seen.proven(1):
        return False
    return seen.ready >= scene.need or seen.ready >= (serving.ready if serving else 0)


def _completed(state: State, scene: Scene) -> Step:
    """It stays; the one before is kept for a while, and remembered."""
    settings, target = scene.view.settings, str(state.target)
    before = state.rollback_to if state.rollback_to != target else None
    history = [name for name in state.history if name not in {target, before}]
    old = [each for each in state.old if each.revision not in {target, before}]
    if before is not None:
        history.insert(0, before)
        old.append(Old(before, (state.promoted_at or scene.now) + settings.scale_down_delay))
    done = replace(
        state.rest(), failed=None, history=tuple(history[: settings.revision_history]), old=tuple(old)
    )
    message = f"Revision {target} is the stable one."
    return go(done, Note("Normal", "RolloutCompleted", message, NotificationEvent.COMPLETED))


def released(state: State, scene: Scene) -> State:
    """The one that was kept to go back to goes as old ones do, where another serves that never completed."""
    before = state.rollback_to
    if before is None or before in {scene.view.serving, state.target}:
        return state
    settings = scene.view.settings
    history = (before, *(name for name in state.history if name != before))[: settings.revision_history]
    return replace(
        state, old=(*state.old, Old(before, scene.now + settings.scale_down_delay)), history=history
    )


def _failure(state: State, scene: Scene, more: str) -> State:
    message = f"Revision {state.target}: {state.message} {more}".strip()
    if state.reason != "Aborted":
        message += (
            f" Change the spec, or set spec.rollout.retry to {state.target}."
            if scene.view.serving
            else f" Mend the cause and set spec.rollout.retry to {state.target}."
        )
    failure = Failure(str(state.target), state.reason, message, scene.now, scene.view.generation)
    return replace(released(state, scene).rest(Phase.FAILED), failed=failure)


def _told(state: State) -> Note:
    back = state.promoted_at is not None
    text = f"Revision {state.target} was {'rolled back' if back else 'given up'}: {state.message}"
    if state.reason == "Aborted":
        return Note("Normal", "RolloutAborted", text, NotificationEvent.ABORTED)
    if back:
        return Note("Warning", "RolledBack", text, NotificationEvent.ROLLED_BACK)
    return Note("Warning", "RolloutFailed", text, NotificationEvent.FAILED)
