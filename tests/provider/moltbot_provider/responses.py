"""OpenAI's Responses API (https://platform.openai.com/docs/api-reference/responses)."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from moltbot_provider import tools
from moltbot_provider.answers import CREATED, identity, text_of

__all__ = ["response", "response_events"]


def response(name: str, request: Mapping[str, Any], length: int) -> dict[str, Any]:
    """`POST /responses` without streaming."""
    model = str(request.get("model", name))
    words = text_of(name, model, length)
    text = {"type": "output_text", "text": "".join(words), "annotations": []}
    item: dict[str, Any] = {
        "type": "message",
        "id": identity("msg", name, request),
        "status": "completed",
        "role": "assistant",
        "content": [text],
    }
    if tools.wants_tool(request):
        called, given = tools.called(request, name)
        item = {
            "type": "function_call",
            "id": identity("fc", name, request),
            "call_id": identity("call", name, request),
            "name": called,
            "arguments": json.dumps(given),
            "status": "completed",
        }
    asked = max(1, len(str(request.get("input", ""))) // 4)
    return {
        "id": identity("resp", name, request),
        "object": "response",
        "created_at": CREATED,
        "status": "completed",
        "error": None,
        "incomplete_details": None,
        "instructions": request.get("instructions"),
        "metadata": {},
        "model": model,
        "output": [item],
        "parallel_tool_calls": True,
        "previous_response_id": request.get("previous_response_id"),
        "store": request.get("store", True),
        "temperature": 1.0,
        "tool_choice": "auto",
        "tools": request.get("tools", []),
        "top_p": 1.0,
        "usage": {
            "input_tokens": asked,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": len(words),
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": asked + len(words),
        },
    }


def response_events(whole: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The events of a streamed response, numbered."""
    for number, event in enumerate(_events(whole)):
        yield {**event, "sequence_number": number}


def _events(whole: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    (item,) = whole["output"]
    started = {**whole, "status": "in_progress", "output": [], "usage": None}
    yield {"type": "response.created", "response": started}
    yield {"type": "response.in_progress", "response": started}
    at: dict[str, Any] = {"output_index": 0, "item_id": item["id"]}
    if item["type"] == "message":
        (part,) = item["content"]
        yield {"type": "response.output_item.added", "output_index": 0, "item": {**item, "content": []}}
        at["content_index"] = 0
        yield {"type": "response.content_part.added", **at, "part": {**part, "text": ""}}
        for word in re.findall(r" ?\S+", part["text"]):
            yield {"type": "response.output_text.delta", **at, "delta": word, "logprobs": []}
        yield {"type": "response.output_text.done", **at, "text": part["text"], "logprobs": []}
        yield {"type": "response.content_part.done", **at, "part": part}
    else:
        yield {"type": "response.output_item.added", "output_index": 0, "item": {**item, "arguments": ""}}
        yield {"type": "response.function_call_arguments.delta", **at, "delta": item["arguments"]}
        done = {"arguments": item["arguments"], "name": item["name"]}
        yield {"type": "response.function_call_arguments.done", **at, **done}
    yield {"type": "response.output_item.done", "output_index": 0, "item": item}
    yield {"type": "response.completed", "response": dict(whole)}
