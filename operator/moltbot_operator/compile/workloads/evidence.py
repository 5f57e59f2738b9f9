"""The Secret with the token by which the operator alone may read the agents' evidence."""

from base64 import b64encode

from moltbot_operator.compile.workloads.identity import Manifest, Owner

__all__ = ["TOKEN_KEY", "evidence_secret"]

TOKEN_KEY = "token"  # noqa: S105 — the name of a key
"""Key of the Secret, and name of the file in the pod."""


def evidence_secret(owner: Owner, token: str) -> Manifest:
    """`token`: random, made once for each route; the caller draws it, since this package is deterministic."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": owner.metadata(owner.evidence),
        "type": "Opaque",
        "data": {TOKEN_KEY: b64encode(token.encode()).decode()},
    }
