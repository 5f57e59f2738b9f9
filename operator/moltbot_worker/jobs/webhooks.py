"""Telling a consumer's webhook that a job has ended, signed as Standard Webhooks has it.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md. The secret of a
job is derived from the worker's own and from the job's id, and given to the consumer with the 202: nothing
must be kept nor set up. Redirects are not followed. This pod, its node and link-local addresses (where clouds
keep their metadata) are refused when the job comes and again when the URL is called.
"""

import asyncio
import base64
import fnmatch
import hashlib
import hmac
import ipaddress
import logging
import socket
from typing import Final
from urllib.parse import SplitResult, urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver

from moltbot_worker.config import Jobs
from moltbot_worker.upstream import read_key

__all__ = ["Webhooks", "signature"]

TIMEOUT_S: Final = 15.0
LONGEST_URL: Final = 2048

_OK: Final = range(200, 300)

_log = logging.getLogger(__name__)


def signature(secret: str, identity: str, timestamp: int, body: bytes) -> str:
    """`v1,` and the base64 of HMAC-SHA256(secret, `id.timestamp.body`)."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = f"{identity}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()


class Webhooks:
    """Calls webhooks; `allow_local` is for tests, whose servers are on this host."""

    def __init__(self, jobs: Jobs, *, allow_local: bool = False) -> None:
        self._key = jobs.webhook_key
        self._hosts = jobs.webhook_hosts
        self._allow_local = allow_local
        self._session: aiohttp.ClientSession | None = None

    def secret_of(self, job: str) -> str | None:
        """The secret that signs what is said of a job; None while the worker has none of its own."""
        key = None if self._key is None else read_key(self._key)
        if key is None:
            return None
        return "whsec_" + base64.b64encode(hmac.new(key, job.encode(), hashlib.sha256).digest()).decode()

    def refused(self, url: str) -> str | None:
        """Why this URL can't be a webhook; None if it can."""
        if self.secret_of("") is None:
            return "This gateway has no secret to sign webhooks with: leave x-moltbot-webhook out."
        parts = _split(url)
        if parts is None or parts.hostname is None:
            return (
                f"x-moltbot-webhook must be an http:// or https:// URL of at most {LONGEST_URL} characters."
            )
        if self._hosts and not any(fnmatch.fnmatchcase(parts.hostname.lower(), each) for each in self._hosts):
            return f"Webhooks may not go to {parts.hostname}: see jobs.webhookHosts."
        try:
            address = ipaddress.ip_address(parts.hostname)
        except ValueError:
            return None  # a name is looked up when it is called
        return None if self.may_reach(str(address)) else f"Webhooks may not go to {parts.hostname}."

    async def tell(self, url: str, job: str, body: bytes, timestamp: int) -> bool:
        """Whether the webhook answered 2xx in time."""
        secret = self.secret_of(job)
        if secret is None:
            return False
        headers = {
            "content-type": "application/json",
            "webhook-id": job,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": signature(secret, job, timestamp, body),
        }
        try:
            async with self._client().post(
                url, data=body, headers=headers, allow_redirects=False
            ) as response:
                return response.status in _OK
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            _log.info("webhook not reached", extra={"job": job, "why": type(error).__name__})
            return False

    async def close(self) -> None:
        """Give up connections."""
        if self._session is not None:
            await self._session.close()

    def _client(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector = aiohttp.TCPConnector(limit=64, resolver=_Resolver(self), use_dns_cache=False)
            self._session = aiohttp.ClientSession(
                connector=connector,
                timeout=aiohttp.ClientTimeout(total=TIMEOUT_S),
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self._session

    def may_reach(self, address: str) -> bool:
        """Whether an address may be called."""
        found = ipaddress.ip_address(address.partition("%")[0])
        mapped = getattr(found, "ipv4_mapped", None)
        found = mapped or found
        bad = found.is_loopback or found.is_link_local or found.is_multicast or found.is_unspecified
        return self._allow_local or not bad


class _Resolver(AbstractResolver):
    """Looks names up and drops addresses that may not be called: what was checked is what is connected to."""

    def __init__(self, webhooks: Webhooks) -> None:
        self._webhooks = webhooks
        self._inner = ThreadedResolver(loop=asyncio.get_running_loop())

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = await self._inner.resolve(host, port, family)
        kept = [each for each in found if self._webhooks.may_reach(each["host"])]
        if not kept:
            raise OSError(None, "no address that may be called")
        return kept

    async def close(self) -> None:
        await self._inner.close()


def _split(url: str) -> SplitResult | None:
    try:
        parts = urlsplit(url)
        valid = parts.port != 0
    except ValueError:
        return None
    if len(url) > LONGEST_URL or not url.isascii() or not url.isprintable() or parts.username is not None:
        return None
    return parts if valid and parts.scheme in {"http", "https"} else None
