"""Status of a ModelBackend."""

from datetime import datetime
from typing import Annotated

from pydantic import Field

from moltbot_operator.api.constraints import Text
from moltbot_operator.api.meta import Conditions
from moltbot_operator.api.model import OpenModel

__all__ = ["CredentialStatus", "ModelBackendStatus", "ObservedStatus"]

Count = Annotated[int, Field(ge=0)]
Line = Annotated[str, Text(1024, minimum=0)]


class CredentialStatus(OpenModel):
    """The credential in use and its rotation; never a value."""

    version: Line | None = None
    """Version in use."""
    not_after: datetime | None = None
    """When the credential expires, where that is known."""
    last_rotation_time: datetime | None = None
    """When the credential in use was promoted."""
    next_rotation_time: datetime | None = None
    """When the next rotation is due."""
    phase: Line | None = None
    """Step of the rotation: Idle, Prepared, Issued, Verified, Distributed, Promoted, Overlap or Revoked."""
    pending_version: Line | None = None
    """Version that a running rotation prepares."""
    previous_version: Line | None = None
    """Version that was in use before, while it is still valid."""
    attempts: Count | None = None
    """Rotations that failed since the last one that succeeded."""
    retry_time: datetime | None = None
    """Nothing that failed is tried again before."""
    published_time: datetime | None = None
    """Since when the pending version's public key is in the JWKS."""
    spare_version: Line | None = None
    """Version of a managed key that is in the JWKS in advance, to take the next one's place at any time."""
    spare_published_time: datetime | None = None
    """Since when the spare version's public key is in the JWKS."""
    overlap_end_time: datetime | None = None
    """When the previous version may be revoked at the earliest."""
    sweep_time: datetime | None = None
    """When the issuer is asked for credentials of ours that nobody knows."""
    answered_rotate_at: datetime | None = None
    """The `rotateAt` that was carried out."""
    watched_time: datetime | None = None
    """When this was last written; the time that no operator runs after it counts for no wait."""
    urgent: bool | None = None
    """Whether a compromised version is being replaced, which skips the overlap."""
    reverted: bool | None = None
    """Whether the rotation goes back to the previous version, since the new one is no longer taken."""
    message: Annotated[str, Text(4096, minimum=0)] | None = None
    """What the rotation waits for, or why it failed and what to do."""


class ObservedStatus(OpenModel):
    """What was measured of late, over all gateways."""

    requests_per_second: Annotated[float, Field(ge=0)] | None = None
    """Requests a second."""
    success_rate: Annotated[float, Field(ge=0, le=1)] | None = None
    """Share of requests that succeeded, 0 to 1."""
    latency: Line | None = None
    """Latency to the first byte at the objective's percentile, such as 240ms."""
    at: datetime | None = None
    """When it was measured."""


class ModelBackendStatus(OpenModel):
    """What the operator found and does."""

    observed_generation: Count | None = None
    """Generation of the spec that this status speaks of."""
    conditions: Conditions = ()
    """Accepted, ResolvedRefs, CredentialReady, ObjectivesMet and Ready."""
    endpoint: Line | None = None
    """Where requests go, resolved from preset and endpoint."""
    credential: CredentialStatus | None = None
    """The credential in use and its rotation."""
    observed: ObservedStatus | None = None
    """What was measured of late."""
    routes: Count | None = None
    """How many routes use the backend."""
