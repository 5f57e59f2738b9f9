"""Values as source text of Lua, so that nothing in them is ever read as code."""

from collections.abc import Iterable, Mapping
from string import ascii_letters, digits
from typing import Final

__all__ = ["quoted", "table"]

_PLAIN: Final = frozenset(ascii_letters + digits + "_-./|:")
"""Signs that mean nothing in a string of Lua."""


def quoted(text: str) -> str:
    """A string of Lua with this text."""
    plain = (chr(code) if chr(code) in _PLAIN else f"\\{code:03d}" for code in text.encode())
    return f'"{"".join(plain)}"'


def table(values: Mapping[str, str] | Iterable[str]) -> str:
    """A table of Lua: texts by name, or in order; the values are source text already."""
    if isinstance(values, Mapping):
        return "{" + ", ".join(f"[{quoted(name)}] = {value}" for name, value in values.items()) + "}"
    return "{" + ", ".join(values) + "}"
