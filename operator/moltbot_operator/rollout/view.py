"""What the machine sees, and what it answers."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

from moltbot_operator.api import NotificationEvent, Rollout
from moltbot_operator.rollout.ports import GateAnswer, TestOutcome
from moltbot_operator.rollout.state import Pending, Phase, Stage, State

__all__ = [
    "Action",
    "AskGate",
    "Create",
    "Delete",
    "Delivered",
    "Effect",
    "Flip",
    "Measure",
    "Measurement",
    "Note",
    "Notify",
    "Observed",
    "Plan",
    "Reading",
    "Result",
    "RunTests",
    "Trouble",
    "View",
]


@dataclass(frozen=True)
class Observed:
    """One revision that exists in the cluster.

    `replicas`: pods its Deployment asks for. `ready`: pods that Kubernetes calls Ready, not counting those
    that end. `reporting`: how many of the ready ones have an agent that says that Envoy is live with this
    very revision. `trouble`: why pods are not ready or not reporting, for people; empty when nothing is
    wrong. `workers`: whether all of its workers are ready, if it has any.
    """

    replicas: int
    ready: int = 0
    reporting: int = 0
    trouble: str = ""
    workers: bool = True

    def proven(self, pods: int) -> bool:
        """At least `pods` pods are ready, and every ready one reports the revision."""
        return self.ready >= pods and self.reporting >= self.ready

    def complete(self, pods: int) -> bool:
        """Proven, and its workers are ready: what is asked before the first request, not afterwards."""
        return self.proven(pods) and self.workers


@dataclass(frozen=True)
class RunTests:
    """Have `testing` run against the preview; its result is a TestOutcome."""

    id: str
    revision: str


@dataclass(frozen=True)
class AskGate:
    """Ask a gate; its result is a GateAnswer.

    `question` is the same at each attempt, so that a gate that asks a person asks once.
    """

    id: str
    revision: str
    index: int
    question: str


@dataclass(frozen=True)
class Measure:
    """Measure for `over`, then read; its result is a Measurement.

    `metrics`: names of those to measure of `revision`, which takes probe requests where `probe` says so (the
    preview has no others); `compare`: names of those to measure of the revision `active` at the same time.
    """

    id: str
    revision: str
    over: timedelta
    metrics: tuple[str, ...]
    probe: bool
    active: str | None = None
    compare: tuple[str, ...] = ()


@dataclass(frozen=True)
class Notify:
    """Deliver a notification to `notifications[index]`; its result is Delivered."""

    id: str
    pending: Pending
    index: int


Effect = RunTests | AskGate | Measure | Notify


@dataclass(frozen=True)
class Reading:
    """A metric over one measurement: seconds or a share; None or NaN without data.

    `samples`: requests that it rests on, None where the source does not tell. `active`: of the other
    revision. `error`: why the source could not be asked.
    """

    value: float | None = None
    samples: int | None = None
    active: float | None = None
    active_samples: int | None = None
    error: str = ""


@dataclass(frozen=True)
class Measurement:
    """Readings by the metric's name."""

    readings: Mapping[str, Reading]


@dataclass(frozen=True)
class Delivered:
    """The notification arrived."""


@dataclass(frozen=True)
class Trouble:
    """No verdict: whoever was asked did not answer; the message says why."""

    message: str


Result = TestOutcome | GateAnswer | Measurement | Delivered | Trouble


@dataclass(frozen=True)
class View:
    """Everything the machine decides from, besides its state and the time.

    `desired`: what the spec compiles to; None when it was refused. `serving`: what the active Service
    selects, None when it selects nothing yet. `replicas`: pods that the spec asks for. `revisions`: what
    exists, by name. `results`: answers to effects, by id. `generation`: of the spec.
    """

    desired: str | None
    serving: str | None
    replicas: int
    revisions: Mapping[str, Observed] = field(default_factory=dict)
    settings: Rollout = field(default_factory=Rollout)
    generation: int = 1
    results: Mapping[str, Result] = field(default_factory=dict)


@dataclass(frozen=True)
class Create:
    """Make the Deployment and configuration of a revision."""

    revision: str


@dataclass(frozen=True)
class Flip:
    """Let the active Service select a revision: one atomic write."""

    revision: str


@dataclass(frozen=True)
class Delete:
    """Remove the Deployment and configuration of a revision; its pods drain before they end."""

    revision: str


Action = Create | Flip | Delete


@dataclass(frozen=True)
class Note:
    """Something worth an event, and a notification where it is one of these."""

    type: Literal["Normal", "Warning"]
    reason: str
    message: str
    event: NotificationEvent | None = None


@dataclass(frozen=True)
class Plan:
    """The next step.

    `state`: to be recorded once the actions are done. `actions` in the order to carry out; `replicas`: pods
    each kept revision should have now; `active`: what serves once the actions are done; `preview`: the
    revision under way, None when there is none. `effects`: questions that should be under way; others end.
    `waiting`: what the rollout waits for, or why it failed; `remarks`: commands of the spec that have no
    effect. `again`: when a step is due by time alone. `stalled`: why nothing goes on without a person.
    """

    phase: Phase
    active: str | None
    preview: str | None
    actions: tuple[Action, ...] = ()
    replicas: Mapping[str, int] = field(default_factory=dict)
    waiting: str = ""
    state: State = field(default_factory=State)
    effects: tuple[Effect, ...] = ()
    notes: tuple[Note, ...] = ()
    remarks: tuple[str, ...] = ()
    again: datetime | None = None
    stalled: str = ""

    @property
    def in_progress(self) -> bool:
        """There is a step to come that no user has to ask for."""
        return self.phase in _MOVING

    @property
    def paused(self) -> Stage | None:
        """Why it is paused; None while it is not."""
        return (self.state.stage or Stage.HELD) if self.phase is Phase.PAUSED else None


_MOVING = {Phase.PREPARING, Phase.TESTING, Phase.PROMOTING, Phase.VERIFYING, Phase.ABORTING}
