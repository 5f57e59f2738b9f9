"""What the operator reads of a pod, and nothing that would harm if it leaked.

The answer (JSON)::

    {"route": str, "namespace": str, "revision": str,              the agent's own configuration
     "envoy": {"live": bool, "revision": str|null, "version": str,   what Envoy itself runs, from its admin
               "uptimeS": int|null},
     "credentials": [{"backend": "namespace/name", "kind": "APIKey"|"OAuth2"|"JWT", "present": bool,
                      "fingerprint": str|null, "held": [str], "notAfter": str|null}],
     "consumers": [{"consumer": str, "held": [str]}],                fingerprints of the keys that let one in
     "inFlight": int,                                              requests of clients; 0 without Envoy
     "leaving": bool,                                              clients are asked to leave; see leaving.py
     "attempts": [{"backend": "namespace/name", "ended": int,      since Envoy's start, of each backend that
                   "well": int, "unanswered": int, "refused": int,  was tried; see moltbot_agent.attempts
                   "buckets": [[float|null, int]]}],               seconds (null: no bound), attempts up to it
     "requests": {"ended": int, "well": int,                       of clients, since Envoy's start; see
               "buckets": [[float|null, int]]} | null,             moltbot_agent.clients; null without Envoy
     "problems": [str]}

A fingerprint is the first 16 hexadecimal digits of HMAC-SHA256(evidence token, secret value without its
newline), of the value that Envoy was given: who holds the Secret and the token can compare, nobody else
learns anything. Where a token is sent it is that of the Secret's value by which the token was got (client
secret, private key), and null while that is not known; `present` and `notAfter` (RFC 3339, its expiry) speak
of the token. `held` are fingerprints of what the mounted Secret has for this credential, in use or not yet.
"""

import hashlib
import hmac
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from moltbot_agent import clients
from moltbot_agent.admin import Admin, Server
from moltbot_agent.attempts import PREFIX, parse
from moltbot_agent.config import AgentConfig
from moltbot_agent.deliveries import CredentialState, Deliveries
from moltbot_agent.errors import AdminUnavailable
from moltbot_agent.leaving import asked_to_leave

__all__ = ["authorized", "evidence", "fingerprint", "read_token"]

_REFUSED: Final = "upstream_rq_pending_overflow"
"""Envoy's counter of attempts that a cluster's limits turned away."""


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
    in_flight, tried = 0, list[dict[str, Any]]()
    requests: dict[str, Any] | None = None
    try:
        server = admin.server()
        stats = admin.stats(
            rf"^http\.{config.stat_prefix}\.downstream_rq_active$|^cluster\.up_.*\.{_REFUSED}$"
        )
        in_flight = stats.get(f"http.{config.stat_prefix}.downstream_rq_active", 0)
        logged = admin.prometheus(rf"^{PREFIX}\.")
        tried, requests = _attempts(config, logged, stats), _requests(logged)
    except AdminUnavailable:
        server = Server(state="UNREACHABLE", version="", revision=None)
    return {
        "route": config.route,
        "namespace": config.namespace,
        "revision": config.revision,
        "envoy": {
            "live": server.live,
            "revision": server.revision,
            "version": server.version,
            "uptimeS": server.uptime_s,
        },
        "credentials": [_credential(state, token) for state in deliveries.credentials],
        "consumers": [
            {"consumer": consumer, "held": sorted(fingerprint(token, key) for key in keys)}
            for consumer, keys in deliveries.consumer_keys.items()
        ],
        "inFlight": in_flight,
        "leaving": asked_to_leave(config.leave),
        "attempts": tried,
        "requests": requests,
        "problems": deliveries.problems,
    }


def _attempts(config: AgentConfig, logged: str, stats: Mapping[str, int]) -> list[dict[str, Any]]:
    """Backends that were never tried, nor kept from by a limit, are left out."""
    refused: dict[str, int] = {}
    for cluster, backend in config.clusters.items():
        refused[backend] = refused.get(backend, 0) + stats.get(f"cluster.{cluster}.{_REFUSED}", 0)
    return [
        {
            "backend": backend,
            "ended": counted.ended,
            "well": counted.well,
            "unanswered": counted.codes.get("none", 0),
            "refused": refused[backend],
            "buckets": _bounds(counted.buckets),
        }
        for backend, counted in sorted(parse(logged, refused, config.namespace).items())
        if counted.ended or refused[backend]
    ]


def _requests(logged: str) -> dict[str, Any]:
    found = clients.parse(logged)
    return {"ended": found.ended, "well": found.well, "buckets": _bounds(found.buckets)}


def _bounds(buckets: Iterable[tuple[str, float]]) -> list[list[float | int | None]]:
    return [[None if bound == "+Inf" else float(bound), int(count)] for bound, count in buckets]


def _credential(state: CredentialState, token: bytes) -> dict[str, Any]:
    issued = state.issuance.token if state.issuance else None
    source = state.source_in_use
    return {
        "backend": state.credential.backend,
        "kind": state.credential.token.kind if state.credential.token else "APIKey",
        "present": state.value is not None,
        "fingerprint": None if source is None else fingerprint(token, source),
        "held": [fingerprint(token, value) for value in state.held()],
        "notAfter": None
        if issued is None
        else datetime.fromtimestamp(issued.not_after, UTC).isoformat(timespec="seconds"),
    }
