"""How old revisions ask clients to leave: see :mod:`moltbot_agent.leaving`."""

from typing import Final

from moltbot_operator.compile.envoy.proto import Json, extension

__all__ = ["leave_path", "overload_manager"]

_MONITOR: Final = "envoy.resource_monitors.injected_resource"


def leave_path(run: str) -> str:
    """The file that says whether they are asked, below the folder that agent and Envoy share."""
    return f"{run}/leave"


def overload_manager(path: str) -> Json:
    """Each answer ends its connection while the file at `path` says 1; nothing else is done for any load."""
    monitor = extension(
        _MONITOR,
        "extensions.resource_monitors.injected_resource.v3.InjectedResourceConfig",
        filename=path,
    )
    triggers = [{"name": _MONITOR, "threshold": {"value": 1.0}}]
    return {
        "refresh_interval": "0.25s",
        "resource_monitors": [monitor],
        "actions": [{"name": "envoy.overload_actions.disable_http_keepalive", "triggers": triggers}],
    }
