"""`{id}`, `{name}` and `{rotation}` in the URLs and bodies of calls.

Nothing else is replaced, so that a body may hold braces of its own.
"""

import re
from collections.abc import Callable, Mapping
from typing import Final
from urllib.parse import quote

import orjson

__all__ = ["fill_body", "fill_url", "version_of"]

_TAG: Final = re.compile(r"moltbot-[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}-(.+)")

_PLACES: Final = re.compile(r"\{(id|name|rotation)\}")


def fill_url(template: str, values: Mapping[str, str]) -> str:
    """The URL, with values percent-encoded."""
    return _filled(template, values, lambda value: quote(value, safe=""))


def fill_body(template: str, values: Mapping[str, str]) -> bytes:
    """The body, with values as they are written within a JSON string."""
    return _filled(template, values, lambda value: orjson.dumps(value).decode()[1:-1]).encode()


def version_of(tag: str) -> str:
    """The version in a tag `moltbot-<uid>-<version>`; all of another tag."""
    found = _TAG.fullmatch(tag)
    return found[1] if found else tag


def _filled(template: str, values: Mapping[str, str], write: Callable[[str], str]) -> str:
    return _PLACES.sub(lambda found: write(values.get(found[1], "")), template)
