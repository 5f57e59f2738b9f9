"""What outlives the process: who serves an address, its children and its folder, for the next start to clean.

::

    <state folder>/<address>_<port>/lock         held (flock) for as long as the server runs
                                    record.json  its children by id and start time, and its run folder

A process id alone may be somebody else's by now, so one is ended only if it began when the record says.
The record is written whole and to the disk as soon as a child started. (On Linux the kernel ends children
with their parent anyway, see :mod:`moltbot_operator.serve.children`.)
"""

import contextlib
import fcntl
import json
import os
import secrets
import shutil
import signal
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from moltbot_operator.errors import InvalidInput

__all__ = ["Child", "Home", "Record", "default_state", "started", "write_whole"]

_KILLED: Final = timedelta(seconds=5)
"""How long the kernel may take to end a process that was killed."""


@dataclass(frozen=True)
class Child:
    """A process that was started: a process id and what tells it from a later one with the same id."""

    what: str
    pid: int
    started: str


@dataclass(frozen=True)
class Record:
    """Content of `record.json`."""

    server: Child
    run: str
    """The folder with configuration and credentials, which is removed at the end."""
    children: tuple[Child, ...] = ()
    details: dict[str, Any] = field(default_factory=dict)
    """For whoever asks what runs here: revision, files, addresses. No secrets."""


def default_state() -> Path:
    """Where a service's or the user's state is (systemd's STATE_DIRECTORY; XDG Base Directory)."""
    given = os.environ.get("STATE_DIRECTORY")
    if given:
        return Path(given, "serve")
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state", "moltbot", "serve")


class Home:
    """The folders of one served address."""

    def __init__(self, state: Path, address: str, port: int) -> None:
        """`state` is the folder of all servers' state."""
        self._name = f"{address.replace(':', '-')}_{port}"
        self._address = f"{address}:{port}"
        self.folder = state / self._name
        self.run = _runtime() / f"moltbot-{os.getuid()}-{self._name}"
        self._record = Record(_self(), str(self.run))

    @contextlib.contextmanager
    def held(self) -> Iterator[list[str]]:
        """Be the only server of this address; gives what an earlier one left and was cleaned up.

        InvalidInput where another one runs, or a folder can't be used.
        """
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise InvalidInput(
                f"{self.folder}: state can't be kept: {error.strerror}; give another folder with --state"
            ) from error
        try:
            self._lock(lock)
            for left in self.folder.glob(".*"):  # of a write_whole that was killed
                left.unlink()
            cleaned = self._clean()
            self._make_run()
            try:
                self._write()
                yield cleaned
            finally:
                shutil.rmtree(self.run, ignore_errors=True)
                (self.folder / "record.json").unlink(missing_ok=True)
        finally:
            os.close(lock)

    def add(self, what: str, pid: int) -> None:
        """Put a child on record."""
        alive = tuple(each for each in self._record.children if started(each.pid) == each.started)
        self._record = Record(
            self._record.server,
            self._record.run,
            (*alive, Child(what, pid, started(pid) or "")),
            self._record.details,
        )
        self._write()

    def describe(self, **details: Any) -> None:
        """Put what runs on record, in place of what was said before."""
        self._record = Record(self._record.server, self._record.run, self._record.children, details)
        self._write()

    def secret(self, name: str) -> str:
        """A random text that stays the same for this address; made when it is asked for first.

        InvalidInput where it can't be kept.
        """
        path = self.folder / f"{name}.secret"
        try:
            kept = path.read_text() if path.exists() else ""
            if not kept:
                kept = secrets.token_urlsafe(32)
                write_whole(path, kept.encode())
        except OSError as error:
            raise InvalidInput(
                f"{path}: can't be kept: {error.strerror}; give another folder with --state"
            ) from error
        return kept

    def _write(self) -> None:
        write_whole(self.folder / "record.json", json.dumps(asdict(self._record), indent=1).encode())

    def _lock(self, lock: int) -> None:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            known = _read(self.folder / "record.json")
            who = f"process {known['server']['pid']}" if known else "another process"
            raise InvalidInput(
                f"{who} serves {self._address} already: stop it, or choose another port with --port"
            ) from None

    def _clean(self) -> list[str]:
        """End an earlier server's children and remove its folder: it was killed."""
        left = _read(self.folder / "record.json")
        cleaned = []
        for each in (left or {}).get("children", ()):
            if each["started"] and started(each["pid"]) == each["started"]:
                _kill(each["pid"])
                cleaned.append(f"{each['what']}, process {each['pid']}")
        for folder in {str(self.run), (left or {}).get("run", str(self.run))}:
            if _own(Path(folder)):
                shutil.rmtree(folder)
                cleaned.append(f"folder {folder}")
        return cleaned

    def _make_run(self) -> None:
        try:
            self.run.mkdir(mode=0o700, parents=False)
        except OSError as error:
            raise InvalidInput(
                f"{self.run}: can't be made: {error.strerror}; remove it, or set TMPDIR to another folder"
            ) from error


def write_whole(path: Path, content: bytes) -> None:
    """Replace `path` at once and durably, readable by the owner only. Raises OSError."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        Path(temporary).replace(path)
    except OSError:
        Path(temporary).unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def started(pid: int) -> str | None:
    """When a process began, as text that is its alone; None where there is no such process, or a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except (FileNotFoundError, ProcessLookupError):
        return None if Path("/proc/self").exists() else _started_by_ps(pid)
    return None if fields[0] == "Z" else f"{boot} {fields[19]}"  # proc(5): 22 is starttime


def _started_by_ps(pid: int) -> str | None:
    """Where there is no /proc."""
    answer = subprocess.run(
        ["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    return answer.stdout.strip() or None


def _self() -> Child:
    return Child("moltbot serve", os.getpid(), started(os.getpid()) or "")


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + _KILLED.total_seconds()
    while started(pid) is not None and time.monotonic() < deadline:
        time.sleep(0.01)


def _read(path: Path) -> dict[str, Any] | None:
    """The record; None where there is none, or none that this version wrote."""
    try:
        found = json.loads(path.read_bytes())
        return found if {"server", "run", "children"} <= found.keys() else None
    except (OSError, ValueError, AttributeError):
        return None


def _own(folder: Path) -> bool:
    """Whether this is a folder, not a link, that we made: in a shared place names can be taken by others."""
    try:
        found = folder.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and folder.name.startswith("moltbot-")


def _runtime() -> Path:
    """In memory where the system offers that; systemd's RUNTIME_DIRECTORY, XDG Base Directory."""
    for name in ("RUNTIME_DIRECTORY", "XDG_RUNTIME_DIR"):
        given = os.environ.get(name)
        if given and Path(given).is_dir():
            return Path(given)
    return Path(tempfile.gettempdir())
