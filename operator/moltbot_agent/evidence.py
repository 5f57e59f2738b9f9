"""What the operator reads of a pod, and nothing that would harm if it leaked.

The answer (JSON)::

    {"route": str, "namespace": str, "revision": str,              the agent's own configuration
     "envoy": {"live": bool, "revision": str|null, "version": str},  what Envoy itself runs, from its admin
     "credentials": [{"backend": "namespace/name", "present": bool, "fingerprint": str|null}],
     "inFlight": int,                                              requests of clients; 0 without Envoy
     "problems": [str]}

A fingerprint is the first 16 hexadecimal digits of HMAC-SHA256(evidence token, secret value without its
newline), of the value that Envoy was given: who holds the Secret and the token can compare, nobody else
learns anything.
"""

import hashlib
import hmac
from pathlib import Path
from typing import Any

from moltbot_agent.admin import Admin, Server
from moltbot_agent.config import AgentConfig
from moltbot_agent.deliveries import Deliveries
from moltbot_agent.errors import AdminUnavailable

__all__ = ["authorized", "evidence", "fingerprint", "read_token"]


def read_token(path: Path) -> bytes | None:
    """The evidence token; None where the file is missing, unreadable or empty: then nobody is let in."""
    try:
        return path.read_bytes().strip() or None
    except OSError:
        return None


def authorized(header: str | None, token: bytes | None) -> bool:
    """Whether an `Authorization` header carries the token, compared in constant time."""
    scheme, _, given = (header or "").partition(" ")
    if token is None or scheme.lower() != "bearer":
        return False
    return hmac.compare_digest(given.strip().encode("utf-8", "surrogateescape"), token)


def fingerprint(token: bytes, value: str) -> str:
    """See the module's docstring."""
    return hmac.new(token, value.encode(), hashlib.sha256).hexdigest()[:16]


def evidence(config: AgentConfig, deliveries: Deliveries, admin: Admin, token: bytes) -> dict[str, Any]:
    """The document. Asks Envoy and blocks meanwhile; an Envoy that does not answer is not live."""
    in_flight = 0
    try:
        server = admin.server()
        name = f"http.{config.stat_prefix}.downstream_rq_active"
        in_flight = admin.stats(rf"^http\.{config.stat_prefix}\.downstream_rq_active$").get(name, 0)
    except AdminUnavailable:
        server = Server(state="UNREACHABLE", version="", revision=None)
    return {
        "route": config.route,
        "namespace": config.namespace,
        "revision": config.revision,
        "envoy": {"live": server.live, "revision": server.revision, "version": server.version},
        "credentials": [
            {
                "backend": state.credential.backend,
                "present": state.value is not None,
                "fingerprint": None if state.value is None else fingerprint(token, state.value),
            }
            for state in deliveries.credentials
        ],
        "inFlight": in_flight,
        "problems": deliveries.problems,
    }
