"""What the provider received: one record a request, in bounded memory."""

import base64
import hashlib
import json
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

__all__ = ["CREDENTIAL_HEADERS", "Outcome", "Record", "Records"]

CREDENTIAL_HEADERS = ("authorization", "x-api-key", "api-key", "x-goog-api-key")
"""Headers that providers take credentials from, in lower case."""

Outcome = Literal["in flight", "answered", "refused credential", "fault", "client left"]


@dataclass
class Record:
    """One request as it came over the wire."""

    number: int
    """Counts from 1 and goes on when old records are forgotten."""
    at: float
    """Seconds since the epoch."""
    method: str
    path: str
    """The request target, byte for byte, with the query."""
    headers: tuple[tuple[str, str], ...]
    """In order and with the case of their names as received."""
    body: bytes | None
    """None where it was too long to keep; `sha256` and `length` are always there."""
    sha256: str
    length: int
    connection: str
    """The peer's `address:port`."""
    outcome: Outcome = "in flight"
    status: int | None = None
    fault: str | None = None
    """Kind of the fault that the request met."""
    refused: str | None = None
    """What was wrong with its credential, where that was verified."""

    def header(self, name: str) -> str | None:
        """The first header of that name, whatever its case; None without one."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)

    @property
    def credentials(self) -> dict[str, list[str]]:
        """Every credential header with all its values, names in lower case."""
        found: dict[str, list[str]] = {}
        for key, value in self.headers:
            if key.lower() in CREDENTIAL_HEADERS:
                found.setdefault(key.lower(), []).append(value)
        return found

    def as_json(self) -> dict[str, Any]:
        """The form of `GET /requests`: the body as text (U+FFFD for what is not UTF-8)."""
        return {
            "number": self.number,
            "at": self.at,
            "method": self.method,
            "path": self.path,
            "headers": [list(pair) for pair in self.headers],
            "body": None if self.body is None else self.body.decode(errors="replace"),
            "sha256": self.sha256,
            "length": self.length,
            "connection": self.connection,
            "credentials": self.credentials,
            "outcome": self.outcome,
            "status": self.status,
            "fault": self.fault,
            "refused": self.refused,
        }


@dataclass
class Seen:
    """How one value of `Authorization` came."""

    first: float
    last: float
    count: int = 0
    refused: int = 0
    kid: str | None = None
    """Of a JWT."""


@dataclass
class Records(Sequence[Record]):
    """The last requests: at most `limit` of them and `body_bytes` of bodies, each body at most `one_body`."""

    limit: int = 10_000
    body_bytes: int = 64 * 1024 * 1024
    one_body: int = 2 * 1024 * 1024
    total: int = 0
    """Requests received since the start or the last `clear`."""
    in_flight: int = 0
    max_in_flight: int = 0
    seen: dict[str, Seen] = field(default_factory=dict)
    """Every different `Authorization` since the start, by its SHA-256."""
    _kept: deque[Record] = field(default_factory=deque)
    _kept_bytes: int = 0

    def __len__(self) -> int:
        return len(self._kept)

    def __getitem__(self, index: Any) -> Any:
        return list(self._kept)[index] if isinstance(index, slice) else self._kept[index]

    def __iter__(self) -> Iterator[Record]:
        return iter(list(self._kept))

    def add(
        self, method: str, path: str, headers: Sequence[tuple[bytes, bytes]], body: bytes, connection: str
    ) -> Record:
        """Keep a request and count it as in flight until :meth:`done`."""
        self.total += 1
        self.in_flight += 1
        self.max_in_flight = max(self.max_in_flight, self.in_flight)
        record = Record(
            number=self.total,
            at=time.time(),
            method=method,
            path=path,
            headers=tuple((key.decode("latin-1"), value.decode("latin-1")) for key, value in headers),
            body=body if len(body) <= self.one_body else None,
            sha256=hashlib.sha256(body).hexdigest(),
            length=len(body),
            connection=connection,
        )
        self._see(record)
        self._kept.append(record)
        self._kept_bytes += len(record.body or b"")
        self._forget()
        return record

    def _see(self, record: Record) -> None:
        if (key := _digest(record)) is None:
            return
        seen = self.seen.setdefault(key, Seen(record.at, record.at, kid=_kid(record.header("authorization"))))
        seen.last, seen.count = record.at, seen.count + 1

    def done(self, record: Record, outcome: Outcome, status: int | None = None) -> None:
        """The request's end; `status` is what was sent, None where nothing was."""
        self.in_flight -= 1
        if outcome == "refused credential" and (key := _digest(record)) in self.seen:
            self.seen[key].refused += 1
        record.outcome = outcome
        record.status = status

    def clear(self) -> None:
        """Forget all requests; those in flight stay counted."""
        self._kept.clear()
        self._kept_bytes = self.total = 0
        self.max_in_flight = self.in_flight

    def _forget(self) -> None:
        while len(self._kept) > self.limit or self._kept_bytes > self.body_bytes:
            self._kept_bytes -= len(self._kept.popleft().body or b"")


def _digest(record: Record) -> str | None:
    value = record.header("authorization")
    return None if value is None else hashlib.sha256(value.encode()).hexdigest()


def _kid(value: str | None) -> str | None:
    head = (value or "").removeprefix("Bearer ").partition(".")[0]
    try:
        found = json.loads(base64.urlsafe_b64decode(head + "=" * (-len(head) % 4)))
    except ValueError:
        return None
    return found.get("kid") if isinstance(found, dict) else None
