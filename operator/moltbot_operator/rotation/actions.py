"""What a rotation has done next, and what can come of it.

Each action is carried out by :mod:`moltbot_operator.rotation.driver`, and doing it twice is as good as once.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from moltbot_operator.rotation.state import Mounted

__all__ = [
    "Action",
    "Adopt",
    "Ask",
    "Clean",
    "Done",
    "Failed",
    "Failure",
    "Issue",
    "Mount",
    "Outcome",
    "Publish",
    "Retire",
    "Sweep",
    "Verify",
    "Waiting",
]


@dataclass(frozen=True)
class Adopt:
    """Store a copy of the credential that a person made, as this version."""

    version: str


@dataclass(frozen=True)
class Issue:
    """Find and revoke what nobody knows; then have this version made, and store it."""

    version: str


@dataclass(frozen=True)
class Publish:
    """Put this version's public half into the JWKS."""

    version: str


@dataclass(frozen=True)
class Verify:
    """Use this version once, for real."""

    version: str


@dataclass(frozen=True)
class Mount:
    """Give these to the gateways."""

    mounted: Mounted


@dataclass(frozen=True)
class Ask:
    """Ask every gateway: does it use this version, or (with `hold`) at least hold it?"""

    version: str
    hold: bool
    urgent: bool = False
    """Only gateways that get requests count."""


@dataclass(frozen=True)
class Retire:
    """Once no gateway uses another version than `used`: revoke this one, then delete it."""

    version: str
    used: str
    urgent: bool = False


@dataclass(frozen=True)
class Clean:
    """The same for a stored version that is neither in use, nor pending, nor previous."""

    version: str
    used: str | None
    urgent: bool = False


@dataclass(frozen=True)
class Sweep:
    """Revoke what the issuer lists as ours and nobody knows."""


Action = Adopt | Issue | Publish | Verify | Mount | Ask | Retire | Clean | Sweep


@dataclass(frozen=True)
class Done:
    """It is done; `note` is something that a person should know."""

    not_after: datetime | None = None
    note: str = ""
    unswept: bool = False
    """Credentials of ours that nobody knows are left at the issuer."""


class Failure(StrEnum):
    """What may be assumed after an error."""

    NOTHING = "nothing happened"
    UNCLEAR = "it may have happened"
    REFUSED = "refused"


@dataclass(frozen=True)
class Failed:
    """It is not known to be done."""

    failure: Failure
    message: str
    retry_after: timedelta | None = None


@dataclass(frozen=True)
class Waiting:
    """Gateways are not there yet; the message names the first."""

    message: str


Outcome = Done | Failed | Waiting
