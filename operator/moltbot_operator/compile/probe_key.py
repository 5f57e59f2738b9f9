"""What the operator's test requests show, derived from the token by which it reads the agents' evidence.

Who has the token needs to read no more; who has the key (Envoy) learns nothing of the token.
"""

import hashlib
import hmac
from typing import Final

__all__ = ["PROBE_KEY", "TOKEN_KEY", "probe_key"]

TOKEN_KEY: Final = "token"  # noqa: S105 - the name of a key
"""Key of the Secret, and name of the file in the pod."""

PROBE_KEY: Final = "probe"
"""Key of the Secret with what test requests show, and name of the file in the pod."""


def probe_key(token: str) -> str:
    """The bearer token of the operator's test requests to the route's gateways (64 hexadecimal digits)."""
    return hmac.new(token.encode(), b"moltbot.io/probe", hashlib.sha256).hexdigest()
