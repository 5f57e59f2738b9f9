"""Server-sent events, and whether an answer is whole.

The form: https://html.spec.whatwg.org/multipage/server-sent-events.html.

Providers end a whole stream in their own ways: `[DONE]` (OpenAI's completions), `message_stop` (Anthropic),
`response.completed` (OpenAI's responses).
"""

from dataclasses import dataclass
from typing import Any, Final

import orjson

__all__ = ["ENDS", "Event", "Events", "is_whole"]

ENDS: Final = frozenset({"message_stop", "response.completed", "response.incomplete"})
"""Types of last events."""

LONGEST: Final = 4 * 1024 * 1024
"""Longest single event."""


@dataclass(frozen=True, slots=True)
class Event:
    """One event: `raw` as it came, with its blank line."""

    raw: bytes
    data: bytes | None
    """Joined data lines; None for comments and events without any."""

    @property
    def document(self) -> Any:
        """The data as JSON. Raises ValueError where it is none."""
        return orjson.loads(self.data or b"")

    @property
    def done(self) -> bool:
        """Whether it is `[DONE]`."""
        return self.data == b"[DONE]"


class Events:
    """Cuts a stream of bytes into events."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, part: bytes) -> list[Event]:
        """The events that are complete with this part. Raises ValueError for one that is too long."""
        given = self._rest + part
        if b"\r" in given:
            held = given.endswith(b"\r")  # a line feed may follow in the next part
            given = given[:-1] if held else given
            given = given.replace(b"\r\n", b"\n").replace(b"\r", b"\n") + (b"\r" if held else b"")
        *whole, self._rest = given.split(b"\n\n")
        if len(self._rest) > LONGEST:
            raise ValueError("an event is too long")
        return [_event(each + b"\n\n") for each in whole if each.strip(b"\n")]

    @property
    def rest(self) -> bytes:
        """What came after the last whole event."""
        return self._rest


def _event(raw: bytes) -> Event:
    lines = [line[5:].removeprefix(b" ") for line in raw.split(b"\n") if line.startswith(b"data:")]
    return Event(raw, b"\n".join(lines) if lines else None)


def is_whole(body: bytes, *, stream: bool) -> bool:
    """Whether an answer's body is complete and no error."""
    if stream:
        events = Events()
        try:
            found = [event for event in events.feed(body) if event.data is not None]
            documents = [event.document for event in found if not event.done]
        except ValueError:
            return False
        if events.rest.strip() or not found:
            return False
        if any(not isinstance(each, dict) or each.get("error") for each in documents):
            return False
        return found[-1].done or documents[-1].get("type") in ENDS
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        return False
    return isinstance(document, dict) and not document.get("error")
