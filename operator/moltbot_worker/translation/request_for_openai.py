"""A request of Anthropic's messages as one of OpenAI's chat completions."""

from typing import Any, Final, Literal

from moltbot_worker.translation.messages_for_openai import system_text, turns
from moltbot_worker.translation.terms import (
    Json,
    Translated,
    Untranslatable,
    only,
    read,
    read_list,
    read_object,
    read_sampling,
    read_text,
)

__all__ = ["Limit", "Prefill", "request_for_openai"]

Limit = Literal["max_tokens", "max_completion_tokens"]
"""What a backend calls the most tokens of an answer: OpenAI's newer models refuse the first, others don't
know the second."""

Prefill = Literal["None", "Assistant", "Prefix", "ContinueFinalMessage"]
"""How a backend is given an answer that was begun, see config.py."""

_LEFT_OUT: Final = frozenset(
    {"diagnostics", "service_tier", "speed", "thinking", "user_profile_id", "workspace_id"}
)
"""Cost, speed, bookkeeping; and `thinking`, since thoughts are no part of OpenAI's answers."""

_TAKEN: Final = frozenset(
    {
        "cache_control",
        "max_tokens",
        "messages",
        "metadata",
        "model",
        "output_config",
        "stop_sequences",
        "stream",
        "system",
        "temperature",
        "tool_choice",
        "tools",
        "top_p",
    }
)

_TOOL_LEFT_OUT: Final = frozenset({"allowed_callers", "defer_loading", "input_examples"})
_TOOL: Final = frozenset(
    {"cache_control", "description", "eager_input_streaming", "input_schema", "name", "strict", "type"}
)


def request_for_openai(
    document: Json, *, limit: Limit = "max_tokens", prefill: Prefill = "None"
) -> Translated:
    """`POST /chat/completions` for a body of `POST /messages`. Raises Untranslatable."""
    given = {name: value for name, value in document.items() if value is not None}
    without = sorted(_LEFT_OUT & given.keys())
    only(given, _TAKEN | _LEFT_OUT, "", "OpenAI")
    system = system_text(given)
    most = read(given, "max_tokens", int)
    if most is None or most < 1:
        raise Untranslatable(
            "max_tokens", "Anthropic's API wants it, and OpenAI's at least 1", "write a number"
        )
    made: Json = {
        "model": read_text(given, "model"),
        "messages": [
            *([{"role": "system", "content": system}] if system else []),
            *turns(given, without),
        ],
        limit: most,
        **_sampling(given),
        **_tools(given, without),
        **_form(given),
    }
    if read(given, "stream", bool):
        made |= {"stream": True, "stream_options": {"include_usage": True}}
    user = read(read(given, "metadata", dict) or {}, "user_id", str, "metadata.")
    if user:
        made["user"] = user
    _go_on(made, prefill)
    return Translated(made, tuple(without))


def _go_on(made: Json, prefill: Prefill) -> None:
    """A last message of the assistant is the answer's beginning, which OpenAI's own API does not know."""
    messages = made["messages"]
    if not messages or messages[-1]["role"] != "assistant":
        return
    match prefill:
        case "None":
            raise Untranslatable(
                "messages",
                "the last one is the assistant's, and a backend of this rule can't go on from it",
                "let the last one be the user's",
            )
        case "Prefix":
            messages[-1]["prefix"] = True
        case "ContinueFinalMessage":
            made |= {"continue_final_message": True, "add_generation_prompt": False}


def _sampling(given: Json) -> Json:
    made = read_sampling(given)
    stops = read(given, "stop_sequences", list) or []
    if any(not isinstance(each, str) for each in stops):
        raise Untranslatable("stop_sequences", "these must be strings", "write strings")
    return {**made, **({"stop": stops} if stops else {})}


def _tools(given: Json, without: list[str]) -> Json:
    tools = [_tool(tool, where, without) for where, tool in read_list(given, "tools")]
    if not tools:
        return {}
    choice = read(given, "tool_choice", dict)
    return {"tools": tools, **({} if choice is None else _choice(choice))}


def _tool(tool: Json, where: str, without: list[str]) -> Json:
    if tool.get("type") not in {None, "custom"}:
        raise Untranslatable(
            f"{where}type", "this tool is Anthropic's own, and OpenAI's API has none such", "leave it out"
        )
    only(tool, _TOOL | _TOOL_LEFT_OUT, where, "OpenAI")
    without += [f"{where}{name}" for name in sorted(_TOOL_LEFT_OUT & tool.keys())]
    function: Json = {
        "name": read_text(tool, "name", where),
        "parameters": read_object(tool, "input_schema", where),
    }
    if description := read(tool, "description", str, where):
        function["description"] = description
    if read(tool, "strict", bool, where):
        function["strict"] = True
    return {"type": "function", "function": function}


_CHOICES: Final[dict[str, str]] = {"auto": "auto", "any": "required", "none": "none"}


def _choice(choice: Json) -> Json:
    kind: Any = choice.get("type")
    made: Json = {}
    if kind == "tool":
        function = {"name": read_text(choice, "name", "tool_choice.")}
        made["tool_choice"] = {"type": "function", "function": function}
    elif isinstance(kind, str) and kind in _CHOICES:
        made["tool_choice"] = _CHOICES[kind]
    else:
        raise Untranslatable("tool_choice.type", "types are auto, any, tool and none", "write one of these")
    if read(choice, "disable_parallel_tool_use", bool, "tool_choice."):
        made["parallel_tool_calls"] = False
    return made


def _form(given: Json) -> Json:
    output = read(given, "output_config", dict) or {}
    only(output, frozenset({"effort", "format"}), "output_config.", "OpenAI")
    made: Json = {}
    form = read(output, "format", dict, "output_config.")
    if form is not None:
        schema = read_object(form, "schema", "output_config.format.")
        named = {"name": "answer", "schema": schema, "strict": True}
        made["response_format"] = {"type": "json_schema", "json_schema": named}
    effort = read(output, "effort", str, "output_config.")
    if effort is not None:
        made["reasoning_effort"] = "xhigh" if effort == "max" else effort
    return made
