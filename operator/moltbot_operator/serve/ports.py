"""Addresses to listen on: the public one as it is asked for, the inner ones whatever is free.

A port that was found and let go could be taken before the process that is to have it listens: by whoever asks
the kernel for a free port, or by another Envoy, which would even share it (SO_REUSEPORT) and get half of the
requests. So the very socket that found a port stays bound, and never listens, for as long as the port is
needed. On Linux it is then given to nobody who takes a free one, be it to listen or for an outgoing
connection, while a process that is told the number and allows reuse can listen there, end, and listen again
(socket(7), SO_REUSEADDR). Elsewhere such a socket would be in the way, so the port is let go, and a revision
that finds one taken is started again with others (:mod:`moltbot_operator.serve.revision`).
"""

import contextlib
import socket
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from moltbot_operator.errors import InvalidInput

__all__ = ["LOOPBACK", "Ports", "bound", "bound_or_free", "held_port", "held_ports"]

LOOPBACK: Final = "127.0.0.1"

_HOLDS: Final = sys.platform == "linux"
"""Whether a socket that is bound and does not listen lets another one listen on its port."""


@dataclass(frozen=True)
class Ports:
    """TCP ports of one agent, one Envoy and one worker."""

    public: int
    """Where requests are answered."""
    ready: int
    admin: int
    metrics: int
    evidence: int
    drain: int
    probe: int
    calls: int
    """Where workers call back."""
    worker: int
    worker_metrics: int
    worker_evidence: int


@contextlib.contextmanager
def held_ports(address: str, port: int = 0) -> Iterator[Ports]:
    """`port` (0: a free one) and ten free ones, kept until the block ends.

    InvalidInput where the given one is taken.
    """
    with contextlib.ExitStack() as stack:
        wanted = (
            (address, port),
            (address, 0),
            *((LOOPBACK, 0),) * 4,
            *((address, 0),) * 2,
            *((LOOPBACK, 0),) * 3,
        )
        sockets = [stack.enter_context(bound(host, number)) for host, number in wanted]
        ports = Ports(*(each.getsockname()[1] for each in sockets))
        if not _HOLDS:
            stack.close()
        yield ports


@contextlib.contextmanager
def held_port(address: str, port: int = 0) -> Iterator[int]:
    """`port` (0: a free one), kept until the block ends. InvalidInput where it is taken."""
    with bound(address, port) as holder:
        number: int = holder.getsockname()[1]
        if not _HOLDS:
            holder.close()
        yield number


def bound(host: str, port: int, option: str = "--port") -> socket.socket:
    """A socket that does not listen yet. InvalidInput where the port is taken; `option` chooses another."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    holder = socket.socket(family, socket.SOCK_STREAM)
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        holder.bind((host, port))
    except OSError as error:
        holder.close()
        raise InvalidInput(
            f"{host}:{port} can't be listened on: {error.strerror}; choose another with {option}"
        ) from error
    return holder


def bound_or_free(host: str, preferred: int) -> socket.socket:
    """As :func:`bound`, on any free port where `preferred` is taken."""
    try:
        return bound(host, preferred)
    except InvalidInput:
        return bound(host, 0)
