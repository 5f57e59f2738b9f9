"""A stream of OpenAI's chunks as Anthropic's events.

::

    first chunk ──► message_start    content ──► a text block     tool_calls ──► tool_use blocks
    finish_reason, then usage, [DONE] ──► message_delta, message_stop
    error, anything broken, an end without finish_reason ──► error, and nothing more

Anthropic's blocks come one after the other, OpenAI's calls may come mingled: the first call is passed on as
it comes, and what comes besides it waits until the answer ends. Until then nobody can act on it anyway.
"""

from typing import Any

import orjson

from moltbot_worker.sse import Event
from moltbot_worker.translation.answers import stopped_by
from moltbot_worker.translation.failures import anthropic_error
from moltbot_worker.translation.stream import Stream
from moltbot_worker.translation.terms import AnswerUnreadable, Json
from moltbot_worker.translation.usage import usage_for_anthropic

__all__ = ["MessageEvents"]

_FAULT = 500
"""Errors within a stream have no status of their own."""


class _Call:
    """A tool call so far; `arguments` are those not passed on yet."""

    def __init__(self) -> None:
        self.identity = ""
        self.name = ""
        self.arguments = ""

    def add(self, given: Json) -> None:
        function = given.get("function") or {}
        self.identity = self.identity or _text(given.get("id"))
        self.name = self.name or _text(function.get("name"))
        self.arguments += _text(function.get("arguments"))


class MessageEvents(Stream):
    """`stops`: sequences that the client asked for."""

    def __init__(self, stops: tuple[str, ...] = ()) -> None:
        super().__init__()
        self._stops = stops
        self._begun = False
        self._blocks = 0
        """How many were begun; the last one is open if `_open`."""
        self._open = ""
        self._live: Any = None
        """Index of the call that is passed on as it comes."""
        self._calls: dict[Any, _Call] = {}
        self._later = ""
        """Text that came after the first call."""
        self._refused = False
        self._ending: tuple[str, str | None] | None = None
        self._usage: Any = None

    def _whole(self) -> bool:
        return self._ending is not None

    def _event(self, event: Event, made: list[bytes]) -> None:
        if event.data is None:
            if self._begun:
                made.append(_named({"type": "ping"}))
            return
        if event.done:
            made.append(self.close())
            return
        document = event.document
        if document.get("error"):
            self.ended = True
            made.append(_named(anthropic_error(document["error"], _FAULT)))
            return
        if not self._begun:
            self._begun = True
            made.append(self._begin(document))
        self._usage = document.get("usage") or self._usage
        for choice in document.get("choices") or ():
            if choice.get("index", 0) == 0:
                self._choice(choice, made)

    def _begin(self, document: Json) -> bytes:
        message: Json = {
            "id": _text(document.get("id")) or "chatcmpl",
            "type": "message",
            "role": "assistant",
            "model": _text(document.get("model")),
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": usage_for_anthropic(None),
        }
        return _named({"type": "message_start", "message": message})

    def _choice(self, choice: Json, made: list[bytes]) -> None:
        delta = choice.get("delta") or {}
        refusal = _text(delta.get("refusal"))
        self._refused = self._refused or bool(refusal)
        if text := _text(delta.get("content")) + refusal:
            self._say(text, made)
        for call in delta.get("tool_calls") or ():
            self._call(call, made)
        if choice.get("finish_reason"):
            reason, sequence = stopped_by(choice, self._stops)
            self._ending = ("refusal" if self._refused else reason), sequence
            self._rest(made)

    def _say(self, text: str, made: list[bytes]) -> None:
        if self._live is not None:
            self._later += text
            return
        if not self._open:
            made.append(self._start("text", {"type": "text", "text": ""}))
        made.append(self._delta({"type": "text_delta", "text": text}))

    def _call(self, given: Json, made: list[bytes]) -> None:
        at = given.get("index", 0)
        call = self._calls.setdefault(at, _Call())
        call.add(given)
        if self._live is None and call.name:
            self._live = at
            self._stop(made)
            self._use(call, made)
        if at == self._live and call.arguments:
            made.append(self._delta({"type": "input_json_delta", "partial_json": call.arguments}))
            call.arguments = ""

    def _rest(self, made: list[bytes]) -> None:
        """All that waited for the first call's end."""
        self._stop(made)
        live, self._live = self._live, None
        if self._later:
            text, self._later = self._later, ""
            self._say(text, made)
            self._stop(made)
        for at, call in self._calls.items():
            if at == live:
                continue
            if not call.name:
                raise AnswerUnreadable("a call without a name")
            self._use(call, made)
            if call.arguments:
                made.append(self._delta({"type": "input_json_delta", "partial_json": call.arguments}))
            self._stop(made)
        self._calls.clear()

    def _use(self, call: _Call, made: list[bytes]) -> None:
        identity = call.identity or f"toolu_{self._blocks}"
        block = {"type": "tool_use", "id": identity, "name": call.name, "input": {}}
        made.append(self._start("tool_use", block))

    def _start(self, kind: str, block: Json) -> bytes:
        self._open = kind
        self._blocks += 1
        return _named({"type": "content_block_start", "index": self._blocks - 1, "content_block": block})

    def _delta(self, delta: Json) -> bytes:
        return _named({"type": "content_block_delta", "index": self._blocks - 1, "delta": delta})

    def _stop(self, made: list[bytes]) -> None:
        if self._open:
            self._open = ""
            made.append(_named({"type": "content_block_stop", "index": self._blocks - 1}))

    def _end(self) -> bytes:
        self.ended = True
        reason, sequence = self._ending or ("end_turn", None)
        delta = {"stop_reason": reason, "stop_sequence": sequence}
        usage = usage_for_anthropic(self._usage)
        return _named({"type": "message_delta", "delta": delta, "usage": usage}) + _named(
            {"type": "message_stop"}
        )

    def _failed(self, message: str) -> bytes:
        self.ended = True
        return _named(anthropic_error({"message": message}, _FAULT))


def _text(value: Any) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise AnswerUnreadable("a field that must be a string is none")
    return value


def _named(document: Json) -> bytes:
    return b"event: " + str(document["type"]).encode() + b"\ndata: " + orjson.dumps(document) + b"\n\n"
