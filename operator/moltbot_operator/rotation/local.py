"""Issuers without a server: what somebody else puts into a Secret, and keys that are made here."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from secrets import token_urlsafe

from moltbot_operator.errors import NothingHappened
from moltbot_operator.rotation.issuing import Credential, Found

__all__ = ["ExternalIssuer", "OwnKeys", "Verifying"]

Verifying = Callable[[Credential], Awaitable[None]]
"""Uses a credential once, for real; see `Issuer.verify`."""


class ExternalIssuer:
    """Takes what somebody put into the Secret that the spec names, and keeps a copy of it."""

    lists = True

    def __init__(self, read: Callable[[], Awaitable[Credential | None]], verify: Verifying) -> None:
        self._read = read
        self._verify = verify

    async def find(self, prefix: str) -> tuple[Found, ...]:  # noqa: ARG002
        """None: nothing is ours there."""
        return ()

    async def create(self, tag: str) -> Credential:
        """A copy of the value as it is now."""
        found = await self._read()
        if found is None:
            raise NothingHappened("The Secret that the spec names is gone: fill it again.")
        return replace(found, tag=tag)

    async def verify(self, credential: Credential) -> None:
        """See `Issuer`."""
        await self._verify(credential)

    async def revoke(self, known: Found | Credential) -> None:
        """Nothing: whoever replaced it does that."""


class OwnKeys:
    """Makes keys for clients of the gateways: a key is valid while it is stored, and tried by nobody else."""

    lists = True

    async def find(self, prefix: str) -> tuple[Found, ...]:  # noqa: ARG002
        """None: what is not stored does not exist."""
        return ()

    async def create(self, tag: str) -> Credential:
        """A random key of 256 bits."""
        return Credential("", tag, token_urlsafe(32))

    async def verify(self, credential: Credential) -> None:
        """Nothing: the gateways' evidence is asked for next."""

    async def revoke(self, known: Found | Credential) -> None:
        """Nothing: that it is deleted is what ends it."""
