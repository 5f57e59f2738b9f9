"""Child processes that never outlive their parent, and waiting with a deadline."""

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

_PR_SET_PDEATHSIG = 1


def die_with_parent() -> None:
    """Linux: the kernel kills this process when the thread that started it ends (prctl(2)).

    For `preexec_fn`. Elsewhere the parent's orderly end has to do.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


class Daemon:
    """A program kept running, with its output in `log`. `argv[0]` is looked up in `binaries`."""

    def __init__(
        self, argv: Sequence[str], log: Path, binaries: dict[str, Path], pass_fds: Sequence[int] = ()
    ) -> None:
        self.name = argv[0]
        self.argv = [str(binaries.get(self.name, self.name)), *argv[1:]]
        self.log = log
        self._pass_fds = pass_fds
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> "Daemon":
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self.argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=self._pass_fds,
                start_new_session=True,
                preexec_fn=die_with_parent,  # noqa: PLW1509 - it only calls prctl
            )
        return self

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def check(self) -> None:
        """Raises when the program has ended by itself, with the end of its log."""
        if self._process is not None and self._process.poll() is not None:
            raise RuntimeError(
                f"{self.name} ended with code {self._process.returncode}; its log {self.log} ends:\n"
                + tail(self.log)
            )

    def stop(self, grace: float = 0) -> None:
        """Ends the program: asked first when `grace` (seconds) is given, then killed."""
        if self._process is None:
            return
        if grace and self.running:
            self._process.terminate()
            try:
                self._process.wait(grace)
            except subprocess.TimeoutExpired:
                print(f"{self.name} did not end within {grace} s, killing it", file=sys.stderr)
        if self.running:
            self._process.kill()
        self._process.wait()
        self._process = None


def tail(log: Path, lines: int = 15) -> str:
    """The last lines of a log."""
    if not log.exists():
        return "(no log)"
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])


def wait_until(what: str, probe: Callable[[], bool], seconds: float, every: float = 0.1) -> None:
    """Calls `probe` until it is true; raises TimeoutError, with `what` was awaited, at the deadline."""
    deadline = time.monotonic() + seconds
    while not probe():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {seconds:.0f} s")
        time.sleep(every)


def search_path(binaries: dict[str, Path]) -> str:
    """PATH with the bed's binaries before the machine's."""
    folders = dict.fromkeys(str(path.parent) for path in binaries.values())
    return os.pathsep.join([*folders, os.environ.get("PATH", os.defpath)])
