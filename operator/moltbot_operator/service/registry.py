"""Files and commands by which the system learns of a service."""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from moltbot_operator.errors import InvalidInput
from moltbot_operator.serve.state import write_whole
from moltbot_operator.service.launchd import label, plist
from moltbot_operator.service.systemd import unit
from moltbot_operator.service.wanted import Service

__all__ = ["Place", "installed", "place", "remove", "running"]


@dataclass(frozen=True)
class Place:
    """Where a service's file is, what is in it, and the commands that follow from it."""

    file: Path
    text: str
    start: tuple[tuple[str, ...], ...]
    stop: tuple[tuple[str, ...], ...]
    """Run before the file goes."""
    forget: tuple[tuple[str, ...], ...]
    """Run after it went."""
    status: tuple[str, ...]
    logs: Path | None = None
    """A folder that must be there."""


def place(service: Service, home: Path, platform: str = sys.platform) -> Place:
    """For systemd, or launchd on macOS. InvalidInput elsewhere."""
    if platform == "darwin":
        return _launchd(service, home)
    if platform == "linux":
        return _systemd(service, home)
    raise InvalidInput(
        f"{platform} has neither systemd nor launchd: keep moltbot serve running by its own means"
    )


def _systemd(service: Service, home: Path) -> Place:
    config = Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config")
    folder = Path("/etc/systemd/system") if service.system else config / "systemd" / "user"
    control = ("systemctl",) if service.system else ("systemctl", "--user")
    name = f"{service.name}.service"
    return Place(
        file=folder / name,
        text=unit(service),
        start=((*control, "daemon-reload"), (*control, "enable", name), (*control, "restart", name)),
        stop=((*control, "disable", "--now", name),),
        forget=((*control, "daemon-reload"),),
        status=(*control, "is-active", name),
    )


def _launchd(service: Service, home: Path) -> Place:
    top, domain = (Path("/"), "system") if service.system else (home, f"gui/{os.getuid()}")
    logs = top / "Library" / "Logs" / "moltbot"
    folder = top / "Library" / ("LaunchDaemons" if service.system else "LaunchAgents")
    file = folder / f"{label(service)}.plist"
    return Place(
        file=file,
        text=plist(service, logs, os.environ.get("PATH", os.defpath)),
        start=(("launchctl", "bootstrap", domain, str(file)),),
        stop=(("launchctl", "bootout", f"{domain}/{label(service)}"),),
        forget=(),
        status=("launchctl", "print", f"{domain}/{label(service)}"),
        logs=logs,
    )


def installed(place: Place, *, start: bool) -> bool:
    """Write the file and, with `start`, start the service anew; whether the file is another than before.

    InvalidInput where the file can't be written, or the system's manager does not do what it is told.
    """
    if start and shutil.which(place.start[0][0]) is None:
        raise InvalidInput(
            f"{place.start[0][0]} is not here: this system does not run services that way; keep "
            "moltbot serve running by other means (--print shows what would be installed)"
        )
    try:
        changed = not place.file.exists() or place.file.read_text() != place.text
        for folder in filter(None, (place.file.parent, place.logs)):
            folder.mkdir(parents=True, exist_ok=True)
        write_whole(place.file, place.text.encode())
    except OSError as error:
        raise InvalidInput(
            f"{error.filename or place.file}: can't be written: {error.strerror}; a service of the system "
            "needs root"
        ) from error
    for command in place.start if start else ():
        _run(command)
    return changed


def remove(place: Place) -> bool:
    """Stop the service and remove its file; False where there was none. InvalidInput where it is not let."""
    if not place.file.exists():
        return False
    if shutil.which(place.stop[0][0]) is not None:
        for command in place.stop:
            subprocess.run(command, check=False, capture_output=True)  # it may not run at all
    try:
        place.file.unlink()
    except OSError as error:
        raise InvalidInput(f"{place.file}: can't be removed: {error.strerror}") from error
    for command in place.forget:
        if shutil.which(command[0]) is not None:
            subprocess.run(command, check=False, capture_output=True)
    return True


def running(place: Place) -> bool:
    """Whether the system's manager says that it runs."""
    if not place.file.exists() or shutil.which(place.status[0]) is None:
        return False
    return subprocess.run(place.status, check=False, capture_output=True).returncode == 0


def _run(command: tuple[str, ...]) -> None:
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        said = done.stderr.strip() or done.stdout.strip() or f"code {done.returncode}"
        raise InvalidInput(f"{' '.join(command)}: {said}; the file is written, --no-start leaves it at that")
