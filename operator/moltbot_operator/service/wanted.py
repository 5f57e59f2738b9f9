"""What is kept running."""

from dataclasses import dataclass
from pathlib import Path

__all__ = ["Service", "config_folder"]


@dataclass(frozen=True)
class Service:
    """One server as the system runs it."""

    name: str
    command: tuple[str, ...]
    """Program and arguments; every path absolute."""
    system: bool = False
    """For the machine rather than for one user who is logged in."""
    account: str | None = None
    """Whom a system's service runs as."""
    port: int = 8080


def config_folder(*, system: bool, home: Path, config_home: str | None = None) -> Path:
    """Where manifests are looked for unless files are given (XDG Base Directory; FHS)."""
    if system:
        return Path("/etc/moltbot")
    return Path(config_home or home / ".config", "moltbot")
