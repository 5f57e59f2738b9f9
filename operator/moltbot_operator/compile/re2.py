"""Whether RE2 takes an expression: Envoy refuses a whole configuration for one that it doesn't.

A parser of RE2's syntax (https://github.com/google/re2/wiki/Syntax) that keeps to what is sure: what it
takes, RE2 takes. It refuses lookaround, backreferences and expressions too large for RE2's memory.
"""

import re
from typing import Final

__all__ = ["fault"]

_LARGEST: Final = 10_000
"""Instructions; RE2 gives up a little above 100,000, and long before that an expression is a mistake."""

_MOST_REPEATS: Final = 1_000
"""RE2's own bound of {n,m}, and of the product of nested ones."""

_REPEAT: Final = re.compile(r"\{([0-9]+)(,([0-9]*))?\}")
_GROUP: Final = re.compile(r"\?(?:P?<([A-Za-z0-9_]+)>|([imsU]*(?:-[imsU]+)?)([:)]))")
_HEX: Final = re.compile(r"x(?:([0-9A-Fa-f]{2})|\{([0-9A-Fa-f]{1,6})\})")
_OCTAL: Final = re.compile(r"0[0-7]{0,2}|[1-7][0-7]{1,2}")
_UNICODE: Final = re.compile(r"[pP](?:[CLMNPSZ]|\{\^?([A-Za-z]+)\})")
_POSIX: Final = re.compile(
    r"\[:\^?(?:alnum|alpha|ascii|blank|cntrl|digit|graph|lower|print|punct|space|upper|word|xdigit):\]"
)
_UNICODE_NAMES: Final = frozenset(
    name
    for names in (
        "C Cc Cf Co Cs L Ll Lm Lo Lt Lu M Mc Me Mn N Nd Nl No P Pc Pd Pe Pf Pi Po Ps S Sc Sk Sm So",
        "Z Zl Zp Zs",
        "Arabic Armenian Bengali Common Cyrillic Devanagari Greek Han Hangul Hebrew Hiragana Katakana Latin",
    )
    for name in names.split()
)
_CONTROLS: Final = {"a": 7, "f": 12, "n": 10, "r": 13, "t": 9, "v": 11}
_LAST_CODE: Final = 0xFF
"""Envoy's RE2 compares bytes, not characters."""

_ASCII: Final = 128

_SIZE_OF_ANY: Final = 12
"""Instructions of a character class or a dot over UTF-8, roughly."""


class _Refused(Exception):  # noqa: N818 - never leaves this file
    pass


class _Parser:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.names: set[str] = set()

    def peek(self) -> str:
        return self.text[self.at : self.at + 1]

    def alternatives(self, depth: int) -> tuple[int, int]:
        """Instructions, and the largest product of nested repetitions."""
        if depth > 200:  # noqa: PLR2004 - as deep as nobody writes, and within Python's stack
            raise _Refused("it nests too deeply: write it flatter")
        size, repeats = 1, 1
        while (char := self.peek()) and char != ")":
            if char == "|":
                self.at += 1
                size += 2
                continue
            piece, inside = self.atom(depth)
            piece, inside = self.repeated(piece, inside)
            size += piece
            repeats = max(repeats, inside)
            if size > _LARGEST or repeats > _MOST_REPEATS:
                raise _Refused("it repeats so much that it becomes too large: write smaller repetitions")
        return size, repeats

    def atom(self, depth: int) -> tuple[int, int]:
        char = self.peek()
        self.at += 1
        if char == "(":
            return self.group(depth)
        if char == "[":
            return self.bracket(), 1
        if char == "\\":
            return self.escape(), 1
        if char in "*+?":
            raise _Refused(
                f"there is nothing to repeat before '{char}' at {self.at - 1}: remove or escape it"
            )
        return (_SIZE_OF_ANY if char == "." else len(char.encode())), 1

    def repeated(self, size: int, inside: int) -> tuple[int, int]:
        char = self.peek()
        bounds = _REPEAT.match(self.text, self.at)
        if bounds is not None:
            low = int(bounds[1])
            high = low if bounds[2] is None else int(bounds[3] or low)
            if bounds[3] and high < low:
                raise _Refused(f"{bounds[0]} ends before it begins: write the smaller number first")
            if max(low, high) > _MOST_REPEATS:
                raise _Refused(f"{bounds[0]} is more than {_MOST_REPEATS} repetitions: write fewer")
            self.at = bounds.end()
            size, inside = (size + 1) * max(high, 1) + 1, inside * max(high, 1)
        elif char and char in "*+?":
            self.at += 1
            size += 2
        else:
            return size, inside
        if self.peek() == "?":
            self.at += 1
        if (again := self.peek()) and (again in "*+?" or _REPEAT.match(self.text, self.at)):
            raise _Refused(f"a repetition follows a repetition at {self.at}: remove one, or use (?:...)")
        return size, inside

    def group(self, depth: int) -> tuple[int, int]:
        if self.peek() == "?":
            kind = _GROUP.match(self.text, self.at)
            if kind is None:
                raise _Refused("lookaround and other (?...) are not of RE2: write it without")
            self.at = kind.end()
            if kind[1] is not None:
                if kind[1] in self.names:
                    raise _Refused(f"two groups are named {kind[1]}: rename one")
                self.names.add(kind[1])
            elif kind[3] == ")":
                if not kind[2]:
                    raise _Refused("(?) says nothing: remove it")
                if (after := self.peek()) and (after in "*+?" or _REPEAT.match(self.text, self.at)):
                    raise _Refused(f"a repetition follows flags at {self.at}: remove it")
                return 0, 1
        found = self.alternatives(depth + 1)
        if self.peek() != ")":
            raise _Refused("a bracket ( is not closed: close it, or escape it as \\(")
        self.at += 1
        return found[0] + 2, found[1]

    def escape(self) -> int:
        char = self.peek()
        if char == "Q":
            end = self.text.find("\\E", self.at)
            if end < 0:
                raise _Refused("\\Q has no \\E: close it")
            size, self.at = len(self.text[self.at + 1 : end].encode()), end + 2
            return size
        if char and char in "AzbBC":
            self.at += 1
            return _SIZE_OF_ANY if char == "C" else 1
        return _SIZE_OF_ANY if self.is_class() else self.literal()

    def is_class(self) -> bool:
        """Whether a class such as digits or letters stands here, after its backslash; consumes it."""
        unicode = _UNICODE.match(self.text, self.at)
        if unicode is not None and (unicode[1] is None or unicode[1] in _UNICODE_NAMES):
            self.at = unicode.end()
            return True
        if (char := self.peek()) and char in "dDsSwW":
            self.at += 1
            return True
        return False

    def literal(self) -> int:
        """An escaped character, after its backslash; returns its code and consumes it."""
        for form in (_HEX, _OCTAL):
            found = form.match(self.text, self.at)
            if found is not None:
                self.at = found.end()
                digits, base = (found[0], 8) if form is _OCTAL else (found[1] or found[2], 16)
                if int(digits, base) > _LAST_CODE:
                    raise _Refused(f"\\{found[0]} is no byte: write one up to \\xFF, or the character itself")
                return 4
        char = self.peek()
        self.at += 1
        if char in _CONTROLS or (char and ord(char) < _ASCII and not char.isalnum() and char != "_"):
            return 1
        if char.isdigit():
            raise _Refused(f"the backreference \\{char} is not of RE2: write it without")
        raise _Refused(f"\\{char} at {self.at - 2} means nothing in RE2: remove the backslash, or double it")

    def bracket(self) -> int:
        """A bracket expression, after its opening; ranges are compared by their written characters."""
        if self.peek() == "^":
            self.at += 1
        start, items = self.at, 0
        while (char := self.peek()) != "]" or self.at == start:
            if not char:
                raise _Refused("a bracket [ is not closed: close it, or escape it as \\[")
            items += 1
            posix = _POSIX.match(self.text, self.at)
            if posix is not None:
                self.at = posix.end()
                continue
            if self.text.startswith("[:", self.at):
                raise _Refused(
                    "[: begins the name of an unknown class: write one such as [:alpha:], or escape ["
                )
            low = self.member()
            if self.peek() == "-" and self.text[self.at + 1 : self.at + 2] not in ("]", ""):
                self.at += 1
                high = self.member()
                if low is None or high is None or high < low:
                    raise _Refused("a range in [] ends before it begins, or is none: write its ends in order")
        self.at += 1
        return _SIZE_OF_ANY + 4 * items

    def member(self) -> int | None:
        """One character of a bracket expression as its code; None for a class of several."""
        char = self.peek()
        self.at += 1
        if char != "\\":
            if ord(char) >= _ASCII:
                raise _Refused(f"[] compares bytes, and {char} has several: write (?:{char}|...) instead")
            return ord(char)
        if self.is_class():
            return None
        begin = self.at
        self.literal()
        written = self.text[begin : self.at]
        if written in _CONTROLS:
            return _CONTROLS[written]
        if (found := _HEX.fullmatch(written)) is not None:
            return int(found[1] or found[2], 16)
        return int(written, 8) if _OCTAL.fullmatch(written) else ord(written)


def fault(pattern: str) -> str | None:
    """What is wrong with the expression and what to write instead; None if RE2 takes it."""
    parser = _Parser(pattern)
    try:
        parser.alternatives(0)
    except _Refused as refused:
        return str(refused)
    if parser.peek() == ")":
        return "a bracket ) has no beginning: remove it, or escape it as \\)"
    return None
