"""The clocks that tokens are timed by."""

import time
from typing import Final

__all__ = ["boot", "offset"]

_BOOT: Final = getattr(time, "CLOCK_BOOTTIME", None)


def boot() -> float:
    """Seconds since this machine's start, suspended time included (Linux `CLOCK_BOOTTIME`).

    Nobody can set it, and all processes of a pod share it, so a token's end means the same to an agent that
    starts again. Where there is no such clock it is the time of day.
    """
    return time.time() if _BOOT is None else time.clock_gettime(_BOOT)


def offset() -> float:
    """What to add to :func:`boot` for the time of day; it changes when somebody sets the clock."""
    return time.time() - boot()
