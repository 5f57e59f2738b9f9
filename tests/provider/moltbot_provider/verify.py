"""Verifying the tokens that the gateway sends: signed ones by a JWKS, opaque ones by introspection.

Sources: RFC 7519 §7.2, RFC 8725 §3, RFC 7662, RFC 9111 §4.2.1 (max-age), RFC 5861 §4 (stale-if-error).
"""

import re
import time
from collections.abc import Mapping, Sequence
from typing import Any

import aiohttp

__all__ = ["FetchedKeys", "Introspection", "SignedTokens"]

FETCH_S = 1.0
"""How long a request waits for a JWKS: less than a gateway waits for the answer (`timeouts.firstByte`)."""

AGAIN_S = 1.0
"""When a set that could not be fetched is asked for again, while the one that is known may be used."""


class SignedTokens:
    """Takes JWTs that one of the keys signed, with these claims, and each only until it expires."""

    def __init__(
        self, keys: Sequence[Mapping[str, Any]], issuer: str, subject: str, audience: str, leeway: float = 0
    ) -> None:
        self.keys = list(keys)
        """Public JWKs with `kid` and `alg`."""
        self.jtis: set[str] = set()
        self._wanted = {"iss": issuer, "sub": subject, "aud": audience}
        self._leeway = leeway

    async def __call__(self, value: str) -> str | None:
        """What is wrong with the credential, else None."""
        from joserfc import jwt
        from joserfc.errors import JoseError
        from joserfc.jwk import KeySet

        scheme, _, token = value.partition(" ")
        if scheme != "Bearer":
            return "no bearer token"
        try:
            algorithms = sorted({key["alg"] for key in self.keys})
            decoded = jwt.decode(token, KeySet.import_key_set({"keys": self.keys}), algorithms=algorithms)
        except (JoseError, ValueError) as error:
            return f"a token that can't be verified: {type(error).__name__}"
        wrong = self._wrong(decoded.claims) if "kid" in decoded.header else "a token without kid"
        if wrong is None:
            self.jtis.add(decoded.claims["jti"])
        return wrong

    def _wrong(self, claims: Mapping[str, Any]) -> str | None:
        now = time.time()
        for name, wanted in self._wanted.items():
            if claims.get(name) != wanted:
                return f"a token with the claim {name} {claims.get(name)!r}"
        if claims["iat"] > now + self._leeway:
            return "a token of the future"
        if now >= claims["exp"] + self._leeway:
            return f"a token that expired {now - claims['exp']:.3f} s ago"
        return None


class FetchedKeys:
    """Takes JWTs as SignedTokens does, by the JWKS of a URL, kept for as long as its `cache-control` says.

    A strict verifier: a key that it does not know does not make it ask anew, and a set that it can't fetch
    anew is used no longer than `stale-if-error` lets it; it asks again for each token then.
    """

    def __init__(self, url: str, issuer: str, subject: str, audience: str, leeway: float = 0) -> None:
        self.fetched = 0
        self.max_age: float | None = None
        self._url = url
        self._tokens = SignedTokens([], issuer, subject, audience, leeway)
        self._until = self._stale = 0.0
        self._session: aiohttp.ClientSession | None = None

    async def __call__(self, value: str) -> str | None:
        """What is wrong with the credential, else None."""
        if time.monotonic() >= self._until:
            wrong = await self._fetch()
            if wrong is not None and time.monotonic() >= self._stale:
                return wrong
            if wrong is not None:
                self._until = time.monotonic() + AGAIN_S
        return await self._tokens(value)

    async def close(self) -> None:
        """End its connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _fetch(self) -> str | None:
        self._session = self._session or aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=FETCH_S))
        try:
            async with self._session.get(self._url) as answer:
                document = await answer.json()
                control = answer.headers.get("cache-control", "")
                keys = document["keys"] if answer.status == 200 else None
        except (aiohttp.ClientError, TimeoutError, ValueError, KeyError, TypeError) as error:
            return f"a token whose JWKS can't be fetched: {type(error).__name__}"
        if keys is None:
            return f"a token whose JWKS was answered {answer.status}"
        age = re.search(r"max-age=(\d+)", control)
        self.max_age = float(age[1]) if age else 0.0
        self.fetched += 1
        self._tokens.keys = keys
        stale = re.search(r"stale-if-error=(\d+)", control)
        self._until = time.monotonic() + self.max_age
        self._stale = self._until + (float(stale[1]) if stale else 0.0)
        return None


class Introspection:
    """Takes tokens that an identity provider calls active."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._session: aiohttp.ClientSession | None = None

    async def __call__(self, value: str) -> str | None:
        """What is wrong with the credential, else None."""
        scheme, _, token = value.partition(" ")
        if scheme != "Bearer":
            return "no bearer token"
        self._session = self._session or aiohttp.ClientSession()
        try:
            async with self._session.post(self._url, data={"token": token}) as answer:
                document = await answer.json()
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            return f"a token that can't be introspected: {type(error).__name__}"
        return None if document.get("active") is True else "a token that is not active"

    async def close(self) -> None:
        """End its connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None
