"""The Secret with the token by which the operator alone may read the agents' evidence, and the probe key."""

from base64 import b64encode

from moltbot_operator.compile.probe_key import PROBE_KEY, TOKEN_KEY, probe_key
from moltbot_operator.compile.workloads.identity import Manifest, Owner

__all__ = ["PROBE_KEY", "TOKEN_KEY", "evidence_secret", "probe_key"]


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
