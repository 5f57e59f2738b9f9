"""Names within one Envoy: clusters, headers, listeners, metadata."""

from typing import Final

from moltbot_operator.compile.ir import Backend

__all__ = [
    "CONSUMER",
    "FAULT",
    "FULL",
    "INNER",
    "LISTENER_INNER",
    "MODEL",
    "NAMESPACE",
    "PREFIX",
    "PUBLIC",
    "ROUTE",
    "SCRIPT",
    "STATE_CONSUMER",
    "STATE_PATH",
    "TASK",
    "endpoint_id",
    "inner",
    "upstream",
]

PREFIX: Final = "x-mb-"
"""Headers of this prefix are the gateway's own: removed from what clients send, never sent to a provider."""

TASK: Final = f"{PREFIX}task"
"""The kind of task that the script found."""

MODEL: Final = f"{PREFIX}model"
"""What the script found in the body: `=` and the model's name, or `-` for none."""

ROUTE: Final = f"{PREFIX}route"
"""The final route that the script chose."""

CONSUMER: Final = f"{PREFIX}consumer"
"""Name of the consumer whose key the client showed."""

INNER: Final = f"{PREFIX}inner"
"""In the inner tier: the endpoint by which a request came, see endpoint_id."""

FAULT: Final = f"{PREFIX}fault"
"""In answers of the inner tier: Envoy's response flags, where the backend did not answer."""

NAMESPACE: Final = "moltbot"
"""Namespace of our metadata at endpoints and in the dynamic metadata of a request."""

STATE_PATH: Final = "moltbot.path"
"""Filter state: the client's path without its query, before it is rewritten."""

STATE_CONSUMER: Final = "moltbot.consumer"
"""Filter state: the consumer's name."""

PUBLIC: Final = "public"
"""Public listener, its routes, and the prefix of its statistics."""

LISTENER_INNER: Final = "inner"

FULL: Final = "full"
"""A cluster without endpoints: where a request goes when the only backend is at its limit."""

SCRIPT: Final = "envoy.filters.http.lua"
"""The Lua filter, and the namespace of route metadata that its script reads."""


def upstream(backend: Backend) -> str:
    """The cluster of a backend itself."""
    return f"up_{backend.label}"


def endpoint_id(backend: Backend, prefix: str) -> str:
    """How the inner tier knows the backend, and the path prefix to replace."""
    return f"{backend.label}|{prefix}"


def inner(backend: Backend, prefix: str) -> str:
    """The cluster that leads to a backend by the inner tier, for requests under this path prefix."""
    return f"x_{backend.label}" if prefix == "/v1" else f"x_{backend.label}|{prefix}"
