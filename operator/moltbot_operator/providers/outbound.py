"""One HTTP call to an address that a user wrote, with limits of its own.

The whole call has one timeout, so that a server that sends a byte now and then can't hold it up; at most
64 KiB of an answer are read; redirects are not followed, since what is sent may be secret. An error says what
happened and to which address, and never holds a token or an address that is secret: messages of the HTTP
library are not passed on, and it does not log (it would write whole addresses).
"""

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from time import perf_counter
from types import TracebackType
from typing import Final, Self

import httpx

from moltbot_operator.compile.local import is_local
from moltbot_operator.rollout.ports import EffectError

__all__ = ["LARGEST", "Address", "Answer", "Outbound", "Unanswered", "Unreached"]

LARGEST: Final = 65_536
"""Bytes of an answer that are read; the rest is left where it is."""

CONNECT: Final = timedelta(seconds=5)
"""Longest wait for a connection, within the whole call's timeout."""

_OK: Final = 200
_REDIRECT: Final = 300

for _name in ("httpx", "httpcore"):
    logging.getLogger(_name).setLevel(logging.WARNING)


class Unanswered(EffectError):  # noqa: N818 - of ports.EffectError's family
    """The server was not reached, or gave no whole answer in time; the message says which and why."""


class Unreached(Unanswered):
    """There was no connection at all."""


@dataclass(frozen=True)
class Address:
    """Where to, with what is shown of it, and a bearer token where it asks for one."""

    url: str = field(repr=False)
    shown: str
    """In messages: the address, or where it comes from if it is secret."""
    token: str | None = field(default=None, repr=False)

    @property
    def headers(self) -> dict[str, str]:
        """The token's header, if there is a token."""
        return {} if self.token is None else {"authorization": f"Bearer {self.token}"}


@dataclass(frozen=True)
class Answer:
    """Status and (the beginning of) the body."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    """Names in lower case."""
    seconds: float = 0.0
    """From the request to the first byte of the body, or to its end where it is empty."""

    @property
    def ok(self) -> bool:
        """2xx."""
        return _OK <= self.status < _REDIRECT


class Outbound:
    """The client. Use as a context manager, or call `close`."""

    def __init__(self, *, loopback: bool = False) -> None:
        """`loopback`: whether this very pod and its node may be asked, as in tests and on one machine."""
        self._loopback = loopback
        self._client = httpx.AsyncClient(
            follow_redirects=False, limits=httpx.Limits(max_connections=64, max_keepalive_connections=0)
        )

    async def send(
        self,
        method: str,
        target: Address,
        *,
        timeout: timedelta,  # noqa: ASYNC109 - it is part of what is asked, and of the message
        headers: Mapping[str, str] | None = None,
        content: bytes | None = None,
        most: int = LARGEST,
    ) -> Answer:
        """The answer, whatever its status, with at most so many bytes of its body.

        Unanswered if there is none within `timeout`.
        """
        sent = {"user-agent": "moltbot-operator", **target.headers, **(headers or {})}
        try:
            url = httpx.URL(target.url)
            if not self._loopback and is_local(url.host):
                raise Unanswered(f"{target.shown} is this pod's or its node's own address: give another one")
            async with asyncio.timeout(timeout.total_seconds()):
                return await self._read(method, url, sent, content, timeout, most)
        except (TimeoutError, httpx.TimeoutException):
            raise Unanswered(f"{target.shown} gave no answer within {_said(timeout)}") from None
        except httpx.ConnectError:
            raise Unreached(f"{target.shown} can't be connected to") from None
        except (httpx.HTTPError, httpx.InvalidURL, UnicodeError, ValueError) as error:
            # `from None`: the library's error may hold the address, and tracebacks are logged
            raise Unanswered(f"{target.shown} can't be asked ({type(error).__name__})") from None

    async def _read(  # noqa: PLR0917
        self,
        method: str,
        url: httpx.URL,
        headers: Mapping[str, str],
        content: bytes | None,
        limit: timedelta,
        most: int,
    ) -> Answer:
        began = perf_counter()
        timeout = httpx.Timeout(limit.total_seconds(), connect=min(limit, CONNECT).total_seconds())
        async with self._client.stream(
            method, url, headers=headers, content=content, timeout=timeout
        ) as response:
            body, first = b"", None
            async for chunk in response.aiter_bytes():
                first = first or perf_counter()
                body += chunk
                if len(body) >= most:
                    break
            seconds = (first or perf_counter()) - began
            return Answer(response.status_code, body[:most], dict(response.headers), seconds)

    async def close(self) -> None:
        """Close all connections."""
        await self._client.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


def _said(timeout: timedelta) -> str:
    return f"{timeout.total_seconds():g} s"
