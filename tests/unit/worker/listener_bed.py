"""A worker on real ports, between its clients and a worker listener, with simulated providers behind it.

The listener is a small HTTP server that keeps the protocol (moltbot_worker/protocol.py): it demands the
secret, sends a request to the backend or along the chain that it is told, and cuts where a provider cuts.
"""

import asyncio
import contextlib
import json
import socket
import struct
from dataclasses import dataclass, field

import aiohttp
from aiohttp import web
from moltbot_provider import Provider

from moltbot_worker.config import WorkerConfig
from moltbot_worker.process import running

KEY = "listener-secret"
RESET = struct.pack("ii", 1, 0)


class Listener:
    """`chains`: final route → labels; `providers` by label."""

    def __init__(self, providers, chains):
        self.providers = providers
        self.chains = chains
        self.seen = []
        self.port = 0
        self.key = KEY
        self.gate = asyncio.Event()
        self.gate.set()

    async def start(self, port=0):
        self._session = aiohttp.ClientSession(auto_decompress=False)
        app = web.Application(client_max_size=64 * 2**20)
        app.router.add_route("*", "/{tail:.*}", self._handle)
        self._runner = web.AppRunner(app, access_log=None, handler_cancellation=True)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", port, reuse_address=True).start()
        self.port = self._runner.addresses[0][1]
        return self

    async def stop(self):
        await self._session.close()
        await self._runner.cleanup()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    async def _handle(self, request):
        body = await request.read()
        self.seen.append((dict(request.headers), body))
        if request.headers.get("x-mb-worker-key") != self.key:
            return web.Response(status=401)
        await self.gate.wait()
        backend = request.headers.get("x-mb-backend")
        chain = [backend] if backend else self.chains[request.headers["x-mb-route"]]
        for label in chain:
            last = label == chain[-1]
            try:
                response = await self._session.request(
                    request.method,
                    self.providers[label].url + request.raw_path,
                    data=body,
                    headers={
                        k: v
                        for k, v in request.headers.items()
                        if not k.lower().startswith("x-mb-") and k.lower() not in {"host", "content-length"}
                    },
                )
            except aiohttp.ClientError:
                if last:
                    return web.json_response({"error": {"message": "no backend answered"}}, status=503)
                continue
            async with response:
                if response.status >= 500 and not last:
                    continue
                return await self._pass_on(request, response, label)
        raise AssertionError("a chain has at least one backend")

    async def _pass_on(self, request, response, label):
        kept = {k: v for k, v in response.headers.items() if k.lower() in {"content-type", "content-length"}}
        passed = web.StreamResponse(status=response.status, headers={**kept, "x-moltbot-backend": label})
        await passed.prepare(request)
        try:
            async for part in response.content.iter_any():
                await passed.write(part)
        except aiohttp.ClientError:
            sock = request.transport.get_extra_info("socket")
            await asyncio.sleep(0.05)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            request.transport.abort()
            return passed
        await passed.write_eof()
        return passed


@dataclass
class Bed:
    worker: object
    listener: Listener
    providers: dict
    session: aiohttp.ClientSession
    rules: list = field(default_factory=list)

    @property
    def url(self):
        return f"http://127.0.0.1:{self.worker.port}"

    def headers(self, consumer="web", rule="chat", **more):
        made = {"x-mb-worker-key": KEY, "x-mb-rule": rule, "x-mb-consumer": consumer}
        return {**made, "content-type": "application/json", **more}

    def post(self, document, path="/v1/chat/completions", consumer="web", rule="chat", **headers):
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        body = document if isinstance(document, bytes) else json.dumps(document).encode()
        return self.session.post(self.url + path, data=body, headers=self.headers(consumer, rule, **named))

    async def ask(self, document, **more):
        """Status, headers, body."""
        async with self.post(document, **more) as response:
            return response.status, response.headers, await response.read()

    async def metric(self, line):
        async with self.session.get(f"http://127.0.0.1:{self.worker.metrics_port}/metrics") as response:
            text = await response.text()
        found = [each.rpartition(" ")[2] for each in text.splitlines() if each.startswith(line + " ")]
        return float(found[0]) if found else None

    def calls(self):
        return sum(provider.requests.total for provider in self.providers.values())


def chat(text="hello", **more):
    return {"model": "gpt", "messages": [{"role": "user", "content": text}], "temperature": 0, **more}


def config(folder, gateway, rule=None, labels=("one", "two"), schema=None, **more):
    """A rule `chat` with a chain of all labels; `rule` adds its features."""
    (folder / "key").write_text(KEY)
    backends = {
        label: {"model": f"{label}-model", "schema": (schema or {}).get(label, "Any")} for label in labels
    }
    for label, prefill in (rule or {}).pop("prefill", {}).items():
        backends[label]["prefill"] = prefill
    made = {
        "name": "chat",
        "choices": [{"route": "chat/0", "chain": list(labels)}],
        "backends": backends,
        "consumers": ["web", "other"],
        **(rule or {}),
    }
    return WorkerConfig.model_validate(
        {
            "namespace": "team",
            "route": "assistant",
            "revision": "r1",
            "gateway": {"url": gateway, "key": str(folder / "key")},
            "rules": [made],
            "host": "127.0.0.1",
            "port": 0,
            "metrics_port": 0,
            "evidence_port": 0,
            "evidence_token": str(folder / "token"),
            **more,
        }
    )


@contextlib.asynccontextmanager
async def serving(
    folder, rule=None, *, labels=("one", "two"), schema=None, provider=None, allow_local=False, **more
):
    async with contextlib.AsyncExitStack() as stack:
        made = {}
        for label in labels:
            made[label] = await stack.enter_async_context(Provider(name=label, **(provider or {})))
        listener = await Listener(made, {"chat/0": list(labels)}).start()
        stack.push_async_callback(listener.stop)
        settings = config(folder, listener.url, rule, labels, schema, **more)
        session = await stack.enter_async_context(
            aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=60), connector=aiohttp.TCPConnector(limit=0)
            )
        )
        worker = await stack.enter_async_context(running(settings, allow_local_webhooks=allow_local))
        yield Bed(worker, listener, made, session)


async def until(condition, what, seconds=20):
    """Wait for a condition, which may be a coroutine function."""
    end = asyncio.get_running_loop().time() + seconds
    while True:
        found = condition()
        if asyncio.iscoroutine(found):
            found = await found
        if found:
            return found
        if asyncio.get_running_loop().time() > end:
            raise AssertionError(f"did not come within {seconds} s: {what}")
        await asyncio.sleep(0.02)
