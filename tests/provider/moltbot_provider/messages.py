"""Anthropic's Messages API (https://docs.anthropic.com/en/api/messages)."""

from collections.abc import Iterator, Mapping
from typing import Any

from moltbot_provider import tools
from moltbot_provider.answers import identity, text_of

__all__ = ["count", "error", "message", "message_events"]

_KINDS = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    529: "overloaded_error",
}


def error(status: int, text: str) -> dict[str, Any]:
    """An error as Anthropic reports it."""
    kind = _KINDS.get(status, "api_error")
    return {"type": "error", "error": {"type": kind, "message": text}, "request_id": "req_simulated"}


def count(request: Mapping[str, Any]) -> dict[str, int]:
    """`POST /messages/count_tokens`."""
    return {"input_tokens": max(1, len(str(request.get("messages", ""))) // 4)}


def message(name: str, request: Mapping[str, Any], length: int) -> dict[str, Any]:
    """`POST /messages` without streaming."""
    model = str(request.get("model", name))
    words = text_of(name, model, length)
    content: list[dict[str, Any]] = [{"type": "text", "text": "".join(words)}]
    reason = "end_turn"
    if tools.wants_tool(request):
        called, given = tools.called(request, name)
        content = [
            {"type": "tool_use", "id": identity("toolu", name, request), "name": called, "input": given}
        ]
        reason = "tool_use"
    return {
        "id": identity("msg", name, request),
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": content,
        "stop_reason": reason,
        "stop_sequence": None,
        "usage": {**count(request), "output_tokens": len(words)},
    }


def message_events(name: str, request: Mapping[str, Any], length: int) -> Iterator[dict[str, Any]]:
    """The events of a streamed message, in Anthropic's order."""
    whole = message(name, request, length)
    (block,) = whole["content"]
    usage = {**whole["usage"], "output_tokens": 1}
    yield {
        "type": "message_start",
        "message": {**whole, "content": [], "stop_reason": None, "usage": usage},
    }
    yield {"type": "ping"}
    if block["type"] == "text":
        yield {"type": "content_block_start", "index": 0, "content_block": {**block, "text": ""}}
        for word in text_of(name, whole["model"], length):
            delta = {"type": "text_delta", "text": word}
            yield {"type": "content_block_delta", "index": 0, "delta": delta}
    else:
        yield {"type": "content_block_start", "index": 0, "content_block": {**block, "input": {}}}
        for part in tools.pieces(block["input"]):
            delta = {"type": "input_json_delta", "partial_json": part}
            yield {"type": "content_block_delta", "index": 0, "delta": delta}
    yield {"type": "content_block_stop", "index": 0}
    ending = {"stop_reason": whole["stop_reason"], "stop_sequence": None}
    yield {
        "type": "message_delta",
        "delta": ending,
        "usage": {"output_tokens": whole["usage"]["output_tokens"]},
    }
    yield {"type": "message_stop"}
