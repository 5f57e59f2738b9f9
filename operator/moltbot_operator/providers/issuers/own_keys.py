"""Credentials that no issuer makes: signing keys, made here, and Secrets that somebody else fills."""

import asyncio
from dataclasses import dataclass

from moltbot_agent.signing import new_key, public_jwk
from moltbot_operator.api import JWTAlgorithm
from moltbot_operator.errors import NotOurs, Refused
from moltbot_operator.providers.issuers.verifying import Verifier
from moltbot_operator.rotation import Credential, Found

__all__ = ["ExternalSecret", "SigningKeys"]


@dataclass
class SigningKeys:
    """Key pairs: nobody outside knows of one before its public half is published."""

    algorithm: JWTAlgorithm
    verifier: Verifier
    lists: bool = True

    async def find(self, prefix: str) -> tuple[Found, ...]:  # noqa: ARG002
        """Nothing is anywhere but in our own Secrets."""
        return ()

    async def create(self, tag: str) -> Credential:
        """A new private key in PEM; its identifier is the `kid`."""
        pem = await asyncio.to_thread(new_key, self.algorithm.value)
        jwk = await asyncio.to_thread(public_jwk, pem, self.algorithm.value)
        return Credential(id=jwk["kid"], tag=tag, value=pem)

    async def verify(self, credential: Credential) -> None:
        """Send the backend a token that it signed."""
        await self.verifier.verify(credential)

    async def revoke(self, known: Found | Credential) -> None:
        """Nothing to do outside: a key is worth nothing once it is not published."""


@dataclass
class ExternalSecret:
    """A Secret that External Secrets, Vault or a person fills: never made and never revoked from here."""

    verifier: Verifier
    lists: bool = True

    async def find(self, prefix: str) -> tuple[Found, ...]:  # noqa: ARG002
        """Nothing: whoever fills the Secret knows."""
        return ()

    async def create(self, tag: str) -> Credential:  # noqa: ARG002
        """Refused: a changed value of the Secret is the new credential."""
        raise Refused("an External issuer makes no credentials: change the value of the Secret")

    async def verify(self, credential: Credential) -> None:
        """Use it at the backend."""
        await self.verifier.verify(credential)

    async def revoke(self, known: Found | Credential) -> None:
        """NotOurs, always."""
        raise NotOurs(
            f"credential {known.id or known.tag or 'before this one'} was made outside: revoke it there"
        )
