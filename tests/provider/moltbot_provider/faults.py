"""Programmable faults: what goes wrong with the next requests."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

__all__ = ["KINDS", "Fault", "Faults"]

KINDS: Final[dict[str, str]] = {
    "status": "answers with `status` and OpenAI's error shape; `retry-after` where `retryAfter` is given",
    "refuse": "stops listening and resets open connections until cleared (ignores count and every)",
    "reset_before_headers": "resets the connection instead of answering",
    "reset_after_headers": "sends status 200 and headers, then resets the connection",
    "hang": "reads the request and never answers",
    "delay": "waits `seconds`, then answers as usual",
    "slow_first_byte": "sends status and headers at once and the first byte of the body after `seconds`",
    "malformed_json": "answers 200 with broken JSON (in a stream: a broken event, then [DONE])",
    "stream_cut": "resets the connection after `after` events (in a plain answer: after half of the body)",
    "stream_stall": "falls silent after `after` events (in a plain answer: after half of the body)",
    "no_done": "ends the stream cleanly after `after` events, without [DONE]",
    "content_filter": "answers 200 with finish_reason content_filter and no content",
    "context_length": "answers 400 with the code context_length_exceeded",
}
"""Every kind and what it does."""


@dataclass
class Fault:
    """One fault. `count` None lasts until cleared; `every` 2 hits the 2nd, 4th, 6th … request."""

    kind: str
    count: int | None = None
    every: int = 1
    status: int = 503
    retry_after: str | None = None
    """Value of `retry-after`: seconds or an HTTP date."""
    seconds: float = 1.0
    after: int = 2
    """Events sent before a stream is cut or stalls."""
    seen: int = field(default=0, init=False)
    hits: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"fault kind {self.kind!r} is unknown; use one of {', '.join(KINDS)}")
        if (
            self.every < 1
            or self.after < 0
            or self.seconds < 0
            or (self.count is not None and self.count < 1)
        ):
            raise ValueError("a fault needs every >= 1, after >= 0, seconds >= 0 and count >= 1 or null")

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Fault":
        """Raises ValueError for what `PUT /faults` must refuse with 400."""
        given = {("retry_after" if key == "retryAfter" else key): value for key, value in data.items()}
        if given.get("retry_after") is not None:
            given["retry_after"] = str(given["retry_after"])
        try:
            return cls(**given)
        except TypeError as error:
            raise ValueError(f"not a fault: {error}") from error

    def take(self) -> bool:
        """Whether this request is hit; counts it."""
        self.seen += 1
        if self.seen % self.every or (self.count is not None and self.hits >= self.count):
            return False
        self.hits += 1
        return True

    @property
    def over(self) -> bool:
        """Whether no later request can be hit."""
        return self.count is not None and self.hits >= self.count

    def as_json(self) -> dict[str, Any]:
        """The form of `GET /faults`."""
        return {
            "kind": self.kind,
            "count": self.count,
            "every": self.every,
            "status": self.status,
            "retryAfter": self.retry_after,
            "seconds": self.seconds,
            "after": self.after,
            "hits": self.hits,
        }


@dataclass
class Faults:
    """Faults in force, in order: a request meets the first one that takes it, and only that one."""

    active: list[Fault] = field(default_factory=list)

    def next(self) -> Fault | None:
        """The fault that the present request meets; ones that are over are dropped."""
        hit = next((fault for fault in self.active if fault.kind != "refuse" and fault.take()), None)
        self.active = [fault for fault in self.active if not fault.over or fault.kind == "refuse"]
        return hit

    @property
    def refusing(self) -> bool:
        """Whether the provider must not listen."""
        return any(fault.kind == "refuse" for fault in self.active)
