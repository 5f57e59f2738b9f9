"""Fetching tokens from token endpoints, each on its own: one's failure is its backends' alone.

A call is bounded in time and size, verifies the endpoint's certificate, and follows no redirect, since that
would show the client's secret to somebody else. Proxies of the environment are not used.
"""

import asyncio
import logging
import ssl
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import aiohttp

from moltbot_agent.clock import boot
from moltbot_agent.config import FetchedToken
from moltbot_agent.oauth2 import ANSWER_BYTES, Grant, Refused, grant, token_request
from moltbot_agent.sources import file_signature
from moltbot_agent.tokens import Issuance, Token, digest
from moltbot_agent.trust import trusting

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Fetcher"]

TIMEOUT_S: Final = 10.0
"""Limit of a call; less while a token lives, so that several attempts fit before its end."""

SHORTEST_TIMEOUT_S: Final = 2.0

_log = logging.getLogger(__name__)


class Fetcher:
    """Fetches what is due, in tasks of its own."""

    def __init__(self, issuances: list[Issuance], done: Callable[[], None]) -> None:
        """`done` is called after each attempt, to hand the token over."""
        self._issuances = [issuance for issuance in issuances if issuance.fetched]
        self._done = done
        self._tasks: dict[int, tuple[str, asyncio.Task[None]]] = {}
        self._trust: dict[Path, tuple[tuple[object, ...], ssl.SSLContext]] = {}

    def start_due(self) -> None:
        """Begin what is due; a call that is under way with a secret that was replaced is given up."""
        now = boot()
        for number, issuance in enumerate(self._issuances):
            source, task = self._tasks.get(number, (None, None))
            if task is not None:  # under way
                if issuance.source is None or issuance.source == source:
                    continue
                task.cancel()
                del self._tasks[number]
            if issuance.source is not None and issuance.due(now):
                task = asyncio.create_task(self._attempt(number, issuance, issuance.source))
                self._tasks[number] = (issuance.source, task)
                issuance.under_way = True

    async def stop(self) -> None:
        """Give up what is under way."""
        tasks = [task for _, task in self._tasks.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _attempt(self, number: int, issuance: Issuance, secret: str) -> None:
        wanted = issuance.credential.token
        if not isinstance(wanted, FetchedToken):
            return
        began, timeout_s = boot(), TIMEOUT_S
        if issuance.token is not None:
            left = issuance.token.end - began
            timeout_s = min(TIMEOUT_S, max(SHORTEST_TIMEOUT_S, left / 3))
        try:
            granted = await self._fetch(wanted, secret, timeout_s)
        except Refused as error:
            issuance.missed(f"token endpoint {wanted.url} {error}", boot(), error.retry_after_s)
        except Exception:  # noqa: BLE001 -- whatever happened, it must be tried again
            _log.exception("fetching a token failed; this is a defect")
            issuance.missed(f"token endpoint {wanted.url} could not be asked", boot())
        else:
            token = Token.issue(granted.token, began, granted.life_s, digest(secret))
            if token.end > boot():
                issuance.got(token)
            else:
                issuance.missed(f"token endpoint {wanted.url} granted a token that has expired", boot())
        issuance.under_way = False
        del self._tasks[number]  # not where it was cancelled: whoever did that has another one in its place
        self._done()

    async def _fetch(self, wanted: FetchedToken, secret: str, timeout_s: float) -> Grant:
        request = token_request(wanted, secret)
        try:
            async with (
                asyncio.timeout(timeout_s),
                aiohttp.ClientSession(
                    connector=aiohttp.TCPConnector(ssl=self._context(wanted), force_close=True),
                    cookie_jar=aiohttp.DummyCookieJar(),
                    auto_decompress=True,
                    trust_env=False,
                ) as session,
                session.post(
                    wanted.url, data=request.body, headers=request.headers, allow_redirects=False
                ) as answer,
            ):
                body = await _read(answer.content)
                return grant(answer.status, answer.headers, body)
        except TimeoutError:
            raise Refused(f"did not answer within {timeout_s:.0f} s") from None
        except (aiohttp.ClientConnectorCertificateError, ssl.SSLCertVerificationError) as error:
            raise Refused(f"has a certificate that is not trusted: {_reason(error)}") from None
        except (aiohttp.ClientError, OSError) as error:
            raise Refused(f"can't be reached: {type(error).__name__}{_errno(error)}") from None

    def _context(self, wanted: FetchedToken) -> ssl.SSLContext | bool:
        """Trust in the bundle alone, read anew where the file was replaced. Raises Refused."""
        if not wanted.url.startswith("https://"):
            return True
        now = file_signature(wanted.ca)
        known = self._trust.get(wanted.ca)
        if known is not None and known[0] == now:
            return known[1]
        try:
            context = trusting(str(wanted.ca))
        except (OSError, ValueError):
            raise Refused(f"can't be verified: {wanted.ca} holds no CA certificates in PEM") from None
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        self._trust[wanted.ca] = (now, context)
        return context


async def _read(content: aiohttp.StreamReader) -> bytes:
    """The body, or a byte more than what is read of it."""
    body = b""
    while len(body) <= ANSWER_BYTES and (part := await content.read(ANSWER_BYTES + 1 - len(body))):
        body += part
    return body


def _reason(error: Exception) -> str:
    cause = getattr(error, "certificate_error", error)
    return str(getattr(cause, "verify_message", "") or type(cause).__name__)


def _errno(error: Exception) -> str:
    cause = getattr(error, "os_error", error)
    words = getattr(cause, "strerror", None)
    return f" ({words})" if words else ""
