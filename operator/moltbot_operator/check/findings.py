"""What `moltbot check` finds."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from moltbot_operator.check.marks import Position

__all__ = ["Finding", "Level", "failed"]


class Level(StrEnum):
    """An error keeps something from serving as written; a warning looks like a mistake."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True)
class Finding:
    """One finding: a reason in CamelCase, what is wrong and what to do, and where."""

    level: Level
    reason: str
    message: str
    file: str
    position: Position | None = None

    @property
    def where(self) -> str:
        """`file:line:column`, as far as it is known."""
        return (
            self.file if self.position is None else f"{self.file}:{self.position.line}:{self.position.column}"
        )


def failed(findings: Iterable[Finding], *, strict: bool) -> bool:
    """Whether the exit code is 1."""
    return any(strict or each.level is Level.ERROR for each in findings)
