"""Addresses to listen on: the public one as it is asked for, the inner ones whatever is free."""

import contextlib
import socket
from dataclasses import dataclass

from moltbot_operator.errors import InvalidInput

__all__ = ["LOOPBACK", "Ports", "free_port", "free_ports", "require_free"]

LOOPBACK = "127.0.0.1"


@dataclass(frozen=True)
class Ports:
    """TCP ports of one agent and one Envoy."""

    public: int
    """Where requests are answered."""
    ready: int
    admin: int
    metrics: int
    evidence: int
    drain: int
    probe: int


def free_ports(address: str, port: int = 0) -> Ports:
    """`port` (0: a free one) and six free ones; InvalidInput where the given one is taken.

    The kernel gives them out again after a while only, so nobody else gets them meanwhile but by bad luck.
    """
    with contextlib.ExitStack() as stack:
        wanted = ((address, port), (address, 0), *((LOOPBACK, 0),) * 4, (address, 0))
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
