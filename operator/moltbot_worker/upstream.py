"""Calls of the worker to the gateway's worker listener.

aiohttp's client is the cheapest that was measured (docs/workers.md). Answers come as they are, uncompressed:
the features read them.
"""

import asyncio
import random
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, Protocol, Self

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from moltbot_worker import protocol
from moltbot_worker.config import Choice, GatewayCalls
from moltbot_worker.errors import AnswerBroken, GatewayUnreachable
from moltbot_worker.exchange import Answer, Headers, Request, refusal

__all__ = ["Calls", "Upstream", "drawn", "for_backend", "read_key"]

CONNECT_S: Final = 5.0
"""Limit for a connection to the gateway, which is near."""

_HOP: Final = frozenset(
    b"connection content-length date host keep-alive proxy-authenticate proxy-connection server te trailer "
    b"transfer-encoding upgrade".split(b" ")
)
"""Headers of one connection (RFC 9110 §7.6.1), and those that each server writes by itself."""

_ASKED: Final = _HOP | {b"accept-encoding", b"authorization", b"x-api-key", b"api-key", b"expect", b"cookie"}
"""Not sent on: the gateway puts in the provider's credential, and compressed answers can't be read."""

_REFUSED: Final = frozenset({401, 403})
"""Of the listener itself where no backend is named: it has another secret. Of a backend, its own affair."""


def read_key(path: Path) -> bytes | None:
    """The shared secret; None where the file is missing or empty: then nothing is taken nor sent."""
    try:
        return path.read_bytes().strip() or None
    except OSError:
        return None


def drawn(request: Request) -> tuple[Request, Choice]:
    """The choice that the gateway drew, and the request as it came.

    Where it drew none, or one of another revision: a new draw, and the request with that candidate's model.
    """
    choices = request.rule.choices
    for choice in choices:
        if choice.route == request.route:
            return request, choice
    weights = [choice.weight for choice in choices]
    choice = random.choices(choices, weights if any(weights) else None)[0]  # noqa: S311 - a load's share
    if request.document is None:
        return replace(request, route=choice.route), choice
    return request.saying(for_backend(request, choice.chain[0]), route=choice.route), choice


def for_backend(request: Request, label: str) -> dict[str, Any]:
    """The request's document with the model as that backend knows it."""
    document = dict(request.document or {})
    model = request.rule.backends[label].model or request.model
    if model is not None:
        document["model"] = model
    return document


class Calls(Protocol):
    """Calls of backends, in the client's words."""

    async def forward(self, request: Request) -> Answer:
        """By the drawn route, with failover."""

    async def ask(self, request: Request, label: str) -> Answer:
        """One backend alone."""


class Upstream:
    """The client; one for the process."""

    def __init__(self, calls: GatewayCalls) -> None:
        self._calls = calls
        self._session: aiohttp.ClientSession | None = None
        self._key: bytes | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            auto_decompress=False,
            connector=aiohttp.TCPConnector(limit=self._calls.max_connections, keepalive_timeout=55),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S),
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
            read_bufsize=2**18,
        )
        self.reload()
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()

    def reload(self) -> None:
        """Read the secret again, as it may have been replaced."""
        self._key = read_key(self._calls.key) or self._key

    @property
    def key(self) -> bytes | None:
        """The shared secret."""
        return self._key

    async def forward(self, request: Request) -> Answer:
        """By the drawn route, with the chain's own failover. See :meth:`call`."""
        request, choice = drawn(request)
        return await self.call(request, (protocol.ROUTE, choice.route.encode()))

    async def ask(self, request: Request, label: str) -> Answer:
        """One backend alone; the request's model must be that backend's. See :meth:`call`."""
        return await self.call(request, (protocol.BACKEND, label.encode()))

    async def call(self, request: Request, to: tuple[bytes, bytes]) -> Answer:
        """The answer, its body as it comes.

        Raises GatewayUnreachable where the listener can't be reached; silence longer than the rule's
        `first_byte` is a 504, since the chain has been through. Reading the body raises AnswerBroken where
        it breaks off.
        """
        if self._session is None or self._key is None:
            raise GatewayUnreachable("the secret of the worker listener is missing")
        headers = CIMultiDict(
            (key.decode("latin-1"), value.decode("latin-1"))
            for key, value in (*request.headers, *request.more)
            if key not in _ASKED and not key.startswith(protocol.OWN)
        )
        for key, value in (
            (protocol.KEY, self._key),
            (protocol.RULE, request.rule.name.encode()),
            (protocol.CONSUMER, request.consumer.encode()),
            to,
        ):
            headers[key.decode()] = value.decode("latin-1")
        if request.request_id:
            headers["x-request-id"] = request.request_id.decode("latin-1")
        try:
            async with asyncio.timeout(request.rule.first_byte):
                response = await self._session.request(
                    request.method,
                    URL(self._calls.url + request.path, encoded=True),
                    headers=headers,
                    data=request.body or None,
                    allow_redirects=False,
                )
        except TimeoutError:
            message = f"No answer within {request.rule.first_byte:g} s, all attempts together."
            return refusal(504, message, "backend_unavailable", kind="server_error")
        except (aiohttp.ClientError, OSError) as error:
            raise GatewayUnreachable(f"the worker listener did not answer: {type(error).__name__}") from error
        if response.status in _REFUSED and "x-moltbot-backend" not in response.headers:
            response.release()
            raise GatewayUnreachable("the worker listener has another secret")
        return Answer(response.status, _kept(response), _Body(response, request.rule.idle))


def _kept(response: aiohttp.ClientResponse) -> Headers:
    found = [(key.lower(), value) for key, value in response.raw_headers]
    return [(key, value) for key, value in found if key not in _HOP and not key.startswith(protocol.OWN)]


class _Body:
    """Parts of an answer. No generator: one that was never begun would not end its call when closed."""

    def __init__(self, response: aiohttp.ClientResponse, idle: float) -> None:
        self._response = response
        self._idle = idle

    def __aiter__(self) -> "_Body":
        return self

    async def __anext__(self) -> bytes:
        try:
            async with asyncio.timeout(self._idle):
                part = await self._response.content.readany()
        except TimeoutError as error:
            raise AnswerBroken(f"it was silent for {self._idle:g} s") from error
        except (aiohttp.ClientError, OSError) as error:
            raise AnswerBroken(f"it broke off ({type(error).__name__})") from error
        if not part:
            raise StopAsyncIteration
        return part

    async def aclose(self) -> None:
        """A connection whose answer was read to its end goes back to the pool."""
        if self._response.content.at_eof() and self._response.content.exception() is None:
            self._response.release()
        else:
            self._response.close()
