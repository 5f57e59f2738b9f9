"""Tells systemd how far a service is. Source: sd_notify(3)."""

import contextlib
import os
import socket

__all__ = ["notify"]


def notify(state: str) -> None:
    """Lines such as READY=1; nothing happens where no service manager listens, or it can't be reached."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.connect(address.replace("@", "\0", 1))
        channel.sendall(state.encode())
