"""A kept answer in bytes: what the cache holds.

One line of JSON with status, headers and times, then the body as it came.
"""

import time
from dataclasses import dataclass
from typing import Final

import orjson

from moltbot_worker.exchange import Answer, Headers

__all__ = ["Kept"]

_KEPT: Final = (b"content-type", b"openai-", b"anthropic-", b"x-moltbot-backend", b"x-moltbot-rule")
"""Names, or beginnings, of headers that belong to the answer and not to the call that got it."""


@dataclass(frozen=True)
class Kept:
    """An answer with the time (seconds since 1970) when it was made and when it ends to be fresh."""

    status: int
    headers: Headers
    body: bytes
    made: float
    fresh_until: float

    @classmethod
    def of(cls, answer: Answer, body: bytes, ttl: float, now: float | None = None) -> "Kept":
        """An answer whose whole body is `body`."""
        now = time.time() if now is None else now
        headers = [pair for pair in answer.headers if pair[0].startswith(_KEPT)]
        return cls(answer.status, headers, body, now, now + ttl)

    def packed(self) -> bytes:
        """The form in the store."""
        head = {
            "status": self.status,
            "headers": [[name.decode("latin-1"), value.decode("latin-1")] for name, value in self.headers],
            "made": self.made,
            "fresh": self.fresh_until,
        }
        return orjson.dumps(head) + b"\n" + self.body

    @classmethod
    def unpacked(cls, value: bytes) -> "Kept | None":
        """None for what another version wrote, or anybody else."""
        head, _, body = value.partition(b"\n")
        try:
            read = orjson.loads(head)
            headers = [(name.encode("latin-1"), text.encode("latin-1")) for name, text in read["headers"]]
            return cls(int(read["status"]), headers, body, float(read["made"]), float(read["fresh"]))
        except (ValueError, TypeError, KeyError):
            return None

    def answer(self, result: bytes, now: float) -> Answer:
        """The answer again, byte for byte but for its headers."""
        age = str(max(0, int(now - self.made))).encode()
        return Answer(self.status, [*self.headers, (b"age", age), (b"x-moltbot-cache", result)], self.body)
