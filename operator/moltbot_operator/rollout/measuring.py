"""One analysis, before or after the switch: measure, judge, again, until there is a verdict."""

from dataclasses import replace

from moltbot_operator.api import Analysis
from moltbot_operator.rollout.analysis import ERRORS, Judged, Verdict, judge, taken
from moltbot_operator.rollout.state import Phase, Run, Stage, State
from moltbot_operator.rollout.step import AGAIN, Scene, Step, give_up, go, hold, pause
from moltbot_operator.rollout.view import Measure, Measurement, Trouble

__all__ = ["measured"]


def measured(
    state: State,
    scene: Scene,
    *,
    names: tuple[str, ...],
    compare: tuple[str, ...],
    needed: int,
    following: State,
) -> Step:
    """The analysis that judges `names`, and takes `compare` of the active revision meanwhile.

    `following`: the state that comes once `needed` measurements were taken and all were successes. `state`
    has a run.
    """
    analysis, run = scene.view.settings.analysis, state.run or Run()
    assert analysis is not None  # noqa: S101 — the callers have looked
    after = state.phase is Phase.VERIFYING
    if run.measurements >= needed:
        if run.inconclusive:
            return _inconclusive(state, run)
        return go(replace(following, run=_figures(run)))
    effect = Measure(
        id=f"{state.id}/{'active' if after else 'preview'}/{state.attempt}",
        revision=str(state.target),
        over=analysis.interval,
        metrics=names,
        probe=not after,
        active=None if after else scene.view.serving,
        compare=() if after else compare,
    )
    result = scene.view.results.get(effect.id)
    if not isinstance(result, Measurement | Trouble):
        early = state.not_before is not None and scene.now < state.not_before
        return hold(state, _progress(run, needed), *(() if early else (effect,)))
    if isinstance(result, Trouble):
        run = replace(run, errors=run.errors + 1, message=result.message)
    else:
        run = _judged(run, analysis, names, result, live=not after)
    state = replace(
        state, run=run, attempt=state.attempt + 1, not_before=scene.now + AGAIN if run.errors else None
    )
    if run.failed > analysis.failure_limit:
        return give_up(state, scene, "AnalysisFailed", f"The analysis failed: {run.message}")
    if run.errors > ERRORS:
        message = f"The analysis has no source ({run.errors} errors in a row): {run.message}"
        return give_up(state, scene, "AnalysisSourceDown", message)
    return go(state)


def _judged(run: Run, analysis: Analysis, names: tuple[str, ...], found: Measurement, *, live: bool) -> Run:
    """The run with a measurement; `live`: the active revision was measured too.

    Where that gave nothing this time, or is over, what was last measured of it is compared with.
    """
    least = analysis.minimum_sample_size
    nothing = Judged(Verdict.PASSED, "")
    known = taken(run, nothing, found, live=live, minimum=least)
    judged = judge(analysis, names, found, {shown.name: shown.active for shown in known.metrics})
    return taken(run, judged, found, live=live, minimum=least)


def _inconclusive(state: State, run: Run) -> Step:
    message = (
        f"the analysis has no verdict ({run.inconclusive} of {run.measurements} measurements had none; the "
        f"last of them: {run.doubt or run.message}): set spec.rollout.promote to {state.target} to accept "
        f"the revision (remove promote first if it has that value already), or abort to give it up"
    )
    return pause(state, Stage.INCONCLUSIVE, state.phase, message)


def _progress(run: Run, needed: int) -> str:
    text = f"measurement {min(run.measurements + 1, needed)} of {needed} is taken"
    return f"{text}; the last: {run.message}" if run.message else text


def _figures(run: Run) -> Run:
    """For the next analysis: what was measured of the active revision."""
    return Run(message=run.message, metrics=run.metrics)
