"""What `moltbot serve` is asked for."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["Options"]


@dataclass(frozen=True)
class Options:
    """Command line of one server."""

    files: tuple[Path, ...]
    """Files and folders."""
    route: str | None = None
    address: str = "127.0.0.1"
    port: int = 8080
    """0: a free one."""
    endpoints: Mapping[str, str] = field(default_factory=dict)
    """Backends and the URLs that replace their own."""
    keys: Path | None = None
    """Managed signing keys; None: the user's state folder."""
    concurrency: int = 0
    """Envoy's threads; 0: one a CPU."""
    metrics_port: int | None = None
    """None: 9090 if it is free, else another; 0: a free one."""
    state: Path | None = None
    """State of all servers; None: the user's state folder."""
    access_log: Path | None = None
    """Where records of calls go; None: standard output, or `access.log` in the state folder with `view`."""
    view: bool = False
    """Show what goes on."""
    watch: bool = True
    """Whether changed files are taken over."""
