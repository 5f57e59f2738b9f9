"""A stream of Anthropic's events as OpenAI's chunks.

::

    message_start ──► role     text_delta ──► content     tool_use, input_json_delta ──► tool_calls
    message_delta ──► finish_reason      message_stop ──► usage if asked for, [DONE]      ping ──► comment
    error, anything broken, an end without message_delta ──► error, and nothing more
"""

from typing import Any

import orjson

from moltbot_worker.sse import Event
from moltbot_worker.translation.failures import openai_error
from moltbot_worker.translation.stream import Stream
from moltbot_worker.translation.terms import AnswerUnreadable, Json
from moltbot_worker.translation.usage import finish_reason, usage_for_openai

__all__ = ["ChatChunks"]


class ChatChunks(Stream):
    """`now`: seconds since 1970; `usage`: whether the client asked for it (`include_usage`)."""

    def __init__(self, now: int, *, usage: bool) -> None:
        super().__init__()
        self._head: Json = {"id": "msg", "object": "chat.completion.chunk", "created": now, "model": ""}
        self._wants_usage = usage
        self._usage: Json = {}
        self._calls: dict[Any, int] = {}
        """Index of a block → of a tool call."""
        self._silent: set[Any] = set()
        """Blocks of calls without arguments so far."""
        self._finished = False

    def _whole(self) -> bool:
        return self._finished

    def _event(self, event: Event, made: list[bytes]) -> None:
        made.append(self._meaning(event))

    def _meaning(self, event: Event) -> bytes:  # noqa: C901, PLR0911 - one case a type
        if event.data is None:
            return b""
        document = event.document
        match document["type"]:
            case "message_start":
                return self._begin(document["message"])
            case "content_block_start":
                return self._block(document["index"], document["content_block"])
            case "content_block_delta":
                return self._delta(document["index"], document["delta"])
            case "content_block_stop" if document["index"] in self._silent:
                return self._arguments(document["index"], "{}")
            case "message_delta":
                return self._ending(document)
            case "message_stop":
                if not self._finished:
                    raise AnswerUnreadable("an end that nothing led to")
                return self._end()
            case "ping":
                return b": ping\n\n"
            case "error":
                return self._reported(document["error"])
        return b""

    def _begin(self, message: Json) -> bytes:
        self._head["id"] = str(message["id"])
        self._head["model"] = str(message["model"])
        self._usage = dict(message.get("usage") or {})
        return self._chunk({"role": "assistant", "content": ""})

    def _block(self, at: Any, block: Json) -> bytes:
        match block["type"]:
            case "text":
                return self._chunk({"content": block["text"]}) if block.get("text") else b""
            case "tool_use":
                number = self._calls[at] = len(self._calls)
                function = {"name": str(block["name"]), "arguments": ""}
                call = {"index": number, "id": str(block["id"]), "type": "function", "function": function}
                begun = self._chunk({"tool_calls": [call]})
                if block.get("input"):
                    return begun + self._arguments(at, orjson.dumps(block["input"]).decode())
                self._silent.add(at)
                return begun
        return b""

    def _delta(self, at: Any, delta: Json) -> bytes:
        match delta["type"]:
            case "text_delta":
                return self._chunk({"content": delta["text"]}) if delta["text"] else b""
            case "input_json_delta":
                if at not in self._calls:
                    return b""  # of a tool that Anthropic itself runs
                return self._arguments(at, str(delta["partial_json"])) if delta["partial_json"] else b""
        return b""

    def _arguments(self, at: Any, text: str) -> bytes:
        self._silent.discard(at)
        return self._chunk({"tool_calls": [{"index": self._calls[at], "function": {"arguments": text}}]})

    def _ending(self, document: Json) -> bytes:
        told = document.get("usage") or {}
        self._usage |= {name: value for name, value in told.items() if value is not None}
        reason = document["delta"].get("stop_reason")
        if not reason or self._finished:
            return b""
        self._finished = True
        return self._chunk({}, finish_reason(reason))

    def _chunk(self, delta: Json, finish: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        more = {"usage": None} if self._wants_usage else {}
        return _data({**self._head, "choices": [choice], **more})

    def _end(self) -> bytes:
        self.ended = True
        usage = _data({**self._head, "choices": [], "usage": usage_for_openai(self._usage)})
        return (usage if self._wants_usage else b"") + b"data: [DONE]\n\n"

    def _failed(self, message: str) -> bytes:
        return self._reported({"message": message})

    def _reported(self, error: Any) -> bytes:
        self.ended = True
        given = error if isinstance(error, dict) else {}
        return _data(openai_error(given))


def _data(document: Json) -> bytes:
    return b"data: " + orjson.dumps(document) + b"\n\n"
