"""Issuers of tokens (JWT) for tests: real keys, and an HTTP server that publishes them."""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Mapping
from typing import Any

from aiohttp import web
from joserfc import jws, jwt
from joserfc.jwk import ECKey, Key, OKPKey, RSAKey

__all__ = ["Issuer", "Published", "config_map", "published", "tokened"]

ALGORITHMS = ["RS256", "RS384", "PS256", "ES256", "ES384", "EdDSA", "HS256", "none"]


class Issuer:
    """Signs tokens for `iss` with its newest key."""

    def __init__(self, iss: str = "https://issuer.example", kind: str = "RS256") -> None:
        self.iss = iss
        self.kind = kind
        self.keys: list[Key] = []
        self.rotate()

    def rotate(self, *, keep: bool = True) -> None:
        kid = {"kid": f"key-{len(self.keys) + 1}"}
        make = {"R": lambda: RSAKey.generate_key(2048, kid), "P": lambda: RSAKey.generate_key(2048, kid)}
        make["E"] = lambda: ECKey.generate_key("P-256", kid)
        key = OKPKey.generate_key("Ed25519", kid) if self.kind == "EdDSA" else make[self.kind[0]]()
        self.keys = [*(self.keys if keep else []), key]

    @property
    def jwks(self) -> dict[str, Any]:
        return {"keys": [{**key.as_dict(private=False), "alg": self.kind, "use": "sig"} for key in self.keys]}

    def claims(self, **claims: Any) -> dict[str, Any]:
        """Of a token that lives an hour; None leaves a claim out."""
        now = int(time.time())
        all_claims = {"iss": self.iss, "sub": "somebody", "iat": now, "exp": now + 3600, **claims}
        return {name: value for name, value in all_claims.items() if value is not None}

    def token(self, *, header: Mapping[str, Any] | None = None, key: Any = None, **claims: Any) -> str:
        given = key or self.keys[-1]
        made = {"alg": self.kind, "kid": self.keys[-1].kid, **(header or {})}
        made = {name: value for name, value in made.items() if value is not None}
        registry = jws.JWSRegistry(algorithms=ALGORITHMS)
        if made["alg"] == "none":
            return jws.serialize_compact(
                made, json.dumps(self.claims(**claims)), given, algorithms=ALGORITHMS
            )
        return jwt.encode(made, self.claims(**claims), given, algorithms=ALGORITHMS, registry=registry)


def config_map(name: str, **values: str) -> Mapping[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": values}


def tokened(name: str, *backends: str, iss: str, jwks: Mapping[str, Any], **more: Any) -> Mapping[str, Any]:
    """A consumer with tokens."""
    return {
        "name": name,
        "auth": {"jwt": {"issuer": iss, "jwks": jwks, **more}},
        "backends": list(backends),
    }


class Published:
    """What the server answers with, and how often it was asked."""

    def __init__(self, issuer: Issuer) -> None:
        self.issuer = issuer
        self.url = ""
        self.asked = 0
        self.ended = asyncio.Event()
        self.fault: str | None = None
        """`status`, `hang` or `garbage`."""

    async def answer(self, _: web.Request) -> web.Response:
        self.asked += 1
        if self.fault == "hang":
            await self.ended.wait()
        if self.fault == "status":
            return web.Response(status=500)
        if self.fault == "garbage":
            return web.Response(text="<html>")
        return web.json_response(self.issuer.jwks)


@contextlib.asynccontextmanager
async def published(issuer: Issuer, port: int = 0) -> AsyncIterator[Published]:
    """Serve the issuer's keys until the block ends."""
    server = Published(issuer)
    app = web.Application()
    app.router.add_get("/jwks.json", server.answer)
    runner = web.AppRunner(app, shutdown_timeout=1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port)
    await site.start()
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}/jwks.json"
    try:
        yield server
    finally:
        server.ended.set()
        await runner.cleanup()
