"""What a stream's events mean: a token, the end, or a break. Pure.

==============  ==================================================  ==========================================
operation       a token                                             the end
==============  ==================================================  ==========================================
chat,           a delta with anything but a role; a finish reason   `[DONE]`
completions
messages        `content_block_delta`, `message_delta`              `message_stop`
responses       an event whose type ends in `.delta`, or an end     `response.completed`, `.incomplete`
==============  ==================================================  ==========================================
"""

from collections.abc import Callable  # noqa: TC003 - as everywhere
from typing import Any, Final, Literal

import orjson

from moltbot_worker.sse import ENDS, Event

__all__ = ["Failure", "Reading", "StreamBroken", "error_event", "reads"]

Failure = Literal["late", "stall", "cut", "broken", "end", "error", "refused"]

_SAID: Final[dict[Failure, str]] = {
    "late": "its first token came too late",
    "stall": "it fell silent",
    "cut": "its connection broke",
    "broken": "it sent a broken event",
    "end": "it ended without its end",
    "error": "it reported an error",
    "refused": "it refused to go on",
}


class StreamBroken(Exception):  # noqa: N818
    """A stream that is no whole answer, and how that was seen."""

    def __init__(self, kind: Failure) -> None:
        super().__init__(_SAID[kind])
        self.kind: Failure = kind


class Reading:
    """What was seen of one stream.

    `text` is all that the client was given, also by streams before this one; `plain` tells whether that text
    is the whole answer so far, so that another backend can go on from it.
    """

    def __init__(self, operation: str, text: str = "") -> None:
        self._see: Callable[[Any], bool] = {
            "chat/completions": self._chat,
            "completions": self._completion,
            "messages": self._message,
            "responses": self._response,
        }[operation]
        self.text = text
        self.plain = operation != "responses"
        self.begun = False
        """Whether a token came."""
        self.finished = False
        """Whether the answer is complete, though the stream's own end may be missing."""
        self.ended = False
        self.block_open = False
        """Messages: whether a content block was begun and not ended."""
        self.blocks = 0
        """Messages: how many blocks were begun."""

    def see(self, event: Event) -> bool:
        """Whether the event is a token or the end. Raises StreamBroken."""
        if event.data is None:
            return False
        if event.done:
            self.ended = True
            if not self.finished:
                raise StreamBroken("end")  # an end that nothing led to: the answer is not whole
            return True
        try:
            document = event.document
        except ValueError as error:
            raise StreamBroken("broken") from error
        if not isinstance(document, dict):
            raise StreamBroken("broken")
        if document.get("error") or document.get("type") in {"error", "response.failed"}:
            raise StreamBroken("error")
        text = self.text
        try:
            token = self._see(document)
        except (AttributeError, IndexError, KeyError, TypeError) as error:
            self.text = text  # of a broken event the client is given nothing
            raise StreamBroken("broken") from error
        self.begun = self.begun or token
        return token

    def close(self) -> None:
        """The stream is over. Raises StreamBroken where the answer is not whole."""
        if not (self.ended or self.finished):
            raise StreamBroken("end")

    def _chat(self, document: dict[str, Any]) -> bool:
        token = False
        for choice in document["choices"]:
            delta = choice.get("delta") or {}
            content = delta.get("content")
            more = [name for name, value in delta.items() if name not in {"role", "content"} and value]
            if choice.get("index", 0) or more:
                self.plain = False
            if content:
                self.text += content
            if choice.get("finish_reason"):
                self.finished = True
            token = token or bool(content or more or choice.get("finish_reason"))
        return token

    def _completion(self, document: dict[str, Any]) -> bool:
        token = False
        self.plain = False  # a completion has no message of an assistant to go on from
        for choice in document["choices"]:
            self.finished = self.finished or bool(choice.get("finish_reason"))
            token = token or bool(choice.get("text") or choice.get("finish_reason"))
        return token

    def _message(self, document: dict[str, Any]) -> bool:
        match document["type"]:
            case "content_block_start":
                self.block_open = True
                self.blocks += 1
                block = document["content_block"]
                self.plain = self.plain and block["type"] == "text"
                self.text += block.get("text") or ""
            case "content_block_stop":
                self.block_open = False
            case "content_block_delta":
                delta = document["delta"]
                self.text += delta.get("text", "")
                self.plain = self.plain and delta["type"] == "text_delta"
                return True
            case "message_delta":
                self.finished = bool(document["delta"].get("stop_reason"))
                return True
            case "message_stop":
                self.ended = True
                if not self.finished:
                    raise StreamBroken("end")
                return True
        return False

    def _response(self, document: dict[str, Any]) -> bool:
        kind = str(document["type"])
        if kind in ENDS:
            self.ended = self.finished = True
        return kind.endswith(".delta") or kind in ENDS


def reads(operation: str) -> bool:
    """Whether streams of this operation can be watched."""
    return operation in {"chat/completions", "completions", "messages", "responses"}


def error_event(operation: str, broken: StreamBroken) -> bytes:
    """The last event of an answer that is not whole, in the form that the operation's SDKs raise on."""
    message = f"The stream of the backend is not whole: {broken}."
    if operation == "messages":
        said: dict[str, Any] = {"type": "error", "error": {"type": "api_error", "message": message}}
        return b"event: error\ndata: " + orjson.dumps(said) + b"\n\n"
    if operation == "responses":
        said = {"type": "error", "code": "stream_broken", "message": message, "param": None}
        return b"event: error\ndata: " + orjson.dumps(said) + b"\n\n"
    said = {"error": {"message": message, "type": "server_error", "param": None, "code": "stream_broken"}}
    return b"data: " + orjson.dumps(said) + b"\n\n"
