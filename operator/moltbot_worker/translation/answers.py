"""Whole answers: Anthropic's message as OpenAI's completion, and the other way round."""

from typing import Any

import orjson

from moltbot_worker.translation.terms import AnswerUnreadable, Json
from moltbot_worker.translation.usage import (
    finish_reason,
    stop_reason,
    usage_for_anthropic,
    usage_for_openai,
)

__all__ = ["completion", "message", "stopped_by"]


def completion(document: Any, now: int) -> Json:
    """A completion for a message; `now` in seconds since 1970. Raises AnswerUnreadable."""
    if not isinstance(document, dict) or not isinstance(document.get("content"), list):
        raise AnswerUnreadable("it is no message of Anthropic's API")
    texts: list[str] = []
    calls: list[Json] = []
    for block in document["content"]:
        match block:
            case {"type": "text", "text": str(text)}:
                texts.append(text)
            case {"type": "tool_use", "id": str(identity), "name": str(name), "input": dict(given)}:
                function = {"name": name, "arguments": orjson.dumps(given).decode()}
                calls.append({"id": identity, "type": "function", "function": function})
            case {"type": "text" | "tool_use"}:
                raise AnswerUnreadable("a block of its message is broken")
    said: Json = {"role": "assistant", "content": "".join(texts) if texts else None, "refusal": None}
    if calls:
        said["tool_calls"] = calls
    finish = finish_reason(document.get("stop_reason"))
    return {
        "id": str(document.get("id") or "msg"),
        "object": "chat.completion",
        "created": now,
        "model": str(document.get("model") or ""),
        "choices": [{"index": 0, "message": said, "logprobs": None, "finish_reason": finish}],
        "usage": usage_for_openai(document.get("usage")),
    }


def message(document: Any, stops: tuple[str, ...] = ()) -> Json:
    """A message for a completion; `stops`: sequences that the client asked for. Raises AnswerUnreadable."""
    match document:
        case {"choices": [{"message": dict(said)} as choice, *_]}:
            pass
        case _:
            raise AnswerUnreadable("it is no completion of OpenAI's API")
    content: list[Json] = []
    text = said.get("content")
    refused = said.get("refusal")
    for each in (text, refused):
        if isinstance(each, str) and each:
            content.append({"type": "text", "text": each})
        elif each is not None and not isinstance(each, str):
            raise AnswerUnreadable("the text of its message is broken")
    content += [_use(call) for call in said.get("tool_calls") or []]
    stop, sequence = stopped_by(choice, stops)
    return {
        "id": str(document.get("id") or "chatcmpl"),
        "type": "message",
        "role": "assistant",
        "model": str(document.get("model") or ""),
        "content": content,
        "stop_reason": "refusal" if refused else stop,
        "stop_sequence": sequence,
        "usage": usage_for_anthropic(document.get("usage")),
    }


def stopped_by(choice: Json, stops: tuple[str, ...]) -> tuple[str, str | None]:
    """Stop reason, and the sequence: some servers of open models (vLLM) say which one it was."""
    told = choice.get("stop_reason")
    if choice.get("finish_reason") == "stop" and isinstance(told, str) and told in stops:
        return "stop_sequence", told
    return stop_reason(choice.get("finish_reason")), None


def _use(call: Any) -> Json:
    match call:
        case {"id": str(identity), "function": {"name": str(name), "arguments": str(arguments)}}:
            try:
                given = orjson.loads(arguments or "{}")
            except orjson.JSONDecodeError:
                given = None
            if isinstance(given, dict):
                return {"type": "tool_use", "id": identity, "name": name, "input": given}
    raise AnswerUnreadable("a tool call of its message is broken")
