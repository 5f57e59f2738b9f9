"""A gateway whose providers know the operations that official SDKs use, and the SDKs' clients for it."""

import contextlib

import pytest_asyncio
from gateway_bed import backend, keyed, route, rule, secret, serving
from moltbot_provider import Provider

KEY = "sk-web-app"
REFUSED = "sk-narrow"
PROVIDER_KEY = "Bearer provider-key"


@contextlib.asynccontextmanager
async def sdk_bed(folder):
    """Two OpenAI-like candidates with a fallback (`/v1`), a rule by model, and an Anthropic backend."""
    async with contextlib.AsyncExitStack() as stack:
        made = {}
        for name in ("one", "two", "spare", "claude"):
            header = {"x-api-key": "claude-key"} if name == "claude" else {"authorization": PROVIDER_KEY}
            models = [f"{name}-model"]
            made[name] = await stack.enter_async_context(Provider(name=name, models=models, expect=header))
        quick = {"maxRetries": 2, "backoff": {"base": "10ms", "max": "20ms"}}
        claude = {"header": "x-api-key", "prefix": ""}
        objects = [
            route(
                rule("claude", ["claude"], path="^/anthropic/", failover={"maxRetries": 0}),
                rule("alone", ["spare"], path="^/alone/", failover={"maxRetries": 0}),
                rule("all", {"one": 1, "two": 1}, ["spare"], failover=quick),
                consumers=[keyed("web-app", *made), keyed("narrow", "claude")],
            ),
            secret("web-app-keys", current=KEY),
            secret("narrow-keys", current=REFUSED),
            *backend("claude", made["claude"].url, key="claude-key", apiKey=claude),
        ]
        for name in ("one", "two", "spare"):
            objects += backend(name, made[name].url, key="provider-key", model=f"{name}-model")
        yield await stack.enter_async_context(serving(*objects, folder=folder)), made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def served(tmp_path_factory):
    """Bed and providers by name; each module its own."""
    async with sdk_bed(tmp_path_factory.mktemp("sdk")) as found:
        yield found
