"""What backends and consumers ask of a rotation (pure)."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from moltbot_operator.api import ConsumerKeyRotation, IssuerType, ManagedKey, ModelBackendSpec
from moltbot_operator.api.rotation import Rotation
from moltbot_operator.rotation.state import Policy
from moltbot_operator.rotation.timing import share_of

__all__ = ["DRIFT", "PROPAGATION", "SKEW", "key_policy", "policy_of"]

PROPAGATION: Final = timedelta(seconds=30)
"""How long a written JWKS may take to be what is served."""

DRIFT: Final = timedelta(seconds=30)
"""How much longer a verifier may keep a JWKS whose end it reckons from the answer's date by its own clock."""

SKEW: Final = timedelta(minutes=1)
"""How far a verifier's clock may be from ours."""


def policy_of(spec: ModelBackendSpec, rotation: Rotation, uid: str) -> Policy:
    """Of a backend with this uid."""
    managed = rotation.issuer.type is IssuerType.MANAGED_KEY
    settle = keep = timedelta(0)
    if managed and spec.auth.jwt is not None:
        cached = (rotation.issuer.managed_key or ManagedKey()).cache_max_age
        settle = cached + PROPAGATION + DRIFT
        keep = spec.auth.jwt.ttl + cached + SKEW
    return Policy(
        interval=rotation.interval,
        overlap=rotation.overlap,
        longest=spec.timeouts.connect + spec.timeouts.first_byte,
        settle=settle,
        keep=keep,
        managed=managed,
        external=rotation.issuer.type is IssuerType.EXTERNAL,
        rotate_at=rotation.rotate_at,
        compromised=rotation.compromised,
        share=share_of(uid),
    )


def key_policy(wishes: Sequence[ConsumerKeyRotation], rotate_at: datetime | None, uid: str) -> Policy:
    """Of consumers' key: where several name it (one at least), the most careful wish of each kind counts."""
    return Policy(
        interval=min(wish.interval for wish in wishes),
        overlap=max(wish.overlap for wish in wishes),
        own=True,
        rotate_at=rotate_at,
        share=share_of(uid),
    )
