"""What a rollout remembers between two steps: all of it is in the route's status, and nothing elsewhere."""

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Final

from moltbot_operator.api import NotificationEvent

__all__ = [
    "MOST_PENDING",
    "Failure",
    "Old",
    "Pending",
    "Phase",
    "Run",
    "Shown",
    "Stage",
    "State",
]

MOST_PENDING: Final = 16
"""Notifications that wait to be delivered; of more, the oldest are dropped."""


class Phase(StrEnum):
    """`status.rollout.phase`; `machine.py` draws how they follow each other."""

    STABLE = "Stable"
    """The desired revision serves; or the spec was refused, and what served goes on."""
    PREPARING = "Preparing"
    """Pods of the desired revision start beside the active ones."""
    TESTING = "Testing"
    """The preview is tested and measured, and gates are asked; no user sees it."""
    PAUSED = "Paused"
    """A person has to decide."""
    PROMOTING = "Promoting"
    """The preview is good: the Service is switched."""
    VERIFYING = "Verifying"
    """The new revision serves and is measured; the one before it is kept."""
    ABORTING = "Aborting"
    """The revision is given up: the Service goes back if it was switched, and its pods go."""
    FAILED = "Failed"
    """The desired revision was given up, or the spec was refused and nothing has served before it."""


class Stage(StrEnum):
    """`status.rollout.stage`: what Testing is at, or why a rollout is paused."""

    TESTS = "Tests"
    ANALYSIS = "Analysis"
    GATES = "Gates"
    PASSED = "Passed"
    """Everything before the switch has passed."""
    HELD = "Held"
    """`paused: true`."""
    PROMOTION = "Promotion"
    """`autoPromote: false`, and `promote` has not come."""
    INCONCLUSIVE = "Inconclusive"
    """The analysis has no verdict."""


@dataclass(frozen=True)
class Shown:
    """The latest figures of a metric; None where there were none."""

    name: str
    value: float | None = None
    active: float | None = None
    """The same of the revision that served before."""


@dataclass(frozen=True)
class Run:
    """An analysis so far. `errors` counts those of a source in a row; the others, measurements.

    `message`: of the latest measurement; `doubt`: of the latest that was inconclusive.
    """

    measurements: int = 0
    failed: int = 0
    inconclusive: int = 0
    errors: int = 0
    message: str = ""
    doubt: str = ""
    metrics: tuple[Shown, ...] = ()

    def baseline(self, name: str) -> float | None:
        """What the metric was of the revision that served before."""
        return next((shown.active for shown in self.metrics if shown.name == name), None)


@dataclass(frozen=True)
class Old:
    """A revision that served and still runs, until then."""

    revision: str
    until: datetime


@dataclass(frozen=True)
class Failure:
    """A revision that was given up; `generation` of the spec that led to it."""

    revision: str
    reason: str
    message: str
    at: datetime
    generation: int


@dataclass(frozen=True)
class Pending:
    """A notification to be delivered; `sent` holds the places in the list that are done with it."""

    id: str
    event: NotificationEvent
    revision: str
    previous: str | None
    message: str
    at: datetime
    sent: tuple[int, ...] = ()


@dataclass(frozen=True)
class State:
    """The durable state.

    `target`: the revision under way. `rollback_to`: the one that completed last, while another is under way.
    `attempt`: answers taken so far in the present stage; `not_before`: when the next question is asked.
    `overridden`: what is left before the switch is skipped. `promote_generation`: the spec whose `promote`
    was taken up. `history`: revisions that completed, without the active one, the latest first.
    """

    phase: Phase = Phase.STABLE
    target: str | None = None
    rollback_to: str | None = None
    started_at: datetime | None = None
    deadline: datetime | None = None
    promoted_at: datetime | None = None
    stage: Stage | None = None
    resume: Phase | None = None
    gates: int = 0
    attempt: int = 0
    not_before: datetime | None = None
    overridden: bool = False
    promote_generation: int | None = None
    reason: str = ""
    message: str = ""
    run: Run | None = None
    failed: Failure | None = None
    old: tuple[Old, ...] = ()
    pending: tuple[Pending, ...] = ()
    history: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        """Identity of this try of this revision: the beginning of its effects' ids."""
        began = self.started_at.strftime("%Y%m%dT%H%M%SZ") if self.started_at else "-"
        return f"{self.target}@{began}"

    def rest(self, phase: Phase = Phase.STABLE) -> "State":
        """Nothing under way: what is left is what outlives a rollout."""
        return State(phase, failed=self.failed, old=self.old, pending=self.pending, history=self.history)

    def at(self, phase: Phase, stage: Stage | None = None, deadline: datetime | None = None) -> "State":
        """In another phase or stage, with its questions before it."""
        return replace(
            self, phase=phase, stage=stage, deadline=deadline, attempt=0, not_before=None, message=""
        )
