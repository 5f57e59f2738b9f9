"""Errors of the agent.

::

    AgentError
    ├── ConfigUnreadable   the revision's configuration is missing or damaged
    └── AdminUnavailable   Envoy's admin interface refused or did not answer in time

No message ever holds the content of a file.
"""

__all__ = ["AdminUnavailable", "AgentError", "ConfigUnreadable"]


class AgentError(Exception):
    """Base of the agent's errors."""


class ConfigUnreadable(AgentError):  # noqa: N818
    """The revision's configuration is missing or damaged."""


class AdminUnavailable(AgentError):  # noqa: N818
    """Envoy's admin interface refused or did not answer in time."""
