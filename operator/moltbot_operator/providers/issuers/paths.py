"""Reading an answer by JSON paths (RFC 9535): one value, or the identifiers and names of a list.

The paths that the types take have names, indices and wildcards only: no filter, whose regular expressions
could be made to run for ever, and no descent.
"""

import re
from collections.abc import Hashable
from typing import Any, Final

import jsonpath

__all__ = ["one", "pairs"]

_TAIL: Final = re.compile(r"((?:\.[A-Za-z_][A-Za-z0-9_]*)*)$")


def one(path: str, document: Any) -> str | None:
    """The only string or whole number that the path finds; None for none or several."""
    found = [match.value for match in jsonpath.finditer(path, document)] if _holds(document) else []
    return _text(found[0]) if len(found) == 1 else None


def pairs(id_path: str, name_path: str, document: Any) -> list[tuple[str, str | None]]:
    """Name and identifier of each entry that has a name; None for one without an identifier.

    Both belong together if they are in the same object of the list, however far down each of them is: an
    entry without a name must not shift the others, since the wrong key would be revoked.
    """
    if not _holds(document):
        return []
    ids = {key: _text(value) for key, value in _located(id_path, document)}
    named = [(key, _text(value)) for key, value in _located(name_path, document)]
    return [(name, ids.get(key)) for key, name in named if name is not None]


def _located(path: str, document: Any) -> list[tuple[tuple[Hashable, ...], Any]]:
    """Each value with the place of the object that the path's last names start from."""
    found = _TAIL.search(path)
    depth = found[1].count(".") if found else 0
    return [
        (tuple(match.parts[: len(match.parts) - depth]), match.value)
        for match in jsonpath.finditer(path, document)
    ]


def _holds(document: Any) -> bool:
    return isinstance(document, dict | list)


def _text(value: Any) -> str | None:
    if isinstance(value, str) and value:
        return value
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else None
