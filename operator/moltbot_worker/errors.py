"""Errors of the worker.

::

    WorkerError
    ├── ConfigUnreadable    the configuration file is missing or wrong
    ├── GatewayUnreachable  the worker listener refused, reset or was silent before its headers
    ├── AnswerBroken        an answer broke off, or is longer than is held
    └── StoreAway           the store refused, reset or was silent: the feature is left out
        └── StoreFull       the store has no room for what must not be dropped

No message holds a secret, a request's content or an answer's.
"""

__all__ = ["AnswerBroken", "ConfigUnreadable", "GatewayUnreachable", "StoreAway", "StoreFull", "WorkerError"]


class WorkerError(Exception):
    """Base of the worker's errors."""


class ConfigUnreadable(WorkerError):  # noqa: N818
    """The configuration file is missing or wrong."""


class GatewayUnreachable(WorkerError):  # noqa: N818
    """The worker listener refused, reset or was silent before its headers."""


class AnswerBroken(WorkerError):  # noqa: N818
    """An answer broke off, or is longer than is held."""


class StoreAway(WorkerError):  # noqa: N818
    """The store refused, reset or was silent: the feature is left out."""


class StoreFull(StoreAway):
    """The store has no room for what must not be dropped."""
