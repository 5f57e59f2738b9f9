"""What the machine sees, and what it answers."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

__all__ = ["Action", "Create", "Delete", "Flip", "Observed", "Phase", "Plan", "View"]


class Phase(StrEnum):
    """`status.rollout.phase`; rollout.md draws the whole machine, these are the phases that exist today."""

    STABLE = "Stable"
    """The desired revision serves and no other one is left; or the spec was refused, and what served goes
    on.
    """
    PREPARING = "Preparing"
    """Pods of the desired revision start beside the active ones."""
    PROMOTING = "Promoting"
    """The desired revision is proven, or serves already; what is left is the flip and the removal of the
    old.
    """
    FAILED = "Failed"
    """The spec was refused and nothing has served before it."""


@dataclass(frozen=True)
class Observed:
    """One revision that exists in the cluster.

    `replicas`: pods its Deployment asks for. `ready`: pods that Kubernetes calls Ready, not counting those
    that end. `reporting`: how many of the ready ones have an agent that says that Envoy is live with this
    very revision. `trouble`: why pods are not ready or not reporting, for people; empty when nothing is
    wrong.
    """

    replicas: int
    ready: int = 0
    reporting: int = 0
    trouble: str = ""

    def proven(self, pods: int) -> bool:
        """At least `pods` pods are ready, and every ready one reports the revision."""
        return self.ready >= pods and self.reporting >= self.ready


@dataclass(frozen=True)
class View:
    """Everything the machine decides from.

    `desired`: what the spec compiles to; None when it was refused. `serving`: what the active Service
    selects, None when it selects nothing yet. `replicas`: pods that the spec asks for. `revisions`: what
    exists, by name.
    """

    desired: str | None
    serving: str | None
    replicas: int
    revisions: Mapping[str, Observed] = field(default_factory=dict)


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
class Plan:
    """The next step.

    `actions` in the order to carry out; `replicas`: pods each kept revision should have now; `active`:
    what serves once the actions are done; `preview`: the revision under way, None when there is none;
    `waiting`: what the rollout waits for, empty when it waits for nothing.
    """

    phase: Phase
    active: str | None
    preview: str | None
    actions: tuple[Action, ...] = ()
    replicas: Mapping[str, int] = field(default_factory=dict)
    waiting: str = ""

    @property
    def in_progress(self) -> bool:
        """There is a step to come that no user has to ask for."""
        return self.phase in {Phase.PREPARING, Phase.PROMOTING}
