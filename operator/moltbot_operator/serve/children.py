"""Processes that belong to this one: started, told to end, and never left behind.

On Linux the kernel kills them with their parent, however that ends; elsewhere the next start does, by what
:mod:`moltbot_operator.serve.state` has on record.
"""

import asyncio
import contextlib
import ctypes
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Final

__all__ = ["child", "end"]

STOP: Final = timedelta(seconds=10)
"""How long a child may take to end before it is killed."""

_PR_SET_PDEATHSIG: Final = 1
"""prctl(2): the signal that a process gets when its parent dies."""


@contextlib.asynccontextmanager
async def child(
    command: Sequence[str],
    complaints: Path,
    started: Callable[[int], None] = lambda _: None,
    output: int | None = None,
) -> AsyncIterator[asyncio.subprocess.Process]:
    """A process that ends with the block; what it writes to standard error is added to `complaints`.

    `started` gets its process id before anything else happens; `output` None: our own standard output.
    """
    with complaints.open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            *command, stdout=output, stderr=log, start_new_session=True, preexec_fn=_die_with_parent()
        )
    try:
        started(process.pid)
        yield process
    finally:
        await end(process)


async def end(process: asyncio.subprocess.Process) -> None:
    """SIGTERM, and SIGKILL after STOP; at once where it has ended already."""
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    try:
        await asyncio.wait_for(process.wait(), STOP.total_seconds())
    except TimeoutError:
        process.kill()
        await process.wait()


def _die_with_parent() -> Callable[[], None] | None:
    if sys.platform != "linux":
        return None
    prctl, parent = ctypes.CDLL(None).prctl, os.getpid()

    def before_exec() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died before the call
            os._exit(1)

    return before_exec
