"""A text that an expression matches: the shortest way through it, taking the first of alternatives."""

import re
from typing import Final

__all__ = ["example"]

_CLASSES: Final = {"d": "1", "D": "x", "s": " ", "S": "x", "w": "x", "W": "-", "pL": "x", "pN": "1"}
_POSIX: Final = {"digit": "1", "xdigit": "1", "punct": "-", "space": " ", "blank": " ", "upper": "X"}
_REPEAT: Final = re.compile(r"\{([0-9]+)(?:,[0-9]*)?\}")
_FLAGS: Final = re.compile(r"\?[imsU-]*([:)])|\?P?<\w+>")
_CANDIDATES: Final = "x1-/_A.~ :"


def example(pattern: str) -> str | None:
    """A text for an expression of RE2, which may not match; None for one that is too hard."""
    try:
        return _Walk(pattern).alternatives()
    except (IndexError, KeyError, RecursionError, ValueError, re.error):
        return None


class _Walk:
    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        self.at = 0

    def alternatives(self) -> str:
        made, first = "", None
        while self.at < len(self.pattern) and self.pattern[self.at] != ")":
            if self.pattern[self.at] == "|":
                self.at += 1
                first, made = made if first is None else first, ""
                continue
            made += self.repeated(self.atom())
        return made if first is None else first

    def atom(self) -> str:
        char = self.pattern[self.at]
        self.at += 1
        match char:
            case "(":
                return self.group()
            case "[":
                return self.bracket()
            case "\\":
                return self.escape()
            case "^" | "$":
                return ""
            case ".":
                return "x"
        return char

    def repeated(self, text: str) -> str:
        if (bounds := _REPEAT.match(self.pattern, self.at)) is not None:
            self.at = bounds.end()
            text *= int(bounds[1])
        elif self.pattern[self.at : self.at + 1] in {"*", "?"}:
            self.at += 1
            text = ""
        elif self.pattern[self.at : self.at + 1] == "+":
            self.at += 1
        if self.pattern[self.at : self.at + 1] == "?":
            self.at += 1
        return text

    def group(self) -> str:
        kind = _FLAGS.match(self.pattern, self.at)
        if kind is not None:
            self.at = kind.end()
            if kind[1] == ")":
                return ""
        text = self.alternatives()
        self.at += 1
        return text

    def escape(self) -> str:
        rest = self.pattern[self.at :]
        if rest.startswith("Q"):
            end = self.pattern.index("\\E", self.at)
            text, self.at = self.pattern[self.at + 1 : end], end + 2
            return text
        if rest[:2] in _CLASSES:
            self.at += 2
            return _CLASSES[rest[:2]]
        self.at += 1
        if rest[0] in "AzbB":
            return ""
        if rest[0].isalnum():
            return _CLASSES[rest[0]]
        return rest[0]

    def bracket(self) -> str:
        """A member; of a negated one, something that is likely none."""
        begin = self.at
        if self.pattern[self.at] == "^":
            self.at += 1
        start = self.at
        while self.pattern[self.at] != "]" or self.at == start:
            if self.pattern.startswith("[:", self.at):
                self.at = self.pattern.index(":]", self.at) + 2
            else:
                self.at += 2 if self.pattern[self.at] == "\\" else 1
        self.at += 1
        inside = re.compile(
            self.pattern[begin - 1 : self.at].replace("[:alpha:]", "A-Za-z").replace("[:digit:]", "0-9")
        )
        return next((char for char in _CANDIDATES if inside.fullmatch(char)), self.pattern[start])
