"""One call to an issuer or a backend: bounded in time and size, and what its failure lets one assume.

==========================================  ===============  ==================
what happened                               call with effect  call that only reads
==========================================  ===============  ==================
no connection, certificate not trusted      NothingHappened  NothingHappened
timeout or cut after sending                Unclear          NothingHappened
2xx that can't be read                      Unclear          NothingHappened
3xx                                         Refused          Refused
408, 409, 5xx                               Unclear          NothingHappened
425, 429                                    NothingHappened  NothingHappened
other 4xx                                   Refused          Refused
==========================================  ===============  ==================

Redirects are not followed, since that would show the credential to somebody else; proxies of the environment
are not used. Messages hold no part of a body but an error code of letters.
"""

import asyncio
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp
import orjson

from moltbot_operator.compile.local import is_local
from moltbot_operator.errors import IssuerError, NothingHappened, Refused, Unclear
from moltbot_operator.providers.issuers.hosts import Hosts
from moltbot_operator.providers.issuers.resolving import NotLocal

__all__ = ["ANSWER_BYTES", "TIMEOUT", "Answer", "Caller", "Request", "checked", "place"]

TIMEOUT: Final = timedelta(seconds=15)
"""Of a whole call."""

CONNECT: Final = timedelta(seconds=5)
"""Of name resolution, connection and TLS: nothing has been sent yet."""

ANSWER_BYTES: Final = 4 * 1024 * 1024
"""Longest answer: a list of some thousand keys."""

_CODE: Final = re.compile(r"[a-z][a-z_]{0,39}")
"""An error's code as far as it is repeated: what else an answer says may quote the request."""

_OK, _REDIRECT, _BAD, _SERVER = 200, 300, 400, 500
_UNCLEAR: Final = frozenset({408, 409})
_LATER: Final = frozenset({425, 429})
_LONGEST_PAUSE: Final = 6 * 3600.0


@dataclass(frozen=True)
class Request:
    """What is sent."""

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes | None = field(default=None, repr=False)
    server_name: str | None = None
    """Name to expect in the certificate where it is not the URL's host."""

    @property
    def what(self) -> str:
        """The call without its query, for messages."""
        return f"{self.method} {place(self.url)}"


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)

    @property
    def document(self) -> Any:
        """The body as JSON; None where it is none."""
        try:
            return orjson.loads(self.body)
        except orjson.JSONDecodeError:
            return None


class Caller:
    """Calls hosts, each within its limits."""

    def __init__(
        self, hosts: Hosts, trust: ssl.SSLContext, *, loopback: bool = False, timeout: timedelta = TIMEOUT
    ) -> None:
        """`loopback`: whether the operator's own node may be called, as tests do."""
        self._hosts = hosts
        self._trust = trust
        self._loopback = loopback
        self._timeout = timeout

    async def call(self, request: Request, *, effect: bool) -> Answer:
        """The answer, whatever its status; `effect`: whether the call may change something there.

        Raises NothingHappened, or Unclear where `effect`, if there was none.
        """
        parts = urlsplit(request.url)
        host = parts.netloc.rpartition("@")[2]
        if not self._loopback and is_local(parts.hostname or ""):
            raise Refused(f"{request.what}: the host is the operator's own pod or node")
        async with self._hosts.turn(host):
            answer = await self._answer(request, effect=effect)
        pause = _pause(answer)
        if answer.status in _LATER and pause is not None:
            self._hosts.close(host, pause)
        return answer

    async def _answer(self, request: Request, *, effect: bool) -> Answer:
        uncertain: type[IssuerError] = Unclear if effect else NothingHappened
        limits = aiohttp.ClientTimeout(
            total=self._timeout.total_seconds(),
            connect=min(CONNECT, self._timeout * 0.8).total_seconds(),
        )
        resolver = None if self._loopback else NotLocal()
        connector = aiohttp.TCPConnector(ssl=self._trust, force_close=True, resolver=resolver)
        try:
            async with (
                aiohttp.ClientSession(
                    connector=connector,
                    cookie_jar=aiohttp.DummyCookieJar(),
                    timeout=limits,
                    trust_env=False,
                ) as session,
                session.request(
                    request.method,
                    request.url,
                    data=request.body,
                    headers=request.headers,
                    allow_redirects=False,
                    server_hostname=request.server_name,
                ) as got,
            ):
                body = await _read(got.content)
                if len(body) > ANSWER_BYTES:
                    raise uncertain(f"{request.what} answered with more than {ANSWER_BYTES} bytes")
                return Answer(got.status, got.headers, body)
        except (aiohttp.ClientConnectorCertificateError, ssl.SSLCertVerificationError) as error:
            raise NothingHappened(
                f"{request.what}: the certificate is not trusted: {_reason(error)}"
            ) from None
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise NothingHappened(f"{request.what} can't be reached{_words(error)}") from None
        except TimeoutError:
            seconds = self._timeout.total_seconds()
            raise uncertain(f"{request.what} did not answer within {seconds:g} s") from None
        except (aiohttp.InvalidURL, ValueError):
            raise Refused(f"{request.what} is no URL that can be called") from None
        except (aiohttp.ClientError, OSError, asyncio.IncompleteReadError) as error:
            raise uncertain(f"{request.what}: the connection broke: {type(error).__name__}") from None


def checked(request: Request, answer: Answer, *, effect: bool, hint: str = "") -> Answer:
    """The answer if it is a 2xx; else raises by the table above. `hint`: what to check after 401 and 403."""
    status = answer.status
    if _OK <= status < _REDIRECT:
        return answer
    said = f"{request.what} answered {status}{_code(answer)}"
    if _REDIRECT <= status < _BAD:
        raise Refused(f"{said}, a redirect, which is not followed: write its target as the URL")
    if status in _LATER:
        raise NothingHappened(f"{said}: it wants to be asked later", _pause(answer))
    if status in _UNCLEAR or status >= _SERVER:
        raise (Unclear if effect else NothingHappened)(said, _pause(answer))
    if status in {401, 403} and hint:
        said = f"{said}; {hint}"
    raise Refused(said)


def place(url: str) -> str:
    """Scheme, host and path of a URL, for messages: a query or a user's name may be secret."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"[:200]


def _code(answer: Answer) -> str:
    """A space and the code by which the answer names its error, if there is one."""
    document = answer.document
    error = document.get("error") if isinstance(document, dict) else None
    candidates = [error.get("code"), error.get("type")] if isinstance(error, dict) else [error]
    for each in candidates:
        if isinstance(each, str) and _CODE.fullmatch(each):
            return f" {each}"
    return ""


def _pause(answer: Answer) -> timedelta | None:
    """Retry-After in seconds; its form as a date is not worth a clock that may differ."""
    value = answer.headers.get("retry-after", "").strip()
    if not re.fullmatch(r"[0-9]{1,9}", value):
        return None
    return timedelta(seconds=min(float(value), _LONGEST_PAUSE))


async def _read(content: aiohttp.StreamReader) -> bytes:
    """The body, or a byte more than what is read of it."""
    parts, length = [], 0
    while length <= ANSWER_BYTES and (part := await content.read(ANSWER_BYTES + 1 - length)):
        parts.append(part)
        length += len(part)
    return b"".join(parts)


def _reason(error: Exception) -> str:
    cause = getattr(error, "certificate_error", error)
    return str(getattr(cause, "verify_message", "") or type(cause).__name__)


def _words(error: Exception) -> str:
    cause = getattr(error, "os_error", error)
    words = getattr(cause, "strerror", None)
    return f": {words}" if words else ""
