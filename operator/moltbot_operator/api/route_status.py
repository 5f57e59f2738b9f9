"""Status of a MoltBotRoute."""

from datetime import datetime
from typing import Annotated

from pydantic import Field

from moltbot_operator.api.constraints import Keyed, Text
from moltbot_operator.api.meta import Conditions
from moltbot_operator.api.model import OpenModel

__all__ = [
    "AnalysisRun",
    "BackendStatus",
    "FailedRevision",
    "MetricReading",
    "MoltBotRouteStatus",
    "OldRevision",
    "PendingNotification",
    "RevisionStatus",
    "RolloutStatus",
    "RuleStatus",
    "WorkerStatus",
]

Count = Annotated[int, Field(ge=0)]
Line = Annotated[str, Text(1024, minimum=0)]


class RevisionStatus(OpenModel):
    """The revisions of the route."""

    active: Line | None = None
    """The one that serves."""
    preview: Line | None = None
    """The one that is being made ready."""
    stable: Annotated[tuple[Line, ...], Field(max_length=50)] = ()
    """Earlier ones that were stable, latest first."""


class MetricReading(OpenModel):
    """What a metric of the analysis was last."""

    name: Line
    """The metric's name."""
    value: Line = ""
    """Latest value, as a decimal number; empty where there was none."""
    active: Line = ""
    """The same of the revision that served before, for conditions that compare with it."""


class AnalysisRun(OpenModel):
    """Measurements so far."""

    measurements: Count = 0
    """Taken, and the source answered."""
    failed: Count = 0
    """Failed."""
    inconclusive: Count = 0
    """Without a verdict."""
    errors: Count = 0
    """Errors of a source in a row."""
    message: Annotated[str, Text(4096, minimum=0)] = ""
    """Latest figures."""
    inconclusive_message: Annotated[str, Text(4096, minimum=0)] = ""
    """Figures of the latest measurement without a verdict."""
    metrics: Annotated[tuple[MetricReading, ...], Field(max_length=16), Keyed()] = ()
    """Latest value of each metric."""


class OldRevision(OpenModel):
    """A revision that served and is still there."""

    revision: Line
    """Its name."""
    until: datetime
    """When its pods go (rollout.scaleDownDelay after the switch)."""


class FailedRevision(OpenModel):
    """A revision that was given up, and is not tried again until the spec changes or `retry` names it."""

    revision: Line
    """Its name."""
    reason: Line
    """Why, as one CamelCase word; the condition Degraded or Stalled has the same."""
    message: Annotated[str, Text(4096, minimum=0)] = ""
    """Why, and what to do."""
    at: datetime
    """When."""
    generation: Count = 0
    """Of the spec that led to it: `retry` counts in a later one."""


class PendingNotification(OpenModel):
    """A notification that is still to be delivered."""

    id: Line
    """The same at each attempt."""
    event: Line
    """Started, Paused, Promoted, Completed, RolledBack, Failed or Aborted."""
    revision: Line
    """The revision that it speaks of."""
    previous: Line = ""
    """What served before; empty for the first revision."""
    message: Annotated[str, Text(1024, minimum=0)] = ""
    """What happened."""
    at: datetime
    """When."""
    sent: Annotated[tuple[Count, ...], Field(max_length=8)] = ()
    """Places in rollout.notifications that are done with it."""


class RolloutStatus(OpenModel):
    """How the change goes."""

    phase: Line | None = None
    """Stable, Preparing, Testing, Paused, Promoting, Verifying, Aborting or Failed."""
    revision: Line | None = None
    """The revision under way, or the latest that was."""
    rollback_to: Line | None = None
    """The revision that serves again if the one under way is rolled back."""
    started_at: datetime | None = None
    """When it began."""
    deadline: datetime | None = None
    """Until when the present step may take."""
    promoted_at: datetime | None = None
    """When the Service was switched."""
    stage: Line | None = None
    """What Testing is at (Tests, Analysis, Gates), or why it is Paused: Held (paused: true), Promotion
    (autoPromote: false) or Inconclusive."""
    resume: Line | None = None
    """The phase that goes on after Paused."""
    gates: Count = 0
    """Gates that have passed."""
    attempt: Count = 0
    """Repetitions of the present step's question."""
    not_before: datetime | None = None
    """When it is asked again."""
    overridden: bool = False
    """Whether `promote` asked to skip what is left."""
    promote_generation: Count | None = None
    """Generation of the spec whose `promote` has been taken up."""
    message: Annotated[str, Text(4096, minimum=0)] | None = None
    """What it waits for, or why it failed and what to do."""
    reason: Line | None = None
    """Why it is rolled back, as one CamelCase word."""
    cause: Annotated[str, Text(4096, minimum=0)] = ""
    """What led to Paused or Aborting, or what the last question of a stage ran into."""
    analysis: AnalysisRun | None = None
    """Measurements so far."""
    failed: FailedRevision | None = None
    """The revision that was given up; absent once the spec asks for another one."""
    old: Annotated[tuple[OldRevision, ...], Field(max_length=50)] = ()
    """Revisions that served before and still run."""
    pending: Annotated[tuple[PendingNotification, ...], Field(max_length=16)] = ()
    """Notifications to be delivered."""


class WorkerStatus(OpenModel):
    """The workers of the active revision."""

    replicas: Count = 0
    """Workers there are."""
    desired: Count = 0
    """Workers there shall be."""
    selector: Line = ""
    """Label selector of the worker pods, for the scale subresource."""
    last_scale_time: datetime | None = None
    """When the number last changed."""
    reason: Line = ""
    """Why it is what it is, with figures."""


class BackendStatus(OpenModel):
    """A backend as this route uses it."""

    name: Line
    """As the route refers to it."""
    ready: bool
    """Whether it can be used."""
    weight: Count = 0
    """Sum of its candidate weights; 0 for a mere fallback."""
    reason: Annotated[str, Text(4096, minimum=0)] = ""
    """Why it can't be used, and what to do."""


class RuleStatus(OpenModel):
    """How a rule is served."""

    name: Line
    """The rule's name."""
    accepted: bool
    """Whether it serves as written."""
    reason: Annotated[str, Text(4096, minimum=0)] = ""
    """Why not, and what to do."""


class MoltBotRouteStatus(OpenModel):
    """What the operator found and does."""

    observed_generation: Count | None = None
    """Generation of the spec that this status speaks of."""
    conditions: Conditions = ()
    """Accepted, ResolvedRefs, Programmed and Ready; Reconciling, Stalled, Degraded and RolloutPaused when
    True."""
    address: Line | None = None
    """base_url's beginning for clients in the cluster, such as http://assistant.default.svc."""
    revision: RevisionStatus | None = None
    """The revisions of the route."""
    rollout: RolloutStatus | None = None
    """How the change goes."""
    worker: WorkerStatus | None = None
    """The workers of the active revision."""
    backends: Annotated[tuple[BackendStatus, ...], Field(max_length=4096), Keyed()] = ()
    """The backends as this route uses them."""
    rules: Annotated[tuple[RuleStatus, ...], Field(max_length=2048), Keyed()] = ()
    """How each rule is served."""
