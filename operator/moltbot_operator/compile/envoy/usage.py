"""Tokens that answers in events used, read into the metadata as they pass (plain answers: lua/usage.lua).

Only on routes where the body is read anyway, so that the others pay nothing. The last event that tells
wins: OpenAI sends usage at the end if the client asks by `stream_options.include_usage`, Anthropic with its
first and last events. Nothing is held back and nothing is asked for that the client did not ask for.
"""

from typing import Final

from moltbot_operator.compile.envoy import names
from moltbot_operator.compile.envoy.proto import Json, extension, typed
from moltbot_operator.compile.ir import Gateway

__all__ = ["reads_events", "usage_filter"]

_NAME: Final = "envoy.filters.http.sse_to_metadata"

_TOLD: Final = {
    ("usage", "prompt_tokens"): "prompt_tokens",
    ("usage", "completion_tokens"): "completion_tokens",
    ("usage", "total_tokens"): "total_tokens",
    ("usage", "input_tokens"): "prompt_tokens",
    ("usage", "output_tokens"): "completion_tokens",
    ("message", "usage", "input_tokens"): "prompt_tokens",
    ("message", "usage", "output_tokens"): "completion_tokens",
    ("response", "usage", "input_tokens"): "prompt_tokens",
    ("response", "usage", "output_tokens"): "completion_tokens",
    ("response", "usage", "total_tokens"): "total_tokens",
}
"""Where an event tells (chat completions, Anthropic's messages, OpenAI's responses), and what."""

_LONGEST_EVENT: Final = 1_048_576
"""Bytes; a longer one is not read."""


def _rule(path: tuple[str, ...], key: str) -> Json:
    told = {"metadata_namespace": names.NAMESPACE, "key": key, "type": "NUMBER"}
    return {"rule": {"selectors": [{"key": step} for step in path], "on_present": told}}


def usage_filter(gateway: Gateway) -> list[Json]:
    """The filter, asleep but on the routes of :func:`reads_events`; none if no rule reads bodies."""
    if not gateway.reads_bodies:
        return []
    parser = extension(
        "envoy.content_parsers.json",
        "extensions.content_parsers.json.v3.JsonContentParser",
        rules=[_rule(path, key) for path, key in _TOLD.items()],
    )
    rules = {"content_parser": parser, "max_event_size": _LONGEST_EVENT}
    sse = extension(_NAME, "extensions.filters.http.sse_to_metadata.v3.SseToMetadata", response_rules=rules)
    return [{**sse, "disabled": True}]


def reads_events() -> Json:
    """`typed_per_filter_config` of the first route of a request, which wakes the filter."""
    return {_NAME: typed("config.route.v3.FilterConfig", config={})}
