"""Addresses to listen on: the public one as it is asked for, the inner ones whatever is free."""

import contextlib
import socket
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from moltbot_operator.errors import InvalidInput

__all__ = ["LOOPBACK", "Ports", "free_port", "free_ports", "require_free", "reserved"]

LOOPBACK = "127.0.0.1"


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


def free_ports(address: str, port: int = 0) -> Ports:
    """`port` (0: a free one) and ten free ones; InvalidInput where the given one is taken.

    The kernel gives them out again after a while only, so nobody else gets them meanwhile but by bad luck.
    """
    with contextlib.ExitStack() as stack:
        wanted = (
            (address, port),
            (address, 0),
            *((LOOPBACK, 0),) * 4,
            *((address, 0),) * 2,
            *((LOOPBACK, 0),) * 3,
        )
        return Ports(*(_bound(stack, host, number) for host, number in wanted))


def require_free(address: str, port: int, option: str) -> None:
    """InvalidInput where nothing can listen there; `option` is what chooses another."""
    with contextlib.ExitStack() as stack:
        _bound(stack, address, port, option)


def free_port(address: str, preferred: int) -> int:
    """`preferred` if nothing listens there, else any free one."""
    with contextlib.ExitStack() as stack:
        try:
            return _bound(stack, address, preferred)
        except InvalidInput:
            return _bound(stack, address, 0)


@contextlib.contextmanager
def reserved(ports: Sequence[int]) -> Iterator[None]:
    """Keep ports of loopback for a process that listens there, ends, and listens there again.

    On Linux a socket that is bound and does not listen keeps a port from being given to outgoing connections,
    and lets another one listen that allows reuse too (socket(7), SO_REUSEADDR); elsewhere it would be in the
    way. InvalidInput where somebody else has one.
    """
    with contextlib.ExitStack() as stack:
        for port in ports if sys.platform == "linux" else ():
            _bound(stack, LOOPBACK, port)
        yield


def _bound(stack: contextlib.ExitStack, host: str, port: int, option: str = "--port") -> int:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = stack.enter_context(socket.socket(family, socket.SOCK_STREAM))
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        raise InvalidInput(
            f"{host}:{port} can't be listened on: {error.strerror}; choose another with {option}"
        ) from error
    found: int = listener.getsockname()[1]
    return found
