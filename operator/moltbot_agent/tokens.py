"""Tokens that the agent gets for backends: when to get the next one, and until when the last may be sent.

::

    source read ──▶ due ──▶ got ──▶ sent ──two thirds of its life──▶ due ──▶ got …
                     ▲               │                                │
                     └─── failed ◀───┼────────────── failed ◀─────────┘  (after a pause)
                                     └──▶ its end: the file is emptied

A token's life counts from the moment at which it was asked for, and ends a little early, since Envoy and the
network need their time too: it is never sent when it may have expired. A source with another value makes a
new token due at once; the last one is sent until the new one is there or its own end has come.

Nothing here waits or calls anybody; times are seconds of :func:`moltbot_agent.clock.boot`.
"""

import hashlib
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import orjson

from moltbot_agent.clock import boot, offset
from moltbot_agent.config import Credential
from moltbot_agent.sources import Unusable, file_signature, read_pem, read_value

__all__ = ["Issuance", "Token", "digest"]

EARLY_S: Final = 2.0
"""How long before its end a token is no longer sent; a twentieth of its life where that is less."""

RENEW: Final = (0.57, 0.67)
"""Share of a token's life after which the next is due: drawn anew for each, so that agents spread calls."""

FIRST_PAUSE_S: Final = 0.5
LONGEST_PAUSE_S: Final = 15.0
"""Pauses after failures double from the first to the longest, each shortened by chance by up to a half."""

LONGEST_WAIT_S: Final = 60.0
"""How long an endpoint's Retry-After may make us wait."""

CLOCK_SET_S: Final = 5.0
"""A time of day that jumps this far makes a signed token due: its claims speak of the time of day."""


def digest(value: str) -> str:
    """Tells one source value from another, in a file that only the pod can read."""
    return hashlib.sha256(value.encode()).hexdigest()


@dataclass(frozen=True)
class Token:
    """What a backend is sent."""

    value: str = field(repr=False)
    issued: float
    """When it was asked for."""
    expires: float
    renew: float
    """When the next one is due."""
    source: str
    """Digest of the source value that it was got with."""
    offset: float
    """Of the time of day, when it was issued."""

    @classmethod
    def issue(
        cls, value: str, issued: float, life_s: float, source: str, draw: Callable[[], float] = random.random
    ) -> "Token":
        """A token that lives `life_s` from `issued` on; `draw` gives a number from 0 to 1."""
        low, high = RENEW
        renew = issued + life_s * (low + (high - low) * draw())
        return cls(value, issued, issued + life_s, renew, source, offset())

    @property
    def end(self) -> float:
        """From when on it is no longer sent."""
        return self.expires - min(EARLY_S, (self.expires - self.issued) / 20)

    @property
    def not_after(self) -> float:
        """When it expires, in seconds since the epoch."""
        return self.expires + self.offset

    def pack(self) -> bytes:
        """For the state file."""
        return orjson.dumps(vars(self))

    @classmethod
    def unpack(cls, content: bytes) -> "Token | None":
        """The reverse; None for what is no token of this version."""
        try:
            found = orjson.loads(content)
            times = {name: float(found[name]) for name in ("issued", "expires", "renew", "offset")}
            return cls(value=str(found["value"]), source=str(found["source"]), **times)
        except (ValueError, KeyError, TypeError):
            return None


class Issuance:
    """One token, for all backends that are sent the same."""

    def __init__(self, credential: Credential, backends: tuple[str, ...]) -> None:
        self.credential = credential
        self.backends = backends
        self.token: Token | None = None
        """What is sent; None before the first one and after its end."""
        self.source: str | None = None
        """The source's value; None where it can't be used."""
        self.source_problem: str | None = None
        self.problem: str | None = None
        """Why the last attempt to get a token failed."""
        self.succeeded = 0
        self.failed = 0
        """Attempts, since the agent's start."""
        self.tried = False
        """Whether a token is there or the first attempt is over, so that Envoy need not wait."""
        self.under_way = False
        """Whether somebody is getting one just now."""
        self._failures = 0
        self._next_try = 0.0
        self._seen: tuple[object, ...] | None = None

    @property
    def fetched(self) -> bool:
        """Whether somebody else must be asked for the token."""
        return self.credential.token is not None and self.credential.token.kind == "OAuth2"

    @property
    def known_source(self) -> str | None:
        """The source value that the token in use was got with, where it is known."""
        same = self.token is not None and self.source is not None and self.token.source == digest(self.source)
        return self.source if same else None

    def restore(self) -> None:
        """Take over what an earlier agent of this pod left. Raises OSError where it can't be read."""
        if self.credential.state is None:
            return
        try:
            found = Token.unpack(self.credential.state.read_bytes())
        except FileNotFoundError:
            return
        if found is not None and boot() < found.end:
            self.token, self.tried = found, True

    def look(self) -> None:
        """Read the source if it changed."""
        path = self.credential.source
        now = file_signature(path)
        if now == self._seen:
            return
        self._seen = None
        try:
            value = read_value(path) if self.fetched else read_pem(path)
        except Unusable as error:
            if file_signature(path) == now:
                self.source, self.source_problem = None, f"{path} {error}"
            return
        except OSError as error:
            self.source_problem = f"{path} can't be read: {error.strerror}; tried again"
            return
        if value != self.source:
            self._failures, self._next_try, self.problem = 0, 0.0, None
        self.source, self.source_problem, self._seen = value, None, now

    def due(self, now: float) -> bool:
        """Whether a token is to be got now."""
        return self.source is not None and now >= self.next_due

    @property
    def next_due(self) -> float:
        """When a token is to be got, as things are."""
        if self.token is None or self.source is None or self.token.source != digest(self.source):
            return self._next_try
        if not self.fetched and abs(offset() - self.token.offset) > CLOCK_SET_S:
            return self._next_try
        return max(self._next_try, self.token.renew)

    def got(self, token: Token) -> None:
        """An attempt succeeded."""
        self.succeeded += 1
        self.token, self.problem, self.tried = token, None, True
        self._failures, self._next_try = 0, 0.0

    def missed(
        self,
        problem: str,
        now: float,
        retry_after_s: float | None = None,
        draw: Callable[[], float] = random.random,
    ) -> None:
        """An attempt failed; the next one comes after a pause."""
        self.failed += 1
        self.problem, self.tried = problem, True
        pause = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2**self._failures)
        if self.token is not None:  # it lives, and a few attempts should fit before its end
            pause = min(pause, max(FIRST_PAUSE_S, (self.token.end - now) / 4))
        pause *= 1 - draw() / 2
        self._failures = min(self._failures + 1, 10)
        self._next_try = now + max(pause, min(retry_after_s or 0.0, LONGEST_WAIT_S))

    def expire(self, now: float) -> bool:
        """Whether the token's end has come just now."""
        if self.token is None or now < self.token.end:
            return False
        self.token = None
        return True

    @property
    def problems(self) -> list[str]:
        """One for each backend that it concerns."""
        what = self.source_problem or self.problem
        if what is None:
            return []
        rest = "; the last token is sent until it expires" if self.token else "; no token is sent"
        kind = "OAuth2" if self.fetched else "JWT"
        return [f"backend {backend}: {kind}: {what}{rest}" for backend in self.backends]
