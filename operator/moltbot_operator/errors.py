"""Every error that the project raises on purpose.

::

    MoltBotError
    ├── InvalidInput        a resource or file cannot be used as it is; names object, field and remedy
    │   └── ConversionError models.config.json cannot be converted
    ├── CompileError        a valid spec cannot become a configuration
    ├── EnvoyRejected       Envoy refused a configuration
    │   ├── PortTaken       somebody else listens where one of our processes is to
    │   └── Interrupted     one of our processes was killed or too slow; the same may succeed
    ├── ClusterError        the API server refused or did not answer
    │   ├── Conflict        409: somebody else owns the field or changed the object meanwhile
    │   ├── Gone            410: the position of a list or watch is too old
    │   └── NotFound        404
    ├── IssuerError         whoever makes credentials did not do what was asked
    │   ├── NothingHappened surely without effect: safe to do again
    │   ├── Unclear         it may have happened: look before it is done again
    │   ├── Refused         the issuer said no, and why
    │   └── NotOurs         the issuer can't be told which credential is meant
    └── LeaseLost           another replica leads now: the process must end

A message says what happened, to which object, and what to do.
"""

from datetime import timedelta

__all__ = [
    "ClusterError",
    "CompileError",
    "Conflict",
    "ConversionError",
    "EnvoyRejected",
    "Gone",
    "Interrupted",
    "InvalidInput",
    "IssuerError",
    "LeaseLost",
    "MoltBotError",
    "NotFound",
    "NotOurs",
    "NothingHappened",
    "PortTaken",
    "Refused",
    "Unclear",
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


class PortTaken(EnvoyRejected):
    """Somebody else listens where one of our processes is to; other ports may be free."""


class Interrupted(EnvoyRejected):
    """A process was killed, or not ready in time: nothing speaks against trying the same again."""


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


class IssuerError(MoltBotError):
    """Whoever makes credentials did not do what was asked. The message never holds a credential.

    `retry_after`: how long the issuer wants to be left alone, where it said so.
    """

    def __init__(self, message: str, retry_after: timedelta | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class NothingHappened(IssuerError):  # noqa: N818
    """Surely without effect (no connection, 429, 503 of a proxy): it can be done again."""


class Unclear(IssuerError):  # noqa: N818
    """It may have happened (timeout, cut connection, 5xx, an answer that can't be read): look first."""


class Refused(IssuerError):  # noqa: N818
    """The issuer or the backend said no (4xx), and will say so again until somebody changes something."""


class NotOurs(IssuerError):  # noqa: N818
    """A credential that a person made: the issuer needs an identifier that nobody knows."""


class LeaseLost(MoltBotError):  # noqa: N818
    """Another replica leads now, or the lease could not be renewed in time."""
