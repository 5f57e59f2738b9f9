"""Conditions on paths, headers and models, as Envoy's route table takes them."""

import re
from dataclasses import dataclass
from typing import Final

from moltbot_operator.api import Capability, HeaderMatch, HeaderMatchType, Match, PathMatch, PathMatchType
from moltbot_operator.compile.re2 import fault

__all__ = [
    "EVERY_PATH",
    "HeaderCondition",
    "PathCondition",
    "RequestCondition",
    "condition",
    "models_pattern",
    "quote",
]

_LITERAL: Final = re.compile(r"\^([-/A-Za-z0-9_~%]+)(\$?)")
"""An anchored expression without operators: cheaper as a prefix or an exact path."""


@dataclass(frozen=True)
class PathCondition:
    """How a path (without query) is compared.

    `prefix` is textual, `segments` takes whole segments only, `regex` must match all of the path.
    """

    kind: str
    value: str


EVERY_PATH: Final = PathCondition("prefix", "/")


@dataclass(frozen=True)
class HeaderCondition:
    """`regex` must match all of the value; otherwise the value is compared exactly."""

    name: str
    value: str
    regex: bool = False


@dataclass(frozen=True)
class RequestCondition:
    """One match of a rule; `models` is an expression over the client's model names, None for any request.

    `names` are those names as they were written.
    """

    path: PathCondition
    headers: tuple[HeaderCondition, ...] = ()
    models: str | None = None
    names: tuple[str, ...] = ()
    task: Capability | None = None

    @property
    def takes_everything(self) -> bool:
        """Whether every request matches."""
        return self.path == EVERY_PATH and not self.headers and not self.scanned

    @property
    def scanned(self) -> bool:
        """Whether the script must look at the request before it can be told if it matches."""
        return self.models is not None or self.task is not None


def quote(text: str) -> str:
    """An RE2 expression for exactly this text (Python's own escape adds backslashes that RE2 refuses)."""
    return "".join(
        char if char.isalnum() or not char.isascii() or char in "_/:@ -" else f"\\{char}" for char in text
    )


def models_pattern(models: tuple[str, ...]) -> str:
    """An RE2 expression for any of the names; `*` at the end of a name takes any rest."""
    return "|".join(quote(name[:-1]) + ".*" if name.endswith("*") else quote(name) for name in models)


def _path(match: PathMatch | None) -> PathCondition:
    if match is None:
        return EVERY_PATH
    match match.type:
        case PathMatchType.EXACT:
            return PathCondition("exact", match.value)
        case PathMatchType.PREFIX:
            segments = match.value.rstrip("/")
            return PathCondition("segments", segments) if segments else EVERY_PATH
        case PathMatchType.REGEX:
            literal = _LITERAL.fullmatch(match.value)
            if literal is None:
                return PathCondition("regex", f".*(?:{match.value}).*")
            text, end = literal.groups()
            if not text.startswith("/"):
                return PathCondition("regex", f"{text}.*")
            return PathCondition("exact" if end else "prefix", text)


def _headers(matches: tuple[HeaderMatch, ...]) -> tuple[HeaderCondition, ...]:
    return tuple(
        HeaderCondition(match.name.lower(), match.value, match.type is HeaderMatchType.REGEX)
        for match in matches
    )


def condition(match: Match) -> RequestCondition | str:
    """The condition, or why it can't be made (an expression that RE2 refuses): what, where and the remedy."""
    if match.path is not None and match.path.type is PathMatchType.REGEX:
        wrong = fault(match.path.value)
        if wrong is not None:
            return f"path {match.path.value!r} is no RE2 expression: {wrong}"
    for header in match.headers:
        wrong = fault(header.value) if header.type is HeaderMatchType.REGEX else None
        if wrong is not None:
            return f"header {header.name} {header.value!r} is no RE2 expression: {wrong}"
    models = models_pattern(match.model) if match.model else None
    return RequestCondition(_path(match.path), _headers(match.headers), models, match.model, match.task)
