"""The Secret with the token by which the operator alone may read the agents' evidence, and the probe's key.

The key is derived from the token, so that who has the token needs to read no more; who has the key (Envoy)
learns nothing of the token.
"""

import hashlib
import hmac
from base64 import b64encode

from moltbot_operator.compile.workloads.identity import Manifest, Owner

__all__ = ["PROBE_KEY", "TOKEN_KEY", "evidence_secret", "probe_key"]

TOKEN_KEY = "token"  # noqa: S105 — the name of a key
"""Key of the Secret, and name of the file in the pod."""

PROBE_KEY = "probe"
"""Key of the Secret with what test requests show, and name of the file in the pod."""


def probe_key(token: str) -> str:
    """The bearer token of the operator's test requests to the route's gateways (64 hexadecimal digits)."""
    return hmac.new(token.encode(), b"moltbot.io/probe", hashlib.sha256).hexdigest()


def evidence_secret(owner: Owner, token: str) -> Manifest:
    """`token`: random, made once for each route; the caller draws it, since this package is deterministic."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": owner.metadata(owner.evidence),
        "type": "Opaque",
        "data": {
            PROBE_KEY: b64encode(probe_key(token).encode()).decode(),
            TOKEN_KEY: b64encode(token.encode()).decode(),
        },
    }
