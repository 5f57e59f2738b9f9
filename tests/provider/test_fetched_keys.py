"""The verifier by a JWKS: what it does while the set can't be had."""

import asyncio
import time

import pytest
from aiohttp import web
from joserfc import jwt
from joserfc.jwk import ECKey
from moltbot_provider.verify import FetchedKeys

KEY = ECKey.generate_key("P-256", {"kid": "k1", "alg": "ES256"}, private=True)
CLAIMS = {"iss": "moltbot", "sub": "gateway", "aud": "models"}


class Sets:
    """A JWKS whose `cache-control` is given, and that hangs while `away`."""

    def __init__(self, control):
        self.control, self.away = control, False

    async def __aenter__(self):
        app = web.Application()
        app.router.add_get("/jwks", self._handle)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}/jwks"
        return self

    async def __aexit__(self, *_):
        await self._runner.cleanup()

    async def _handle(self, _):
        if self.away:
            await asyncio.sleep(60)
        document = {"keys": [KEY.as_dict(private=False)]}
        return web.json_response(document, headers={"cache-control": self.control})


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
    async with Sets(control) as sets:
        verifier = FetchedKeys(sets.url, "moltbot", "gateway", "models")
        try:
            assert await verifier(token()) is None
            sets.away = True
            assert await verifier(token()) == wrong
            sets.away = False
            assert await verifier(token()) is None
        finally:
            await verifier.close()
