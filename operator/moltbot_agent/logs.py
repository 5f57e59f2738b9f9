"""JSON logs on stderr: one object a line, and never what an exception holds.

An exception's text may quote a file's content, so only its type and where it came from are logged. What we
raise ourselves is safe and is logged as the message.
"""

import json
import logging
import sys
import traceback
from datetime import UTC, datetime
from typing import Any, Final

__all__ = ["JsonLines", "configure", "line"]

_STANDARD: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class JsonLines(logging.Formatter):
    """`time`, `level`, `logger`, `message`, then whatever `extra` named."""

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        more = {key: value for key, value in vars(record).items() if key not in _STANDARD}
        if record.exc_info and record.exc_info[0] is not None:
            more["error"] = record.exc_info[0].__name__
            frames = traceback.extract_tb(record.exc_info[2])
            more["at"] = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames[-8:]]
        return line(record.levelname.lower(), record.name, record.getMessage(), record.created, **more)


def line(level: str, logger: str, message: str, moment: float | None = None, **more: Any) -> str:
    """One JSON object; `moment` in seconds since 1970, now unless given."""
    at = datetime.now(UTC) if moment is None else datetime.fromtimestamp(moment, UTC)
    written = {"time": at.isoformat(timespec="milliseconds"), "level": level, "logger": logger}
    return json.dumps({**written, "message": message, **more}, default=repr)


def configure(level: str = "INFO") -> None:
    """All loggers of this process write to stderr in this form."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
