"""Ports of loopback for processes that tests start.

A port that the kernel finds (bind to 0, then close) can go to an outgoing connection before a process has it,
and one that is drawn can be drawn twice. These come in turn, for every test process of this user, from below
those that outgoing connections get (32768 on Linux, 49152 on macOS): one comes back after 10,000 others only.
"""

import contextlib
import fcntl
import os
import socket
import tempfile
from pathlib import Path

__all__ = ["free_port", "free_ports"]

LOOPBACK = "127.0.0.1"
FIRST, LAST = 20_000, 29_999
"""Kubernetes' node ports begin at 30000; what the test beds listen on is below 20000."""


def free_ports(count: int) -> list[int]:
    """So many different ports that nobody listens on; OSError where there are not so many."""
    if count < 1:
        return []
    found: list[int] = []
    turn = Path(tempfile.gettempdir()) / f"moltbot-test-ports-{os.getuid()}"
    with turn.open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        told = file.read()
        start = int(told) if told.isdecimal() and FIRST <= int(told) <= LAST else FIRST
        for step in range(LAST - FIRST + 1):
            port = FIRST + (start - FIRST + step) % (LAST - FIRST + 1)
            with contextlib.suppress(OSError), socket.socket() as one:
                one.bind((LOOPBACK, port))
                found.append(port)
            if len(found) == count:
                file.truncate(0)
                file.write(str(port + 1))
                return found
    raise OSError(f"{LOOPBACK} has no {count} free ports between {FIRST} and {LAST}")


def free_port() -> int:
    return free_ports(1)[0]
