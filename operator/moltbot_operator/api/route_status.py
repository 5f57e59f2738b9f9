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
    "MoltBotRouteStatus",
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


class AnalysisRun(OpenModel):
    """Measurements so far."""

    measurements: Count = 0
    """Taken."""
    failed: Count = 0
    """Failed."""
    inconclusive: Count = 0
    """Without a verdict."""
    message: Annotated[str, Text(4096, minimum=0)] = ""
    """Latest figures."""


class RolloutStatus(OpenModel):
    """How the change goes."""

    phase: Line | None = None
    """Stable, Preparing, Testing, Paused, Promoting, Verifying, Aborting or Failed."""
    started_at: datetime | None = None
    """When it began."""
    message: Annotated[str, Text(4096, minimum=0)] | None = None
    """What it waits for, or why it failed and what to do."""
    analysis: AnalysisRun | None = None
    """Measurements so far."""


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
