"""How a stream that broke goes on at another backend: what that is asked, and how its events join. Pure."""

from dataclasses import replace
from typing import Any

import orjson

from moltbot_worker.exchange import Request
from moltbot_worker.sse import Event
from moltbot_worker.translating import foreign
from moltbot_worker.upstream import for_backend
from moltbot_worker.watching import Reading

__all__ = ["Joint", "continuation"]


def continuation(request: Request, label: str, text: str) -> Request | None:
    """The request that lets a backend go on after `text`; None where it can't."""
    backend = request.rule.backends[label]
    form = backend.prefill
    messages = (request.document or {}).get("messages")
    if form == "None" or not isinstance(messages, list) or request.operation == "completions":
        return None
    document = for_backend(request, label)
    begun: dict[str, Any] = {"role": "assistant", "content": text}
    match form:
        case _ if foreign(request, backend.schema_):
            pass  # the translation gives it the backend's own form
        case "Assistant":
            # Anthropic refuses a last message that ends in white space
            begun["content"] = text.rstrip()
            if not begun["content"]:
                return None
        case "Prefix":
            begun["prefix"] = True
        case "ContinueFinalMessage":
            document |= {"continue_final_message": True, "add_generation_prompt": False}
    document["messages"] = [*messages, begun]
    return request.saying(document)


class Joint:
    """Lets a later stream's events follow those of the first one, whose `reading` this is.

    The head of the later stream is left out, and its events take the identity of the answer that the client
    already reads; the model stays the one that really serves.
    """

    def __init__(self, operation: str, identity: str | None, reading: Reading, *, stripped: bool) -> None:
        self._messages = operation == "messages"
        self._identity = identity
        self._open = reading.block_open
        self._first_block = reading.blocks - (1 if reading.block_open else 0)
        self._strip = stripped and reading.text != reading.text.rstrip()
        """Whether white space was taken off what the backend was given: it may send it again."""

    def passed(self, event: Event) -> bytes:
        """The event as the client gets it; empty for none."""
        if event.data is None or event.done:
            return event.raw
        document = event.document
        return self._message(event, document) if self._messages else self._chunk(document)

    def _chunk(self, document: dict[str, Any]) -> bytes:
        for choice in document.get("choices", ()):
            delta = choice.get("delta") or {}
            delta.pop("role", None)
            if delta.get("content"):
                delta["content"] = self._stripped(delta["content"])
            if not any(delta.values()) and not choice.get("finish_reason"):
                return b""
        if self._identity is not None:
            document["id"] = self._identity
        return b"data: " + orjson.dumps(document) + b"\n\n"

    def _message(self, event: Event, document: dict[str, Any]) -> bytes:
        kind = document.get("type")
        if kind == "message_start":
            return b""
        if kind == "content_block_start" and self._open:
            self._open = False
            return b""
        if "index" not in document:
            return event.raw
        document["index"] += self._first_block
        if kind == "content_block_delta" and document["delta"].get("text"):
            document["delta"]["text"] = self._stripped(document["delta"]["text"])
        return b"event: " + str(kind).encode() + b"\ndata: " + orjson.dumps(document) + b"\n\n"

    def _stripped(self, text: str) -> str:
        if not self._strip:
            return text
        left = text.lstrip()
        self._strip = not left
        return left


def identity_of(events: list[Event]) -> str | None:
    """The id of the answer that these events begin, for chat."""
    for event in events:
        if event.data is not None and not event.done and isinstance(found := event.document.get("id"), str):
            return found
    return None


def again(request: Request, label: str) -> Request:
    """The same request for one backend, from the start."""
    return request.saying(for_backend(request, label)) if request.document else replace(request)
