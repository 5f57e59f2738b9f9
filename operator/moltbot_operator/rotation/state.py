"""Where the rotation of one credential stands, what it is to do, and what is seen around it.

::

    Idle → Prepared → Issued → Verified → Distributed → Promoted → Overlap → Revoked → Idle

A :class:`State` is stored before anything is done because of it, and holds nothing secret.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

__all__ = ["Facts", "Mounted", "Phase", "Policy", "State"]


class Phase(StrEnum):
    """Steps of a rotation."""

    IDLE = "Idle"
    PREPARED = "Prepared"
    """The new version has an id; the issuer is asked."""
    ISSUED = "Issued"
    """The new credential is stored; it is to be used once."""
    VERIFIED = "Verified"
    """The backend took it."""
    DISTRIBUTED = "Distributed"
    """It goes to the gateways, which still use the old one."""
    PROMOTED = "Promoted"
    """It is the one to be used; the old one is still valid."""
    OVERLAP = "Overlap"
    """Every gateway uses it; the old one stays valid for a while."""
    REVOKED = "Revoked"
    """The old one is being revoked."""


BEFORE_PROMOTED = frozenset({Phase.PREPARED, Phase.ISSUED, Phase.VERIFIED, Phase.DISTRIBUTED})


@dataclass(frozen=True)
class State:
    """What must survive a restart. Times have their zone."""

    phase: Phase = Phase.IDLE
    version: str | None = None
    """In use."""
    pending: str | None = None
    """Prepared to take its place; until Promoted."""
    previous: str | None = None
    """Still valid; from Promoted on."""
    due: datetime | None = None
    """When the next rotation is due."""
    rotated: datetime | None = None
    """When the version in use was promoted, or found."""
    not_after: datetime | None = None
    """When the version in use expires, where that is known."""
    retry: datetime | None = None
    """Nothing that failed is tried again before."""
    attempts: int = 0
    """Rotations that failed since the last one that succeeded."""
    tries: int = 0
    """Failures of the step at hand."""
    published: datetime | None = None
    """Since when the pending key is in the JWKS (managed keys)."""
    spare: str | None = None
    """The version after the next one: a key whose public half verifiers read in advance (managed keys)."""
    spare_published: datetime | None = None
    """Since when it is in the JWKS."""
    watched: datetime | None = None
    """When a process last stored this: time that none watched counts for no wait (`timing.put_off`)."""
    until: datetime | None = None
    """End of the overlap."""
    sweep: datetime | None = None
    """When to look for credentials of ours at the issuer that nobody knows."""
    answered: datetime | None = None
    """The `rotateAt` that was carried out."""
    urgent: bool = False
    """A leaked credential is being replaced: no overlap."""
    reverted: bool = False
    """The rotation went back to the previous version, since the new one was no longer taken."""
    message: str = ""
    """What it waits for, or why it failed and what to do."""


@dataclass(frozen=True)
class Policy:
    """What the spec asks for."""

    interval: timedelta
    overlap: timedelta
    longest: timedelta = timedelta(0)
    """The longest request, which may have begun with the old credential."""
    settle: timedelta = timedelta(0)
    """How long a managed key is published before it signs."""
    keep: timedelta = timedelta(0)
    """How long a managed key stays published after it signed."""
    managed: bool = False
    """The credential is a key of which verifiers must first read the public half."""
    external: bool = False
    """Somebody else makes credentials: a rotation begins with a changed value."""
    own: bool = False
    """A version is valid exactly while it is stored (keys made here): whoever takes one away ends it."""
    rotate_at: datetime | None = None
    compromised: str | None = None
    share: float = 0.0
    """From 0 to 1, by the owner's uid: what is due at once is spread by it."""


@dataclass(frozen=True)
class Mounted:
    """Versions in the Secret (or file) that gateways read: the one to use, and the next to hold."""

    value: str | None = None
    next: str | None = None


@dataclass(frozen=True)
class Facts:
    """What is seen, besides what gateways say."""

    stored: Mapping[str, datetime | None] = field(default_factory=dict)
    """Versions whose credential is stored, and when each expires."""
    mounted: Mounted = Mounted()
    begun_with: bool = False
    """Whether `mounted` is the credential that a person made; looked at only while no version is known."""
    bootstrap: bool = False
    """Whether there is a credential that a person made."""
    changed: bool = False
    """External: that credential is another than the version in use and than the one refused last."""
    published: frozenset[str] = frozenset()
    """Managed: versions whose public half is in the JWKS."""
    overdue_since: datetime | None = None
    """When it was first seen that a deadline had been missed by far (operator down, clock set)."""
