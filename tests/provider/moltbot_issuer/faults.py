"""What goes wrong with the next calls of an operation."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

__all__ = ["FAULTS", "OPERATIONS", "Fault", "Faults"]

FAULTS: Final[dict[str, str]] = {
    "refuse": "answers 403 and quotes the request's credential, without effect",
    "status": "answers `status` (503), with `retryAfter` where given, without effect",
    "limited": "answers 429 with `retryAfter` (1 s), without effect",
    "hang": "reads the request and never answers, without effect",
    "hang_after": "does it and never answers",
    "cut": "closes the connection, without effect",
    "lost": "does it, then closes the connection instead of answering",
    "error_after": "does it, then answers 500",
    "slow": "does it after `seconds`",
    "malformed": "does it and answers with half of the document",
    "huge": "does it and answers with 10 MB",
    "redirect": "answers 307 to another host, without effect",
    "without_value": "does it and answers without the key",
}
"""Every kind and what it does."""

OPERATIONS: Final = ("list", "create", "revoke", "register", "read", "update", "delete")
"""Of admin APIs, and of the registration of clients."""


@dataclass
class Fault:
    """One fault; `operation` None hits every one, `count` None lasts until cleared."""

    kind: str
    operation: str | None = None
    count: int | None = None
    status: int = 503
    retry_after: str | None = None
    seconds: float = 1.0
    hits: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        if self.kind not in FAULTS:
            raise ValueError(f"no fault {self.kind}: {', '.join(FAULTS)}")
        if self.operation not in {None, *OPERATIONS}:
            raise ValueError(f"no operation {self.operation}: {', '.join(OPERATIONS)}")

    @classmethod
    def from_json(cls, given: Mapping[str, Any]) -> "Fault":
        renamed = {("retry_after" if key == "retryAfter" else key): value for key, value in given.items()}
        return cls(**renamed)

    def take(self, operation: str) -> bool:
        """Whether this call is hit; counts it."""
        if self.operation not in {None, operation} or (self.count is not None and self.hits >= self.count):
            return False
        self.hits += 1
        return True


class Faults:
    """Faults in force; a call meets the first one that takes it."""

    def __init__(self) -> None:
        self.active: list[Fault] = []
        self._cleared = asyncio.Event()

    def set(self, *faults: Fault) -> None:
        """Replace all; calls that hang are dropped without an answer."""
        self.active = list(faults)
        self._cleared.set()
        self._cleared = asyncio.Event()

    def next(self, operation: str) -> Fault | None:
        return next((fault for fault in self.active if fault.take(operation)), None)

    async def hang(self) -> None:
        """Until the faults are replaced."""
        await self._cleared.wait()
