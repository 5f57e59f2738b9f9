"""A gateway as `moltbot serve` runs it, before simulated providers: tests of the data plane on real Envoy.

::

    async with Provider(name="pro") as pro:
        async with serving(route(rule("all", ["pro"])), *backend("pro", pro.url), folder=tmp_path) as bed:
            answer = await bed.chat()
"""

import asyncio
import contextlib
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx
import yaml
from aiohttp import web

from moltbot_operator import serve
from moltbot_operator.audit import calls
from moltbot_operator.serve.files import read

__all__ = ["ANYONE", "Bed", "answering", "backend", "keyed", "route", "rule", "secret", "serving", "until"]

Object = Mapping[str, Any]
CHAT = "/v1/chat/completions"
BODY = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}]}


def backend(
    name: str, url: str, *, key: str | None = None, secret_name: str | None = None, **spec: Any
) -> list[Object]:
    """A ModelBackend, and its Secret where it has a key; `secret_name` refers to a given Secret instead."""
    given: dict[str, Any] = {"provider": "Custom", "endpoint": {"url": url}, **spec}
    objects: list[Object] = []
    if key is not None or secret_name is not None:
        reference = {"secretRef": {"name": secret_name or f"{name}-key", "key": "token"}}
        given["auth"] = {"type": "APIKey", "apiKey": {**reference, **given.pop("apiKey", {})}}
    if key is not None:
        objects.append(secret(f"{name}-key", token=key))
    return [_object("ModelBackend", name, given), *objects]


def secret(name: str, **values: str) -> Object:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": values}


def rule(
    name: str, candidates: Sequence[str] | Mapping[str, int], fallback: Sequence[str] = (), **more: Any
) -> Object:
    """Candidates by weight, or with equal weights. `path` (Regex) and `model` are short for a match."""
    weights = candidates if isinstance(candidates, Mapping) else dict.fromkeys(candidates, 1)
    match = {}
    if path := more.pop("path", None):
        match["path"] = {"type": "Regex", "value": path}
    if model := more.pop("model", None):
        match["model"] = model
    return {
        "name": name,
        "candidates": [{"backend": backend, "weight": weight} for backend, weight in weights.items()],
        "fallback": list(fallback),
        **({"matches": [match]} if match else {}),
        **more,
    }


ANYONE = "anyone"


def route(*rules: Object, consumers: Sequence[Object] | None = None, **spec: Any) -> Object:
    """Open to everybody and every backend of its rules, unless consumers are given."""
    used = [candidate["backend"] for each in rules for candidate in each["candidates"]]
    used += [name for each in rules for name in each["fallback"]]
    anyone = {"name": ANYONE, "auth": {"anonymous": {}}, "backends": list(dict.fromkeys(used))}
    listed = [anyone] if consumers is None else list(consumers)
    return _object("MoltBotRoute", "assistant", {"rules": list(rules), "consumers": listed, **spec})


def keyed(name: str, *backends: str) -> Object:
    """A consumer with the keys of the Secret `<name>-keys`."""
    auth = {"apiKey": {"secretRef": {"name": f"{name}-keys"}}}
    return {"name": name, "auth": auth, "backends": list(backends)}


def _object(kind: str, name: str, spec: Mapping[str, Any]) -> Object:
    return {
        "apiVersion": "moltbot.io/v1alpha1",
        "kind": kind,
        "metadata": {"name": name},
        "spec": dict(spec),
    }


class Bed:
    """One running gateway and a client for it."""

    def __init__(self, running: serve.Gateway, client: httpx.AsyncClient, log: Path) -> None:
        self.running = running
        self.client = client
        self.log = log

    async def chat(self, path: str = CHAT, body: Any = None, **headers: str) -> httpx.Response:
        """POST; `body` a document or bytes."""
        content = body if isinstance(body, bytes) else json.dumps(BODY if body is None else body).encode()
        sent = {"content-type": "application/json", **{k.replace("_", "-"): v for k, v in headers.items()}}
        return await self.client.post(path, content=content, headers=sent)

    async def records(self, at_least: int = 0) -> list[dict[str, Any]]:
        """The calls logged so far, each with its `tries`; waits for so many: the answer may come first."""
        found: list[dict[str, Any]] = []

        async def there() -> bool:
            found[:] = calls(await self.lines())
            return len(found) >= at_least

        await until(there)
        return found

    async def lines(self) -> list[str]:
        """The audit log as it is written: records of calls, and of failed attempts."""
        admin = f"http://127.0.0.1:{self.running.admin_port}/reopen_logs"
        (await self.client.post(admin)).raise_for_status()
        return self.log.read_text().splitlines() if self.log.exists() else []

    async def record(self, answer: httpx.Response) -> dict[str, Any]:
        """The access log's record of one request, once it is written."""
        wanted = answer.headers["x-request-id"]
        async with asyncio.timeout(20):
            while True:
                found = [each for each in await self.records() if each["request_id"] == wanted]
                if found:
                    return found[-1]
                await asyncio.sleep(0.02)


@contextlib.asynccontextmanager
async def serving(
    *objects: Object | Sequence[Object],
    folder: Path,
    verify: ssl.SSLContext | bool = True,
    **options: Any,
) -> AsyncIterator[Bed]:
    """Serve these objects until the block ends; `verify` is whose certificate the client takes."""
    flat = [each for given in objects for each in (given if isinstance(given, list) else [given])]
    file = folder / "manifests.yaml"
    file.write_text(yaml.safe_dump_all(flat))
    log = folder / "access.log"
    async with (
        serve.gateway(read([file]), access_log=log, concurrency=1, **options) as running,
        httpx.AsyncClient(base_url=running.url, timeout=30, verify=verify) as client,
    ):
        yield Bed(running, client, log)


@contextlib.asynccontextmanager
async def answering(answer: Callable[[web.Request], Awaitable[web.Response]]) -> AsyncIterator[str]:
    """A provider of one's own: every request gets what `answer` makes of it; gives its URL."""
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def until(holds: Callable[[], Awaitable[bool]], seconds: float = 20) -> None:
    """Asks again and again; TimeoutError if it does not hold in time."""
    async with asyncio.timeout(seconds):
        while not await holds():  # noqa: ASYNC110 - what it asks is outside of this process
            await asyncio.sleep(0.02)
