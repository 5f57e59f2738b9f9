"""All new connections of a shared port to the sockets that listened last, before the first ones close.

Two Envoys listen on one port (SO_REUSEPORT), and Linux spreads connections over all their sockets. One that
waits in the queue of a socket that closes is reset, however idle Envoy is. So before the old Envoy stops
listening, a filter of one instruction is attached to the port: it answers with the number of the socket to
take, the first one of the new Envoy. When the old sockets are closed that number is none any more, and Linux
spreads over the new ones again.

A socket of the group is needed for that; it is borrowed from Envoy, which is our child (`pidfd_getfd`).
Sources: socket(7) SO_ATTACH_REUSEPORT_CBPF; pidfd_getfd(2), Linux 5.6.
"""

import ctypes
import os
import re
import socket
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

__all__ = ["listening", "steer"]

_SO_ATTACH_REUSEPORT_CBPF: Final = 51
_SYS_PIDFD_GETFD: Final = 438
_RETURN_CONSTANT: Final = 0x06
"""BPF_RET | BPF_K"""

_LISTEN: Final = "0A"
"""TCP_LISTEN in /proc/net/tcp (proc(5))."""

_SOCKET = re.compile(r"socket:\[(\d+)\]")


def steer(pid: int, port: int, before: int) -> bool:
    """Whether connections to `port` now go to process `pid`, whose sockets came after `before` others.

    False where the system does not allow it (not Linux, or no right to borrow a child's socket).
    """
    if sys.platform != "linux":
        return False
    number = next((number for number, _ in _sockets(pid, port)), None)
    if number is None:
        return False
    try:
        with _borrowed(pid, number) as listener:
            instruction = struct.pack("HBBI", _RETURN_CONSTANT, 0, 0, before)
            held = ctypes.create_string_buffer(instruction, len(instruction))
            program = struct.pack("HP", 1, ctypes.addressof(held))  # struct sock_fprog
            listener.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_REUSEPORT_CBPF, program)
    except OSError:
        return False
    return True


def listening(pid: int, port: int) -> int:
    """How many sockets of `pid` listen on `port`; 0 where that can't be seen."""
    return len(list(_sockets(pid, port))) if sys.platform == "linux" else 0


def _borrowed(pid: int, number: int) -> socket.socket:
    """A copy of the process' file descriptor; close it soon, it keeps the socket listening."""
    process = os.pidfd_open(pid)
    try:
        library = ctypes.CDLL(None, use_errno=True)
        copied = library.syscall(_SYS_PIDFD_GETFD, process, number, 0)
        if copied < 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))
        return socket.socket(fileno=copied)
    finally:
        os.close(process)


def _sockets(pid: int, port: int) -> Iterator[tuple[int, str]]:
    """File descriptor and inode of each socket of `pid` that listens on `port`, in order of descriptor."""
    inodes = set(_listening_inodes(pid, port))
    folder = Path(f"/proc/{pid}/fd")
    try:
        numbers = sorted(int(each.name) for each in folder.iterdir())
    except OSError:
        return
    for number in numbers:
        try:
            found = _SOCKET.fullmatch(str((folder / str(number)).readlink()))
        except OSError:
            continue  # closed meanwhile
        if found is not None and found[1] in inodes:
            yield number, found[1]


def _listening_inodes(pid: int, port: int) -> Iterator[str]:
    """Inodes of the machine's sockets that listen on `port` (proc(5), /proc/net/tcp)."""
    for table in ("tcp", "tcp6"):
        try:
            lines = Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            if fields[3] == _LISTEN and int(fields[1].rpartition(":")[2], 16) == port:
                yield fields[9]
