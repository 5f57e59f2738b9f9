"""The verifier by a JWKS: what it does while the set can't be had."""

import asyncio
import contextlib
import time

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from joserfc import jwt
from joserfc.jwk import ECKey
from moltbot_provider.verify import FetchedKeys

KEY = ECKey.generate_key("P-256", {"kid": "k1", "alg": "ES256"}, private=True)
CLAIMS = {"iss": "moltbot", "sub": "gateway", "aud": "models"}


@contextlib.asynccontextmanager
async def sets(control):
    """The URL of a JWKS with this `cache-control`, and an event: while it is set the JWKS hangs."""
    away = asyncio.Event()

    async def handle(_):
        if away.is_set():
            await asyncio.sleep(60)
        document = {"keys": [KEY.as_dict(private=False)]}
        return web.json_response(document, headers={"cache-control": control})

    app = web.Application()
    app.router.add_get("/jwks", handle)
    async with TestServer(app) as server:
        yield str(server.make_url("/jwks")), away


def token():
    now = time.time()
    claims = {**CLAIMS, "iat": now - 1, "exp": now + 300, "jti": "1"}
    return f"Bearer {jwt.encode({'alg': 'ES256', 'kid': 'k1'}, claims, KEY)}"


@pytest.mark.parametrize(
    ("control", "wrong"),
    [
        ("max-age=0, stale-if-error=3600", None),
        ("max-age=0", "a token whose JWKS can't be fetched: TimeoutError"),
    ],
)
async def test_a_set_that_hangs_is_used_on_only_as_it_allows(control, wrong):
    async with sets(control) as (url, away):
        verifier = FetchedKeys(url, "moltbot", "gateway", "models")
        try:
            assert await verifier(token()) is None
            away.set()
            assert await verifier(token()) == wrong
            away.clear()
            assert await verifier(token()) is None
        finally:
            await verifier.close()
