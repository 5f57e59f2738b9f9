"""The phases before the switch: Preparing, Testing (tests, analysis, gates), and Paused."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta

from moltbot_operator.rollout.analysis import compared, measurable
from moltbot_operator.rollout.measuring import measured
from moltbot_operator.rollout.ports import GateAnswer, GateVerdict, TestOutcome
from moltbot_operator.rollout.state import Phase, Run, Stage, State
from moltbot_operator.rollout.step import (
    AGAIN,
    Scene,
    Step,
    give_up,
    go,
    held_by_user,
    hold,
    pause,
    refused_by_user,
)
from moltbot_operator.rollout.view import AskGate, Create, Observed, RunTests, Trouble

__all__ = ["paused", "preparing", "testing"]


def preparing(state: State, scene: Scene) -> Step:
    """Pods start; the deadline ends the waiting, unless nothing serves that could be kept instead."""
    if step := refused_by_user(state, scene) or held_by_user(state, scene):
        return step
    target = str(state.target)
    seen = scene.seen(target)
    if scene.may_serve(target):
        return go(state.at(Phase.TESTING, state.stage or Stage.TESTS, scene.deadline))
    waiting = _waiting(target, seen, scene.need) if seen else f"revision {target} is created"
    late = state.deadline is not None and scene.now >= state.deadline
    if late and scene.view.serving is not None:
        limit = scene.view.settings.progress_deadline
        message = (
            f"It was not ready within the progress deadline ({_text(limit)}): {waiting}. Look at its pods."
        )
        return give_up(state, scene, "ProgressDeadlineExceeded", message)
    create = () if seen else (Create(target),)
    # Nothing serves that could be kept: it goes on trying.
    stalled = f"Not ready within the progress deadline: {waiting}. Look at its pods." if late else ""
    return Step(state, actions=create, waiting=waiting, stalled=stalled)


def testing(state: State, scene: Scene) -> Step:
    """What has to pass before users see the revision, one stage after the other."""
    settings = scene.view.settings
    if step := refused_by_user(state, scene) or held_by_user(state, scene):
        return step
    seen = scene.seen(state.target)
    if seen is None or seen.ready == 0:
        return go(state.at(Phase.PREPARING, state.stage, scene.deadline))
    if state.overridden or (settings.promote is not None and settings.promote == state.target):
        return go(replace(state.at(Phase.PROMOTING, Stage.PASSED), overridden=True))
    return _STAGES.get(state.stage, _tests)(state, scene)


def paused(state: State, scene: Scene) -> Step:
    """Waits for a person; a revision that serves already is looked after in `after.py`."""
    settings = scene.view.settings
    resume = state.resume or Phase.PREPARING
    if step := refused_by_user(state, scene):
        return step
    promoted = settings.promote is not None and settings.promote == state.target
    match state.stage:
        case Stage.HELD if not settings.paused:
            return go(_resumed(state, resume, scene))
        case Stage.PROMOTION if promoted or settings.auto_promote:
            return go(_resumed(state, Phase.PROMOTING, scene))
        case Stage.INCONCLUSIVE if promoted:
            return go(replace(_resumed(state, Phase.PROMOTING, scene), overridden=True))
        case _:
            return hold(state, state.message)


def _resumed(state: State, phase: Phase, scene: Scene) -> State:
    """Where it was: stages begun anew, those passed kept."""
    passed = phase in {Phase.PROMOTING, Phase.VERIFYING}
    stage = Stage.PASSED if passed else Stage.GATES if state.gates else Stage.TESTS
    return replace(state.at(phase, stage, scene.deadline), resume=None, message="")


def _tests(state: State, scene: Scene) -> Step:
    testing = scene.view.settings.testing
    following = state.at(Phase.TESTING, Stage.ANALYSIS)
    if not testing.requests and not testing.fault_drill:
        return go(following)
    effect = RunTests(f"{state.id}/tests/{state.attempt}", str(state.target))
    match scene.view.results.get(effect.id):
        case TestOutcome(passed=True):
            return go(following)
        case TestOutcome(message=message):
            return give_up(state, scene, "TestsFailed", f"A test of the preview failed: {message}")
        case Trouble(message):
            return _ask_again(state, scene, f"the tests could not run: {message}", "TestsFailed")
        case _:
            return _asked(state, scene, effect, "the preview is tested", "TestsFailed")


def _analysis(state: State, scene: Scene) -> Step:
    analysis = scene.view.settings.analysis
    following = state.at(Phase.TESTING, Stage.GATES)
    if analysis is None or scene.view.serving is None or state.target in {*state.history, state.rollback_to}:
        return go(following)
    names, compare = measurable(scene.view.settings, preview=True), compared(analysis)
    run = state.run or Run()
    needed = analysis.count if names else int(bool(compare))
    return measured(
        replace(state, run=run), scene, names=names, compare=compare, needed=needed, following=following
    )


def _gates(state: State, scene: Scene) -> Step:
    gates = scene.view.settings.gates
    if state.gates >= len(gates):
        return go(state.at(Phase.TESTING, Stage.PASSED))
    if state.deadline is None:
        limit = max(scene.view.settings.progress_deadline, gates[state.gates].timeout)
        state = replace(state, deadline=scene.now + limit)
    question = f"{state.id}/gates/{state.gates}"
    effect = AskGate(f"{question}/{state.attempt}", str(state.target), state.gates, question)
    where = f"gate {state.gates} ({gates[state.gates].url})"
    match scene.view.results.get(effect.id):
        case GateAnswer(verdict=GateVerdict.PASSED):
            return go(replace(state.at(Phase.TESTING, Stage.GATES), gates=state.gates + 1))
        case GateAnswer(verdict=GateVerdict.REFUSED, message=message):
            return give_up(state, scene, "GateRefused", f"{where} refused: {message or 'without a reason'}")
        case GateAnswer(message=message) | Trouble(message):
            return _ask_again(state, scene, f"{where} did not decide: {message}", "GateTimedOut")
        case _:
            return _asked(state, scene, effect, f"{where} is asked", "GateTimedOut")


def _passed(state: State, scene: Scene) -> Step:
    if scene.view.settings.auto_promote or scene.view.serving is None:
        return go(state.at(Phase.PROMOTING, Stage.PASSED))
    message = (
        f"revision {state.target} has passed and autoPromote is false: set spec.rollout.promote to "
        f"{state.target} to switch, or abort to give it up"
    )
    return pause(state, Stage.PROMOTION, Phase.PROMOTING, message)


def _asked(state: State, scene: Scene, effect: RunTests | AskGate, waiting: str, reason: str) -> Step:
    if state.deadline is not None and scene.now >= state.deadline:
        return give_up(state, scene, reason, f"No verdict in time: {state.message or waiting}")
    text = f"{waiting} ({state.message})" if state.message else waiting
    if state.not_before is not None and scene.now < state.not_before:
        return hold(state, text)
    return hold(state, text, effect)


def _ask_again(state: State, scene: Scene, message: str, reason: str) -> Step:
    if state.deadline is not None and scene.now >= state.deadline:
        return give_up(state, scene, reason, f"No verdict in time: {message}")
    return go(replace(state, attempt=state.attempt + 1, not_before=scene.now + AGAIN, message=message))


def _waiting(revision: str, seen: Observed, pods: int) -> str:
    text = f"revision {revision}: {seen.ready} of {pods} pods are ready, {seen.reporting} report the revision"
    return f"{text}; {seen.trouble}" if seen.trouble else text


def _text(limit: timedelta) -> str:
    return f"{int(limit.total_seconds())} s"


_STAGES: Mapping[Stage | None, Callable[[State, Scene], Step]] = {
    Stage.TESTS: _tests,
    Stage.ANALYSIS: _analysis,
    Stage.GATES: _gates,
    Stage.PASSED: _passed,
}
