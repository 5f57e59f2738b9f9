"""Why an answer ended, and what it used, in both APIs' words.

Anthropic counts tokens that were read from a cache or written to one apart from `input_tokens`; OpenAI's
`prompt_tokens` hold them.
"""

from collections.abc import Mapping
from typing import Any, Final

from moltbot_worker.translation.terms import Json

__all__ = ["finish_reason", "stop_reason", "usage_for_anthropic", "usage_for_openai"]

_FINISH: Final = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}

_STOP: Final = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "function_call": "tool_use",
    "content_filter": "refusal",
}


def finish_reason(stop: Any) -> str:
    """OpenAI's word. One that came later than this table ends an answer too."""
    return _FINISH.get(stop, "stop") if isinstance(stop, str) else "stop"


def stop_reason(finish: Any) -> str:
    """Anthropic's word."""
    return _STOP.get(finish, "end_turn") if isinstance(finish, str) else "end_turn"


def _count(usage: Any, name: str) -> int:
    value = usage.get(name) if isinstance(usage, Mapping) else None
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


def usage_for_openai(usage: Any) -> Json:
    """`usage` of a completion."""
    read, written = _count(usage, "cache_read_input_tokens"), _count(usage, "cache_creation_input_tokens")
    prompt = _count(usage, "input_tokens") + read + written
    made = _count(usage, "output_tokens")
    found: Json = {
        "prompt_tokens": prompt,
        "completion_tokens": made,
        "total_tokens": prompt + made,
        "prompt_tokens_details": {"cached_tokens": read, "cache_write_tokens": written},
    }
    details = usage.get("output_tokens_details") if isinstance(usage, Mapping) else None
    if thought := _count(details, "thinking_tokens"):
        found["completion_tokens_details"] = {"reasoning_tokens": thought}
    return found


def usage_for_anthropic(usage: Any) -> Json:
    """`usage` of a message."""
    details = usage.get("prompt_tokens_details") if isinstance(usage, Mapping) else None
    prompt = _count(usage, "prompt_tokens")
    read = min(_count(details, "cached_tokens"), prompt)
    written = min(_count(details, "cache_write_tokens"), prompt - read)
    return {
        "input_tokens": prompt - read - written,
        "cache_creation_input_tokens": written,
        "cache_read_input_tokens": read,
        "output_tokens": _count(usage, "completion_tokens"),
    }
