"""Which rules can never be reached: sure cases only, since a false alarm teaches people to ignore all.

A condition covers another if every request that matches the other matches it too. Expressions of RE2 are
not compared, beyond being equal and beyond the text that one begins with (`^/tech/.*` begins with `/tech/`).
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Final

from moltbot_operator.compile import operations
from moltbot_operator.compile.patterns import EVERY_PATH, PathCondition, RequestCondition

__all__ = ["Shadow", "covers", "shadows"]

_COMPARED: Final = frozenset({"path", "headers", "models", "names"})
_LITERAL: Final = re.compile(r"\.\*\(\?:\^([-/A-Za-z0-9_~%]+)(.*)\)\.\*", re.DOTALL)
_OPTIONAL: Final = ("*", "?", "{")


@dataclass(frozen=True)
class Shadow:
    """A rule that takes no request, and why."""

    rule: str
    because: str


def shadows(rules: Sequence[tuple[str, Sequence[RequestCondition]]]) -> Iterator[Shadow]:
    """Of rules (name and conditions) in their order, those that no request reaches.

    A rule without conditions has only refused ones, and something else is said of it.
    """
    earlier: list[tuple[str, RequestCondition]] = []
    for name, conditions in rules:
        reasons = [_reason(atom, earlier) for each in conditions for atom in _atoms(each)]
        if reasons and all(reasons):
            yield Shadow(name, " and ".join(dict.fromkeys(reason for reason in reasons if reason)))
        earlier += [(name, each) for each in conditions]


def _reason(atom: RequestCondition, earlier: Sequence[tuple[str, RequestCondition]]) -> str | None:
    path = atom.path
    if path.kind == "exact" and not re.fullmatch(operations.IS_OPERATION, path.value):
        return f"path {path.value} names no operation, and such requests get 404 before any rule"
    for name, condition in earlier:
        if condition.takes_everything:
            return f"rule {name} before it takes every request"
        if covers(condition, atom):
            return f"rule {name} before it takes all of its requests"
    return None


def _atoms(condition: RequestCondition) -> Iterator[RequestCondition]:
    """One for each model that is asked for, which different rules may cover."""
    if not condition.names:
        yield condition
    for name in condition.names:
        yield replace(condition, names=(name,))


def covers(one: RequestCondition, other: RequestCondition) -> bool:
    """Whether every request that matches `other` surely matches `one`."""
    if not _path_covers(one.path, other.path) or not set(one.headers) <= set(other.headers):
        return False
    if one.names and not (other.names and all(_named(name, one.names) for name in other.names)):
        return False
    # a condition that this page knows nothing of covers its like only
    rest = [field.name for field in fields(one) if field.name not in _COMPARED]
    return all(getattr(one, name) in (None, getattr(other, name)) for name in rest)


def _named(name: str, names: Sequence[str]) -> bool:
    """Whether one of `names` stands for everything that `name` does; `*` at the end takes any rest."""
    return name in names or any(
        known.endswith("*") and name.removesuffix("*").startswith(known[:-1]) for known in names
    )


def _path_covers(one: PathCondition, other: PathCondition) -> bool:
    if one in {EVERY_PATH, other}:
        return True
    match one.kind:
        case "prefix":
            return _beginning(other).startswith(one.value)
        case "segments":
            within = _beginning(other).startswith(f"{one.value}/")
            return within or (other.kind in {"exact", "segments"} and other.value == one.value)
    return False


def _beginning(path: PathCondition) -> str:
    """Text that every matching path begins with; empty if none is known."""
    if path.kind != "regex":
        return path.value
    found = _LITERAL.fullmatch(path.value)
    if found is None:
        return ""
    text, rest = found.groups()
    if "|" in rest or "(?" in rest.replace("(?:", ""):
        return ""  # an alternative, or flags that may change what ^ means
    return text[:-1] if rest.startswith(_OPTIONAL) else text
