"""Names within one Envoy: clusters, headers, listeners, metadata."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from moltbot_operator.compile.ir import Backend

__all__ = [
    "BACKEND",
    "BYPASS",
    "CONSUMER",
    "CUT",
    "FAULT",
    "FULL",
    "HOP",
    "INNER",
    "KEY",
    "LAST",
    "LISTENER_INNER",
    "LISTENER_WORKER",
    "MODEL",
    "NAMESPACE",
    "NOWHERE",
    "PART",
    "PREFIX",
    "PROBE",
    "PUBLIC",
    "ROUTE",
    "RULE",
    "SAID",
    "SCRIPT",
    "STATE_CONSUMER",
    "STATE_MODEL",
    "STATE_PATH",
    "TASK",
    "WAIT",
    "WORKER",
    "Entry",
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

LAST: Final = f"{PREFIX}last"
"""In answers of the inner tier: the next attempt would ask the same backend again."""

WAIT: Final = f"{PREFIX}wait"
"""In answers: seconds after which the same backend may be asked again."""

SAID: Final = f"{PREFIX}said"
"""In answers: all that decides on a further attempt in one line, see retry.py."""

KEY: Final = f"{PREFIX}worker-key"
"""What gateway and workers show each other."""

RULE: Final = f"{PREFIX}rule"
"""Of workers and to them: the rule's name."""

BACKEND: Final = f"{PREFIX}backend"
"""Of workers: the one backend to ask."""

WORKER: Final = "worker"
"""The cluster of the workers, and the listener that they call."""

LISTENER_WORKER: Final = WORKER

BYPASS: Final = "bypass"
"""The internal listener, and the cluster that leads to it, where requests go on whose worker is away."""

HOP: Final = "hop"
"""The worker, and then the bypass."""

NAMESPACE: Final = "moltbot"
"""Namespace of our metadata at endpoints and in the dynamic metadata of a request."""

PART: Final = "part"
"""In an endpoint's metadata: the part of the gateway that it is, where it is no backend."""

STATE_PATH: Final = "moltbot.path"
"""Filter state: the client's path without its query, before it is rewritten."""

STATE_MODEL: Final = "moltbot.model"
"""Filter state: the model that the client asked for, set by the script."""

STATE_CONSUMER: Final = "moltbot.consumer"
"""Filter state: the consumer's name."""

PUBLIC: Final = "public"
"""Public listener, its routes, and the prefix of its statistics."""

PROBE: Final = "probe"
"""Listener of the operator's own test requests, its routes, and the prefix of its statistics."""

CUT: Final = "cut"
"""A cluster that no connection can be made to: in place of the backend that a drill cuts off."""

NOWHERE: Final = "nowhere"
"""An internal listener that does not exist: where the cluster `cut` leads."""

LISTENER_INNER: Final = "inner"

FULL: Final = "full"
"""A cluster without endpoints: where a request goes when the only backend is at its limit."""

SCRIPT: Final = "envoy.filters.http.lua"
"""The Lua filter, and the namespace of route metadata that its script reads."""


def upstream(backend: Backend) -> str:
    """The cluster of a backend itself."""
    return f"up_{backend.label}"


@dataclass(frozen=True)
class Entry:
    """A backend that is reached by the inner tier."""

    backend: Backend
    prefix: str
    """Path prefix of the request, to be replaced."""
    again: timedelta | None = None
    """Where the next attempt would ask the same backend: how long this one may be silent."""
    cut: bool = False
    """Whether a drill cuts the backend off."""

    @property
    def endpoint_id(self) -> str:
        """How the inner tier knows it."""
        again = "" if self.again is None else f"|{self.again // timedelta(microseconds=1)}"
        cut = "|cut" if self.cut else ""
        return f"{self.backend.label}{again}{cut}|{self.prefix}"

    @property
    def cluster(self) -> str:
        """The cluster that leads to the inner tier."""
        if self.prefix == "/v1" and self.again is None and not self.cut:
            return f"x_{self.backend.label}"
        return f"x_{self.endpoint_id}"
