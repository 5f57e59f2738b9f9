"""What an operation answers, before faults and the wire."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Refused", "Reply", "data_frames", "named_frames"]


@dataclass(frozen=True)
class Reply:
    """A document or bytes; or, with `frames`, a stream of server-sent events that `end` closes."""

    body: Any = None
    status: int = 200
    content_type: str = "application/json"
    frames: tuple[str, ...] | None = None
    end: str = ""
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def content(self) -> bytes:
        """The body as it goes over the wire."""
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()


class Refused(Exception):  # noqa: N818
    """The request can't be served: status, message, code and parameter as OpenAI names them."""

    def __init__(self, status: int, message: str, code: str | None = None, param: str | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.code, self.param = status, message, code, param


def data_frames(events: Iterable[dict[str, Any]]) -> Reply:
    """A stream as chat completions have it: data only, then [DONE]."""
    frames = tuple(f"data: {json.dumps(event)}\n\n" for event in events)
    return Reply(frames=frames, end="data: [DONE]\n\n")


def named_frames(events: Iterable[dict[str, Any]]) -> Reply:
    """A stream as the Responses and Messages APIs have it: each event is named after its type."""
    return Reply(frames=tuple(f"event: {each['type']}\ndata: {json.dumps(each)}\n\n" for each in events))
