"""Issuers that need nobody: keys made here, and credentials that somebody else puts into a Secret."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

from moltbot_agent.signing import new_key, public_jwk
from moltbot_operator.errors import NothingHappened
from moltbot_operator.rotation.issuing import Credential, Found

__all__ = ["ExternalIssuer", "ManagedIssuer", "Verifying"]

Verifying = Callable[[Credential], Awaitable[None]]
"""Uses a credential once, for real; see `Issuer.verify`."""


class ManagedIssuer:
    """Makes signing keys. One that nobody stored is worth nothing, so there is nothing to find."""

    lists = True

    def __init__(self, algorithm: str, verify: Verifying) -> None:
        self._algorithm = algorithm
        self.verify = verify

    async def find(self, prefix: str) -> tuple[Found, ...]:  # noqa: ARG002
        """None: the JWKS says what is valid."""
        return ()

    async def create(self, tag: str) -> Credential:
        """A new private key in PEM; its id is the thumbprint that tokens name."""
        pem = await asyncio.to_thread(new_key, self._algorithm)
        jwk = await asyncio.to_thread(public_jwk, pem, self._algorithm)
        return Credential(str(jwk["kid"]), tag, pem, {"algorithm": self._algorithm})

    async def revoke(self, known: Found | Credential) -> None:
        """Nothing: it goes out of the JWKS with its Secret."""


class ExternalIssuer:
    """Takes what somebody put into the Secret that the spec names, and keeps a copy of it."""

    lists = True

    def __init__(self, read: Callable[[], Awaitable[Credential | None]], verify: Verifying) -> None:
        self._read = read
        self.verify = verify

    async def find(self, prefix: str) -> tuple[Found, ...]:  # noqa: ARG002
        """None: nothing is ours there."""
        return ()

    async def create(self, tag: str) -> Credential:
        """A copy of the value as it is now."""
        found = await self._read()
        if found is None:
            raise NothingHappened("The Secret that the spec names is gone: fill it again.")
        return replace(found, tag=tag)

    async def revoke(self, known: Found | Credential) -> None:
        """Nothing: whoever replaced it does that."""
