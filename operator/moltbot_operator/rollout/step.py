"""What one phase says: where to go, or what to do and wait for there; and what phases share."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from moltbot_operator.api import NotificationEvent
from moltbot_operator.rollout.state import Phase, Stage, State
from moltbot_operator.rollout.view import Action, Effect, Note, Observed, View

__all__ = ["AGAIN", "Scene", "Step", "give_up", "go", "held_by_user", "hold", "pause", "refused_by_user"]

AGAIN: Final = timedelta(seconds=5)
"""Pause before somebody who gave no verdict is asked again."""


@dataclass(frozen=True)
class Scene:
    """The view at a moment; `given` is the state as recorded, before this call changed anything."""

    view: View
    now: datetime
    given: State

    @property
    def deadline(self) -> datetime:
        """The progress deadline of what begins now."""
        return self.now + self.view.settings.progress_deadline

    def seen(self, revision: str | None) -> Observed | None:
        """What exists of a revision."""
        return self.view.revisions.get(revision) if revision else None

    def size(self, revision: str | None) -> int:
        """Pods that a revision has; as the spec asks if its Deployment is gone or was scaled to nothing."""
        seen = self.seen(revision)
        return (seen.replicas if seen else 0) or self.view.replicas

    @property
    def need(self) -> int:
        """Pods that a revision must have to take over: as the spec asks, and as many as serve."""
        return max(1, self.view.replicas, self.size(self.view.serving) if self.view.serving else 0)

    def may_serve(self, revision: str | None) -> bool:
        """Whether the Service may be switched to a revision."""
        seen = self.seen(revision)
        return seen is not None and seen.replicas >= self.need and seen.complete(self.need)


@dataclass(frozen=True)
class Step:
    """`settled`: it stays there in this call; else the next phase is looked at at once."""

    state: State
    settled: bool = True
    actions: tuple[Action, ...] = ()
    effects: tuple[Effect, ...] = ()
    waiting: str = ""
    notes: tuple[Note, ...] = ()
    stalled: str = ""


def go(state: State, *notes: Note) -> Step:
    """On to another phase or stage, in the same call."""
    return Step(state, settled=False, notes=notes)


def hold(state: State, waiting: str, *effects: Effect) -> Step:
    """Stay and wait."""
    return Step(state, effects=effects, waiting=waiting)


def pause(state: State, stage: Stage, resume: Phase, message: str) -> Step:
    """A person has to decide; `resume`: the phase that goes on then."""
    paused = replace(state.at(Phase.PAUSED, stage), resume=resume, message=message)
    note = Note("Normal", "RolloutPaused", message, NotificationEvent.PAUSED)
    return go(paused, note)


def give_up(state: State, scene: Scene, reason: str, message: str) -> Step:
    """No way on for the revision under way: it goes, after the Service has gone back where it must."""
    given_up = replace(state.at(Phase.ABORTING, deadline=scene.deadline), reason=reason, message=message)
    return go(given_up)


def refused_by_user(state: State, scene: Scene) -> Step | None:
    """`abort` names the revision under way."""
    if scene.view.settings.abort != state.target:
        return None
    message = (
        f"Revision {state.target} was given up, as spec.rollout.abort asks. Change the spec; or remove abort "
        "and name the revision in spec.rollout.retry."
    )
    return give_up(state, scene, "Aborted", message)


def held_by_user(state: State, scene: Scene) -> Step | None:
    """`paused` is true."""
    if not scene.view.settings.paused:
        return None
    message = "spec.rollout.paused is true: set it to false to go on"
    return pause(state, Stage.HELD, state.phase, message)
