"""Resolving names to addresses that are not the operator's own.

Whoever may write a ModelBackend must not reach by it what listens in the operator's pod or on its node,
metadata services among them.
"""

import socket

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from moltbot_operator.compile.local import is_local

__all__ = ["NotLocal"]


class NotLocal(AbstractResolver):
    """The system's resolver, without loopback and link-local addresses."""

    def __init__(self) -> None:
        self._system = aiohttp.ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Addresses of the host. OSError where none is left."""
        found = await self._system.resolve(host, port, family)
        kept = [each for each in found if not is_local(each["host"])]
        if found and not kept:
            raise OSError(None, "the name leads to the operator's own pod or node")
        return kept

    async def close(self) -> None:
        """Nothing is held."""
        await self._system.close()
