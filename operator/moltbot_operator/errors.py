"""Every error that the project raises on purpose.

::

    MoltBotError
    ├── InvalidInput        a resource or file cannot be used as it is; names object, field and remedy
    │   └── ConversionError models.config.json cannot be converted
    ├── CompileError        a valid spec cannot become a configuration
    ├── EnvoyRejected       Envoy refused a configuration
    ├── ClusterError        the API server refused or did not answer
    │   ├── Conflict        409: somebody else owns the field or changed the object meanwhile
    │   ├── Gone            410: the position of a list or watch is too old
    │   └── NotFound        404
    └── LeaseLost           another replica leads now: the process must end

A message says what happened, to which object, and what to do.
"""

__all__ = [
    "ClusterError",
    "CompileError",
    "Conflict",
    "ConversionError",
    "EnvoyRejected",
    "Gone",
    "InvalidInput",
    "LeaseLost",
    "MoltBotError",
    "NotFound",
]


class MoltBotError(Exception):
    """Base of all errors of this project."""


class InvalidInput(MoltBotError):  # noqa: N818
    """A resource or file cannot be used as it is."""


class ConversionError(InvalidInput):
    """A models.config.json cannot be converted."""


class CompileError(MoltBotError):
    """A valid spec cannot become a configuration."""


class EnvoyRejected(MoltBotError):  # noqa: N818
    """Envoy refused a configuration; the message is Envoy's own."""


class ClusterError(MoltBotError):
    """The API server refused a call or did not answer in time.

    `status` is the HTTP status of its answer (422: it found the object invalid), None if there was none.
    """

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class Conflict(ClusterError):  # noqa: N818
    """409: another field manager owns the field, or the object changed meanwhile."""


class Gone(ClusterError):  # noqa: N818
    """410: the server no longer remembers this position of a list or watch; list again from the start."""


class NotFound(ClusterError):  # noqa: N818
    """404: the object, or its kind, does not exist."""


class LeaseLost(MoltBotError):  # noqa: N818
    """Another replica leads now, or the lease could not be renewed in time."""
