"""Deterministic answers in the shape of OpenAI's API; equal requests get equal bytes.

The content names the server and the model it was asked for, so that a client can tell who served it.
"""

import base64
import hashlib
import json
import struct
from collections.abc import Iterator, Mapping
from typing import Any

from moltbot_provider import tools

__all__ = [
    "CREATED",
    "chat",
    "chat_events",
    "completion",
    "completion_events",
    "embeddings",
    "error",
    "identity",
    "model",
    "models",
    "text_of",
    "words",
]

CREATED = 1_700_000_000
"""A fixed time, since equal requests get equal bytes."""


def error(message: str, kind: str, code: str | None = None, param: str | None = None) -> dict[str, Any]:
    """An error as every OpenAI operation reports it."""
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def words(request: Mapping[str, Any], default: int) -> int:
    """Words of the answer: the client's `max_tokens` or `max_completion_tokens`, else `default`."""
    asked = request.get("max_completion_tokens", request.get("max_tokens"))
    return min(asked, 10_000) if isinstance(asked, int) and asked > 0 else default


def text_of(name: str, model: str, count: int) -> list[str]:
    """`count` words; the first two name server and model, and each but the first begins with a space."""
    given = [f"server={name}", f" model={model}", *(f" word{n}" for n in range(3, count + 1))]
    return given[: max(count, 2)]


def _usage(request: Mapping[str, Any], produced: int) -> dict[str, int]:
    prompt = max(
        1, len(json.dumps(request.get("messages", request.get("prompt", request.get("input", ""))))) // 4
    )
    return {"prompt_tokens": prompt, "completion_tokens": produced, "total_tokens": prompt + produced}


def identity(prefix: str, name: str, request: Mapping[str, Any]) -> str:
    """An id that is a function of server and request."""
    return (
        f"{prefix}-{hashlib.sha256((name + json.dumps(request, sort_keys=True)).encode()).hexdigest()[:24]}"
    )


def chat(name: str, request: Mapping[str, Any], count: int, finish: str = "stop") -> dict[str, Any]:
    """`POST /chat/completions` without streaming; `finish` content_filter gives no content."""
    model = str(request.get("model", name))
    text = [] if finish == "content_filter" else text_of(name, model, count)
    message: dict[str, Any] = {"role": "assistant", "content": "".join(text), "refusal": None}
    if finish == "stop" and tools.wants_tool(request):
        message |= {"content": None, "tool_calls": [_tool_call(name, request)]}
        finish = "tool_calls"
    elif (written := tools.structured(request, name)) is not None:
        message["content"] = written
    return {
        "id": identity("chatcmpl", name, request),
        "object": "chat.completion",
        "created": CREATED,
        "model": model,
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": finish}],
        "usage": _usage(request, len(text)),
    }


def _tool_call(name: str, request: Mapping[str, Any]) -> dict[str, Any]:
    called, given = tools.called(request, name)
    function = {"name": called, "arguments": json.dumps(given)}
    return {"id": identity("call", name, request), "type": "function", "function": function}


def chat_events(
    name: str, request: Mapping[str, Any], count: int, finish: str = "stop"
) -> Iterator[dict[str, Any]]:
    """The chunks of a streamed chat completion: role, one a word, finish, usage if asked for."""
    model = str(request.get("model", name))
    text = [] if finish == "content_filter" else text_of(name, model, count)
    head = {
        "id": identity("chatcmpl", name, request),
        "object": "chat.completion.chunk",
        "created": CREATED,
        "model": model,
    }

    def chunk(delta: dict[str, Any], reason: str | None = None) -> dict[str, Any]:
        return {**head, "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}]}

    yield chunk({"role": "assistant", "content": ""})
    if finish == "stop" and tools.wants_tool(request):
        finish = "tool_calls"
        call = {"index": 0, **_tool_call(name, request)}
        yield chunk({"tool_calls": [{**call, "function": {**call["function"], "arguments": ""}}]})
        for part in tools.pieces(tools.called(request, name)[1]):
            yield chunk({"tool_calls": [{"index": 0, "function": {"arguments": part}}]})
    else:
        written = None if finish == "content_filter" else tools.structured(request, name)
        for word in text if written is None else [written]:
            yield chunk({"content": word})
    yield chunk({}, finish)
    options = request.get("stream_options")
    if isinstance(options, dict) and options.get("include_usage"):
        yield {**head, "choices": [], "usage": _usage(request, len(text))}


def completion(name: str, request: Mapping[str, Any], count: int, finish: str = "stop") -> dict[str, Any]:
    """`POST /completions` without streaming."""
    model = str(request.get("model", name))
    text = [] if finish == "content_filter" else text_of(name, model, count)
    return {
        "id": identity("cmpl", name, request),
        "object": "text_completion",
        "created": CREATED,
        "model": model,
        "choices": [{"index": 0, "text": "".join(text), "logprobs": None, "finish_reason": finish}],
        "usage": _usage(request, len(text)),
    }


def completion_events(
    name: str, request: Mapping[str, Any], count: int, finish: str = "stop"
) -> Iterator[dict[str, Any]]:
    """The chunks of a streamed completion: one a word, then the finish."""
    model = str(request.get("model", name))
    head = {
        "id": identity("cmpl", name, request),
        "object": "text_completion",
        "created": CREATED,
        "model": model,
    }
    for word in [] if finish == "content_filter" else text_of(name, model, count):
        yield {**head, "choices": [{"index": 0, "text": word, "logprobs": None, "finish_reason": None}]}
    yield {**head, "choices": [{"index": 0, "text": "", "logprobs": None, "finish_reason": finish}]}


def embeddings(name: str, request: Mapping[str, Any]) -> dict[str, Any]:
    """`POST /embeddings`: vectors of 8 numbers, a function of server and input."""
    given = request.get("input", "")
    inputs = (
        given if isinstance(given, list) and not all(isinstance(item, int) for item in given) else [given]
    )
    data = []
    for index, item in enumerate(inputs):
        digest = hashlib.sha256((name + json.dumps(item)).encode()).digest()
        vector: Any = [byte / 255 for byte in digest[:8]]
        if request.get("encoding_format") == "base64":  # what OpenAI's SDK asks for by itself
            vector = base64.b64encode(struct.pack("<8f", *vector)).decode()
        data.append({"object": "embedding", "index": index, "embedding": vector})
    usage = _usage(request, 0)
    return {
        "object": "list",
        "data": data,
        "model": str(request.get("model", name)),
        "usage": {key: usage[key] for key in ("prompt_tokens", "total_tokens")},
    }


def models(names: tuple[str, ...], owner: str) -> dict[str, Any]:
    """`GET /models`."""
    return {"object": "list", "data": [model(name, owner) for name in names]}


def model(name: str, owner: str) -> dict[str, Any]:
    """`GET /models/{id}`."""
    return {"id": name, "object": "model", "created": CREATED, "owned_by": owner}
