"""Answers that a schema prescribes: function calls and structured output."""

import json
from collections.abc import Mapping
from typing import Any

__all__ = ["called", "example", "pieces", "structured", "wants_tool"]


def pieces(value: Any) -> list[str]:
    """A value's JSON in two parts, as it is streamed."""
    text = json.dumps(value)
    return [text[: len(text) // 2], text[len(text) // 2 :]]


def example(schema: Any, name: str) -> Any:  # noqa: PLR0911 - one line a type
    """A value that the JSON schema allows; strings name the server."""
    if not isinstance(schema, dict):
        return None
    if "enum" in schema:
        return schema["enum"][0]
    match schema.get("type"):
        case "object":
            return {key: example(each, name) for key, each in schema.get("properties", {}).items()}
        case "array":
            return [example(schema.get("items"), name)]
        case "integer" | "number":
            return 7
        case "boolean":
            return True
        case "null":
            return None
    return name


def wants_tool(request: Mapping[str, Any]) -> bool:
    """Whether the answer is a call: tools are given, and no result of one is the last message."""
    messages = request.get("messages", request.get("input", []))
    last = messages[-1] if isinstance(messages, list) and messages else {}
    answered = isinstance(last, dict) and (
        last.get("role") == "tool"
        or last.get("type") == "function_call_output"
        or any(
            isinstance(part, dict) and part.get("type") == "tool_result"
            for part in (last.get("content") if isinstance(last.get("content"), list) else [])
        )
    )
    return bool(request.get("tools")) and request.get("tool_choice") != "none" and not answered


def called(request: Mapping[str, Any], name: str) -> tuple[str, Any]:
    """Name and arguments of the call: the first tool's, whichever API wrote it."""
    tool = request["tools"][0]
    function = tool.get("function", tool)
    schema = function.get("parameters", function.get("input_schema"))
    return str(function["name"]), example(schema, name)


def structured(request: Mapping[str, Any], name: str) -> str | None:
    """The text of a structured answer; None where none is asked for."""
    form = request.get("response_format")
    if not isinstance(form, dict):
        return None
    if form.get("type") == "json_schema":
        return json.dumps(example(form["json_schema"]["schema"], name))
    return json.dumps({"server": name}) if form.get("type") == "json_object" else None
