"""What the command says: lines for people, JSON objects for programs."""

import sys
from typing import Any

from moltbot_agent.logs import line

__all__ = ["Words"]


class Words:
    """Writes to standard error; records of calls go to standard output."""

    def __init__(self, *, json: bool) -> None:
        self._json = json
        self.last: list[str] = []
        """The latest lines for people, newest last."""
        self.quiet = False
        """Whether somebody else shows `last`."""

    def say(self, text: str, *, level: str = "info", **more: Any) -> None:
        """`text` for people; programs get `more` beside it."""
        self.last = [*self.last[-19:], text]
        if self._json:
            self._write(line(level, "moltbot.serve", text, **more))
        elif not self.quiet:
            self._write(text)

    @staticmethod
    def _write(text: str) -> None:
        print(text, file=sys.stderr, flush=True)  # noqa: T201 - the command's own words
