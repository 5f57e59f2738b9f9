"""What is said of a backend, and of its credential by name."""

from moltbot_operator.api import format_duration
from moltbot_operator.compile.ir import Backend

__all__ = ["backend_facts"]


def backend_facts(backend: Backend) -> dict[str, str]:
    """By respect; nothing secret."""
    rate, breaker, tls, credential = backend.rate, backend.breaker, backend.tls, backend.credential
    scheme = "http" if tls is None else "https"
    connect, first_byte, idle = map(format_duration, (backend.connect, backend.first_byte, backend.idle))
    sent = "none"
    if credential is not None:
        kind = "key" if credential.token is None else "token by"
        sent = f"{kind} {credential.namespace}/{credential.secret} ({credential.key}) in {credential.header}"
        if credential.token is not None:
            sent += f", {credential.token.model_dump_json(exclude_none=True)}"
    return {
        "endpoint": f"{scheme}://{backend.host}:{backend.port}{backend.prefix}",
        "provider": backend.provider,
        "addresses": "each of its own" if backend.spread else "as one",
        "host header": backend.host_header,
        "TLS": "none" if tls is None else f"{tls.server_name} by {tls.ca}",
        "protocol": str(backend.protocol),
        "model": backend.model or "as the client wrote",
        "credential": sent,
        "maxConnections": _number(backend.max_connections),
        "maxPendingRequests": _number(backend.max_pending),
        "rate": "no limit" if rate is None else f"{rate.rate} a second, {rate.burst} at once",
        "circuitBreaker": "none"
        if breaker is None
        else f"{breaker.error_rate_percent} % of {breaker.minimum_requests} within "
        f"{format_duration(breaker.interval)}, out for {format_duration(breaker.ejection_time)}",
        "timeouts": f"connect {connect}, first byte {first_byte}, silence {idle}",
    }


def _number(limit: int | None) -> str:
    return "no limit" if limit is None else str(limit)
