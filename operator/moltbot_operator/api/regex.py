r"""Regular expressions of RE2, the dialect of Envoy, Go and the API server's CEL.

Python's own `re` takes what RE2 refuses (lookaround, backreferences) and refuses what it takes (`\z`,
`\pL`, `\Q...\E`), so :func:`is_re2` reads RE2's grammar itself. Source:
https://github.com/google/re2/wiki/Syntax and Go's regexp/syntax; the API server's answer to the same
expressions is compared in tests/api.
"""

import re
from typing import Final

__all__ = ["CEL_RE2", "RE2_REMEDY", "is_re2"]

CEL_RE2: Final = "(''.matches(self.value) ? true : true)"
"""CEL whose evaluation fails if `self.value` is no expression of RE2."""

RE2_REMEDY: Final = (
    "this is no regular expression of RE2: close every bracket, and write it without lookaround such as "
    "(?=...) and "
    "backreferences such as \\1 (see https://github.com/google/re2/wiki/Syntax)"
)

_MAX_REPEAT: Final = 1000
"""Largest count of a repetition, nested ones multiplied."""

_MAX_DEPTH: Final = 200
"""Deepest nesting of groups; RE2 takes 1,000, Python's stack less."""

_REPEAT: Final = re.compile(r"(?:[*+?]|\{(\d+)(?:(,)(\d*))?\})\??", re.ASCII)
_GROUP: Final = re.compile(r"\((?:\?P?<([A-Za-z0-9_]+)>|\?[imsU]*(?:-[imsU]+)?(:))?", re.ASCII)
_FLAGS: Final = re.compile(r"\(\?[imsU]*(?:-[imsU]+)?\)", re.ASCII)
_UNICODE_CLASS: Final = r"[pP](?:[LMNPSZC]|\{\^?[A-Z][A-Za-z_]*\})"
_CHARACTER: Final = (
    r"x[0-9A-Fa-f]{2}|x\{[0-9A-Fa-f]{1,6}\}|0[0-7]{0,2}|[1-7][0-7]{1,2}|[aftnrv]|[!-/:-@\[-`{-~]"
)
_ESCAPE: Final = re.compile(rf"\\(?:[dDsSwWAbBz]|{_UNICODE_CLASS}|{_CHARACTER})", re.ASCII)
_QUOTED: Final = re.compile(r"\\Q.*?(?:\\E|\Z)", re.DOTALL)
_SET: Final = re.compile(rf"\\(?:[dDsSwW]|{_UNICODE_CLASS})|\[:\^?([a-z]+):\]", re.ASCII)
_MEMBER: Final = re.compile(rf"\\(?:{_CHARACTER})|[^\\]", re.ASCII | re.DOTALL)
_SET_NAMES: Final = frozenset(
    {
        "alnum",
        "alpha",
        "ascii",
        "blank",
        "cntrl",
        "digit",
        "graph",
        "lower",
        "print",
        "punct",
        "space",
        "upper",
    }
    | {"word", "xdigit"}
)


def is_re2(pattern: str) -> bool:
    """Whether RE2 takes the expression (names of Unicode classes are not looked up)."""
    try:
        _Reader(pattern).read()
    except _NotRE2:
        return False
    return True


class _NotRE2(Exception):  # noqa: N818
    pass


class _Reader:
    """Recursive descent over one expression; `at` is the next character."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.names: set[str] = set()

    def read(self) -> None:
        self._alternatives(0)
        if self.at < len(self.text):
            raise _NotRE2

    def _take(self, what: re.Pattern[str]) -> re.Match[str] | None:
        found = what.match(self.text, self.at)
        if found:
            self.at = found.end()
        return found

    def _alternatives(self, depth: int) -> int:
        """Reads up to the closing bracket; the largest product of nested repetitions inside."""
        if depth > _MAX_DEPTH:
            raise _NotRE2
        largest = 1
        piece: int | None = None  # product inside the last piece; None where there is none to repeat
        repeated = False
        while self.at < len(self.text) and self.text[self.at] != ")":
            if self.text[self.at] == "|":
                self.at += 1
                piece, repeated = None, False
            elif count := self._repetition():
                if piece is None or repeated or piece * count > _MAX_REPEAT:
                    raise _NotRE2
                largest = max(largest, piece * count)
                repeated = True
            elif self._take(_FLAGS):
                repeated = True
            else:
                piece, repeated = self._piece(depth), False
                largest = max(largest, piece)
        return largest

    def _repetition(self) -> int:
        """The count of the repetition here, 1 where it has none, 0 if there is no repetition here."""
        found = self._take(_REPEAT)
        if not found:
            return 0
        low, _, high = found.groups()
        if low is None:
            return 1
        largest = int(high) if high else int(low)
        if largest > _MAX_REPEAT or int(low) > largest:
            raise _NotRE2
        return max(largest, 1)

    def _piece(self, depth: int) -> int:
        """Reads one group, class, escape or character; the largest product of repetitions inside."""
        here = self.text[self.at]
        if here == "(":
            return self._group(depth)
        if here == "[":
            self._class()
        elif here == "\\":
            if not self._take(_QUOTED) and not self._take(_ESCAPE):
                raise _NotRE2
        else:
            self.at += 1
        return 1

    def _group(self, depth: int) -> int:
        opened = self._take(_GROUP)
        if opened is None:  # pragma: no cover - the caller saw the bracket
            raise _NotRE2
        if name := opened[1]:
            if name in self.names:
                raise _NotRE2
            self.names.add(name)
        if opened[0] == "(" and self.text.startswith("?", self.at):
            raise _NotRE2
        inside = self._alternatives(depth + 1)
        if not self.text.startswith(")", self.at):
            raise _NotRE2
        self.at += 1
        return inside

    def _class(self) -> None:
        self.at += 1
        if self.text.startswith("^", self.at):
            self.at += 1
        first = True
        while first or not self.text.startswith("]", self.at):
            first = False
            if found := self._take(_SET):
                if found[1] and found[1] not in _SET_NAMES:
                    raise _NotRE2
                continue
            low = self._member()
            if self.text.startswith("-", self.at) and not self.text.startswith("-]", self.at):
                self.at += 1
                if self._member() < low:
                    raise _NotRE2
        self.at += 1

    def _member(self) -> int:
        """One character of a class, as its code."""
        found = self._take(_MEMBER)
        if not found:
            raise _NotRE2
        return _code(found[0])


def _code(written: str) -> int:
    if not written.startswith("\\"):
        return ord(written)
    escaped = written[1:]
    if escaped[0] == "x":
        return int(escaped[1:].strip("{}"), 16)
    if escaped[0].isdigit():
        return int(escaped, 8)
    named = "aftnrv".find(escaped)
    return ord("\a\f\t\n\r\v"[named]) if named >= 0 else ord(escaped)
