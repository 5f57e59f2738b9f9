"""``python -m moltbot_agent.supervisor``: keeps the agent running within its container.

Kubernetes calls a pod NotReady while a sidecar is not running, and waits 10 s and more before it starts one
again that ended twice. With the agents of all pods dead, a route thus has no endpoint although every Envoy
serves (measured: connections refused). So what ends or hangs is started again here, at once, and the
container goes on. It also stands in for a liveness probe, whose remedy is to end the container.

::

    start ──▶ running ──failed by itself within SETTLED of the first start──▶ its exit code, for the kubelet
                │  ▲
                │  └── pause (none after a run of SETTLED; else 0.1 s, doubled up to 2 s)
                ├─ ended, or silent for MISSES checks ──▶ again
                └─ SIGTERM ──▶ passed on, then its exit code

Few imports: this process lives as long as the pod, beside every Envoy.
"""

import argparse
import os
import signal
import socket
import sys
import time
from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from moltbot_agent import logs

__all__ = ["main"]

SETTLED: Final = timedelta(seconds=5)
"""A run that long was no failed start."""

FIRST_PAUSE: Final = timedelta(milliseconds=100)
LAST_PAUSE: Final = timedelta(seconds=2)

CHECK: Final = timedelta(seconds=10)
"""Time between checks of a running agent, and how long it may take to answer one."""

MISSES: Final = 3
"""Checks without any answer after which the agent is taken for hung."""

_BY_SIGNAL: Final = 128
"""Exit codes above stand for a signal, as in a shell."""

_SIGNALS: Final = {signal.SIGTERM, signal.SIGINT, signal.SIGCHLD}


class Supervisor:
    """One agent process after another, until a signal asks for the end."""

    def __init__(self, command: Sequence[str], port: int, check: timedelta = CHECK) -> None:
        """`port`: where the agent answers /healthz on loopback."""
        self._command = list(command)
        self._port = port
        self._check = check
        self._stopping = False

    def run(self) -> int:
        """The last agent's exit code. The caller has blocked :data:`_SIGNALS`."""
        pause, settled = FIRST_PAUSE, False
        while True:
            began = time.monotonic()
            code = self._one()
            lived = timedelta(seconds=time.monotonic() - began)
            settled = settled or lived >= SETTLED
            failed_to_start = not settled and code < _BY_SIGNAL
            if self._stopping or code == 0 or failed_to_start:
                return code
            rest = timedelta(0) if lived >= SETTLED else pause
            pause = FIRST_PAUSE if lived >= SETTLED else min(2 * pause, LAST_PAUSE)
            _say(f"the agent ended with code {code}; started again in {rest.total_seconds():g} s")
            if self._stop_within(rest):
                return 0

    def _one(self) -> int:
        """One process from its start to its end: exit code, or 128 + the signal that ended it."""
        child = os.posix_spawn(self._command[0], self._command, os.environ, setsigmask=())
        misses = 0
        while True:
            came = signal.sigtimedwait(_SIGNALS, self._check.total_seconds())
            if came is not None and came.si_signo != signal.SIGCHLD:
                self._stopping = True
                os.kill(child, signal.SIGTERM)
            ended, status = os.waitpid(child, os.WNOHANG)
            if ended:
                code = os.waitstatus_to_exitcode(status)
                return code if code >= 0 else _BY_SIGNAL - code
            if came is None and not self._stopping:
                misses = 0 if self._answers() else misses + 1
                if misses >= MISSES:
                    _say(f"the agent did not answer {MISSES} checks and is started again")
                    os.kill(child, signal.SIGKILL)

    def _answers(self) -> bool:
        """Whether the agent answers at all; what it answers is the startup probe's business."""
        try:
            with socket.create_connection(("127.0.0.1", self._port), self._check.total_seconds()) as sock:
                sock.sendall(b"GET /healthz HTTP/1.1\r\nhost: agent\r\nconnection: close\r\n\r\n")
                return sock.recv(16).startswith(b"HTTP/")
        except OSError:
            return False

    def _stop_within(self, pause: timedelta) -> bool:
        """Waits; whether a signal asked for the end meanwhile."""
        came = signal.sigtimedwait({signal.SIGTERM, signal.SIGINT}, pause.total_seconds())
        return came is not None


def _say(text: str) -> None:
    """A line of the form that the agent's own log has."""
    sys.stderr.write(logs.line("warning", "moltbot_agent.supervisor", text) + "\n")
    sys.stderr.flush()


def main(arguments: Sequence[str] | None = None) -> int:
    """All arguments are the agent's own."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--metrics-port", type=int, default=9090)
    known, _ = parser.parse_known_args(given)
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    return Supervisor([sys.executable, "-m", "moltbot_agent", *given], known.metrics_port).run()


if __name__ == "__main__":
    sys.exit(main())
