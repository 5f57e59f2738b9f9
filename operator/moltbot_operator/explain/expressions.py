"""RE2's expressions as Python's, to tell here what Envoy will match.

Only for expressions that :func:`moltbot_operator.compile.re2.fault` takes, and for texts of ASCII: there the
two differ in spelling alone. Source: https://github.com/google/re2/wiki/Syntax
"""

import re
import unicodedata
import warnings
from functools import cache
from typing import Final

__all__ = ["whole"]

_REPEAT: Final = re.compile(r"\{[0-9]+(,[0-9]*)?\}")
_GROUP: Final = re.compile(r"\(\?(?:P?<[A-Za-z0-9_]+>|([imsU]*(?:-[imsU]+)?)([:)]))")
_UNICODE: Final = re.compile(r"\\([pP])(?:([A-Z])|\{(\^?)([A-Za-z]+)\})")
_CODE: Final = re.compile(r"\\(?:x([0-9A-Fa-f]{2})|x\{([0-9A-Fa-f]{1,6})\}|([0-7]{1,3}))")
_POSIX: Final = re.compile(r"\[:(\^?)([a-z]+):\]")
_ASCII: Final = [chr(code) for code in range(128)]
_POSIX_CLASSES: Final = {
    "alnum": "0-9A-Za-z",
    "alpha": "A-Za-z",
    "ascii": r"\x00-\x7f",
    "blank": r"\t ",
    "cntrl": r"\x00-\x1f\x7f",
    "digit": "0-9",
    "graph": "!-~",
    "lower": "a-z",
    "print": " -~",
    "punct": r"!-/:-@\[-`{-~",
    "space": r"\t\n\v\f\r ",
    "upper": "A-Z",
    "word": "0-9A-Za-z_",
    "xdigit": "0-9A-Fa-f",
}

_EMPTY: Final = {r"\A": r"\A", r"\z": r"\Z", r"\b": r"\b", r"\B": r"\B"}
"""What matches between characters, as Python calls it."""


def whole(pattern: str, text: str) -> bool:
    """Whether the expression matches all of a text, as Envoy asks."""
    return _compiled(pattern).fullmatch(text) is not None


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # a [ within a class is itself in both
        return re.compile(_Translation(pattern).text, re.ASCII)


class _Translation:
    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        self.at = 0
        self.opened: list[list[str]] = [[]]
        """By level of brackets, groups that stand for flags: these last until the bracket closes."""
        self.text = "".join(iter(self._next, None)) + ")" * len(self.opened[-1])

    def _next(self) -> str | None:
        if self.at >= len(self.pattern):
            return None
        char = self.pattern[self.at]
        begun = {"\\": self._escape, "[": self._bracket, "(": self._group}.get(char)
        if begun is not None:
            return begun()
        plain = char == "{" and _REPEAT.match(self.pattern, self.at) is None
        self.at += 1
        if char == ")":
            return ")" * (1 + len(self.opened.pop()))
        if char == "|":
            flags = self.opened[-1]
            return ")" * len(flags) + "|" + "".join(flags)
        if char in "^$":
            return f"(?:{char})"  # may be repeated in RE2
        return r"\{" if plain else char

    def _group(self) -> str:
        found = _GROUP.match(self.pattern, self.at)
        if found is None or found[2] is None:  # a name tells nothing here
            self.at = self.at + 1 if found is None else found.end()
            self.opened.append([])
            return "("
        self.at = found.end()
        on, _, off = found[1].replace("U", "").partition("-")  # U changes which match, not whether
        opener = f"(?{on}{'-' + off if off else ''}:"
        if found[2] == ":":
            self.opened.append([])
        else:
            self.opened[-1].append(opener)
        return opener

    def _escape(self) -> str:
        if self.pattern.startswith("\\Q", self.at):
            begin, end = self.at + 2, self.pattern.index("\\E", self.at)
            self.at = end + 2
            return re.escape(self.pattern[begin:end])
        member = self._member()
        if member in _EMPTY:
            return f"(?:{_EMPTY[member]})"
        return {r"\C": r"[\s\S]"}.get(member, f"[{member}]" if len(member) > 2 else member)  # noqa: PLR2004

    def _member(self) -> str:
        """What a backslash begins, fit for within a class."""
        unicode = _UNICODE.match(self.pattern, self.at)
        if unicode is not None:
            self.at = unicode.end()
            negated = (unicode[1] == "P") != bool(unicode[3])
            return _unicode(unicode[2] or unicode[4], negated=negated)
        code = _CODE.match(self.pattern, self.at)
        if code is not None:
            self.at = code.end()
            return f"\\x{int(code[1] or code[2], 16) if code[3] is None else int(code[3], 8):02x}"
        self.at += 2
        return self.pattern[self.at - 2 : self.at]

    def _bracket(self) -> str:
        made, self.at = "[", self.at + 1
        if self.pattern[self.at] == "^":
            made, self.at = "[^", self.at + 1
        start = self.at
        while (char := self.pattern[self.at]) != "]" or self.at == start:
            posix = _POSIX.match(self.pattern, self.at)
            if posix is not None:
                self.at = posix.end()
                made += _listed(
                    [
                        each
                        for each in _ASCII
                        if (re.match(f"[{_POSIX_CLASSES[posix[2]]}]", each) is None) == bool(posix[1])
                    ]
                )
            elif char == "\\":
                made += self._member()
            else:
                self.at += 1
                made += "\\" + char if char in "[]" else char
        self.at += 1
        return made + "]"


def _unicode(name: str, *, negated: bool) -> str:
    """A class by general category or by script; of ASCII, only letters are of a script of their own."""
    if len(name) <= 2:  # noqa: PLR2004 - a general category
        held = [each for each in _ASCII if unicodedata.category(each).startswith(name)]
    else:
        held = [each for each in _ASCII if name == ("Latin" if each.isalpha() else "Common")]
    return _listed([each for each in _ASCII if (each in held) != negated])


def _listed(chars: list[str]) -> str:
    """Members of a class; something that is no ASCII where there are none, since a class can't be empty."""
    return "".join(f"\\x{ord(each):02x}" for each in chars) or "\\u0100"
