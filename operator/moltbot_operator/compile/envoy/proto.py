"""Building blocks of Envoy's configuration in its JSON form."""

from datetime import timedelta
from typing import Any, TypeAlias

__all__ = ["Json", "exact", "extension", "header", "regex", "seconds", "typed"]

Json: TypeAlias = dict[str, Any]
"""A message of Envoy's API (https://www.envoyproxy.io/docs/envoy/v1.40.0/api-v3/api) in JSON."""


def typed(message: str, /, **fields: Any) -> Json:
    """A `google.protobuf.Any` with this message inside; `message` without the leading `envoy.`."""
    return {"@type": f"type.googleapis.com/envoy.{message}", **fields}


def extension(name: str, message: str, /, **fields: Any) -> Json:
    """An extension by its name, with its configuration."""
    return {"name": name, "typed_config": typed(message, **fields)}


def seconds(duration: timedelta) -> str:
    """JSON form of `google.protobuf.Duration`."""
    return f"{duration / timedelta(seconds=1):.6f}s"


def header(key: str, value: str) -> Json:
    """Sets a header, replacing what was there."""
    return {"header": {"key": key, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}


def exact(name: str, value: str) -> Json:
    """A header with exactly this value."""
    return {"name": name, "string_match": {"exact": value}}


def regex(name: str, expression: str) -> Json:
    """A header all of whose value matches the RE2 expression."""
    return {"name": name, "string_match": {"safe_regex": {"regex": expression}}}
