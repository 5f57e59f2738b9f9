"""A request of OpenAI's chat completions as one of Anthropic's messages.

Sampling parameters are of API version 2023-06-01: later ones have none
(https://platform.claude.com/docs/en/api/migration-2026-10-21).
"""

from typing import Any, Final

from moltbot_worker.translation.messages_for_anthropic import conversation
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

__all__ = ["MAX_TOKENS", "VERSION", "request_for_anthropic"]

VERSION: Final = "2023-06-01"
"""`anthropic-version` that translated requests are of."""

MAX_TOKENS: Final = 8192
"""In place of a limit that the client did not write: Anthropic wants one. An answer that it cuts says so."""

_LEFT_OUT: Final = frozenset(
    {
        "metadata",
        "prediction",
        "prompt_cache_key",
        "prompt_cache_options",
        "prompt_cache_retention",
        "seed",
        "service_tier",
        "store",
        "verbosity",
    }
)
"""Cost, speed and bookkeeping; and `seed`, which OpenAI itself calls best effort."""

_TAKEN: Final = frozenset(
    {
        "max_completion_tokens",
        "max_tokens",
        "messages",
        "model",
        "n",
        "parallel_tool_calls",
        "reasoning_effort",
        "response_format",
        "safety_identifier",
        "stop",
        "stream",
        "stream_options",
        "temperature",
        "tool_choice",
        "tools",
        "top_p",
        "user",
    }
)

_NOTHING: Final[dict[str, tuple[Any, ...]]] = {
    "frequency_penalty": (0,),
    "presence_penalty": (0,),
    "logit_bias": ({},),
    "logprobs": (False,),
    "modalities": (["text"],),
    "functions": ([],),
}
"""Fields that can't be translated, with the values that ask for nothing."""

_EFFORTS: Final = {"minimal": "low", "low": "low", "medium": "medium", "high": "high", "xhigh": "xhigh"}


def request_for_anthropic(document: Json) -> Translated:
    """`POST /messages` for a body of `POST /chat/completions`. Raises Untranslatable."""
    given = {name: value for name, value in document.items() if value is not None and not _idle(name, value)}
    without = sorted(_LEFT_OUT & given.keys())
    only(given, _TAKEN | _LEFT_OUT, "", "Anthropic")
    if given.get("n", 1) != 1:
        raise Untranslatable("n", "Anthropic's API gives one answer", "leave it out, and ask several times")
    talk = conversation(given)
    made: Json = {
        "model": read_text(given, "model"),
        "max_tokens": _limit(given),
        "messages": talk.turns,
        **({"system": talk.system} if talk.system else {}),
        **_sampling(given, without),
        **_tools(given),
        **_form(given),
    }
    if read(given, "stream", bool):
        made["stream"] = True
    user = read(given, "safety_identifier", str) or read(given, "user", str)
    if user:
        made["metadata"] = {"user_id": user}
    return Translated(made, (*without, *talk.without))


def _idle(name: str, value: Any) -> bool:
    return any(value == nothing and type(value) is type(nothing) for nothing in _NOTHING.get(name, ())) or (
        name.endswith("_penalty") and isinstance(value, float) and value == 0
    )


def _limit(given: Json) -> int:
    limit = read(given, "max_completion_tokens", int)
    if limit is None:
        limit = read(given, "max_tokens", int)
    return MAX_TOKENS if limit is None else int(limit)


def _sampling(given: Json, without: list[str]) -> Json:
    made: Json = {**read_sampling(given)}
    if made.get("temperature", 0) > 1:
        made["temperature"] = 1
        without.append("temperature")
    stops = [given["stop"]] if isinstance(given.get("stop"), str) else read(given, "stop", list) or []
    if any(not isinstance(each, str) or not each.strip() for each in stops):
        raise Untranslatable(
            "stop", "Anthropic's API takes strings that are not only white space", "write others"
        )
    if stops:
        made["stop_sequences"] = stops
    return made


def _tools(given: Json) -> Json:
    tools = [_tool(tool, where) for where, tool in read_list(given, "tools")]
    if not tools:
        return {}
    made: Json = {"tools": tools}
    choice = _choice(given)
    if read(given, "parallel_tool_calls", bool) is False and choice.get("type") != "none":
        choice = {"type": "auto", **choice, "disable_parallel_tool_use": True}
    return {**made, **({"tool_choice": choice} if choice else {})}


def _tool(tool: Json, where: str) -> Json:
    if tool.get("type") != "function":
        raise Untranslatable(f"{where}type", "Anthropic's API has functions only", "write function")
    function, place = read_object(tool, "function", where), f"{where}function."
    only(function, frozenset({"name", "description", "parameters", "strict"}), place, "Anthropic")
    made: Json = {
        "name": read_text(function, "name", place),
        "input_schema": read(function, "parameters", dict, place) or {"type": "object", "properties": {}},
    }
    if description := read(function, "description", str, place):
        made["description"] = description
    if read(function, "strict", bool, place):
        made["strict"] = True
    return made


_CHOICES: Final = {"none": "none", "auto": "auto", "required": "any"}


def _choice(given: Json) -> Json:
    choice = given.get("tool_choice")
    if choice is None:
        return {}
    if isinstance(choice, str) and choice in _CHOICES:
        return {"type": _CHOICES[choice]}
    if isinstance(choice, dict) and choice.get("type") == "function":
        function = read_object(choice, "function", "tool_choice.")
        return {"type": "tool", "name": read_text(function, "name", "tool_choice.function.")}
    raise Untranslatable(
        "tool_choice",
        "Anthropic's API takes none, auto, required or one function",
        "write one of these, and in tools only those that may be called",
    )


def _form(given: Json) -> Json:
    """The form of the answer, and how much thought goes into it."""
    made: Json = {}
    output: Json = {}
    form = read(given, "response_format", dict) or {"type": "text"}
    if form.get("type") == "json_schema":
        asked = read_object(form, "json_schema", "response_format.")
        schema = read_object(asked, "schema", "response_format.json_schema.")
        output["format"] = {"type": "json_schema", "schema": schema}
    elif form.get("type") != "text":
        raise Untranslatable(
            "response_format.type", "Anthropic's API takes text and json_schema", "write json_schema"
        )
    effort = read(given, "reasoning_effort", str)
    if effort == "none":
        made["thinking"] = {"type": "disabled"}
    elif effort is not None:
        if effort not in _EFFORTS:
            raise Untranslatable(
                "reasoning_effort", "Anthropic's API has none such", "write low, medium or high"
            )
        output["effort"] = _EFFORTS[effort]
    return {**made, **({"output_config": output} if output else {})}
