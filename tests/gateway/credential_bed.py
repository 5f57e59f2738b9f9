"""Load while credentials change, and what the providers saw of it."""

import asyncio
import contextlib
import json
import os
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from gateway_bed import until

from moltbot_agent.signing import new_key, public_jwk

__all__ = ["Key", "Load", "jwt_backend", "kill_agent", "loading", "oauth2_backend", "swap"]


def swap(folder: Path, **values: str) -> None:
    """Replace a mounted Secret as the kubelet does: a new folder, then one rename of `..data`.

    The first time plain files become links; each is there all the time.
    """
    version = folder / f"..{time.monotonic_ns()}"
    version.mkdir()
    for name, value in values.items():
        (version / name).write_text(value)
    link = folder / "..data_tmp"
    link.symlink_to(version.name)
    link.replace(folder / "..data")
    for name in values:
        if not (folder / name).is_symlink():
            temporary = folder / f"..{name}_tmp"
            temporary.symlink_to(f"..data/{name}")
            temporary.replace(folder / name)


@dataclass
class Key:
    """A key that signs tokens, and what a verifier is given."""

    algorithm: str
    pem: str = ""

    def __post_init__(self) -> None:
        self.pem = self.pem or new_key(self.algorithm)
        self.jwk = public_jwk(self.pem, self.algorithm)


def oauth2_backend(name: str, url: str, token_url: str, secret: str, **oauth2: object) -> list[dict]:
    """A backend with client credentials of the client `gateway-NAME`, and its Secret."""
    given = {"tokenUrl": token_url, "clientId": f"gateway-{name}", **oauth2}
    given["clientSecretRef"] = {"name": f"{name}-client", "key": "secret"}
    return _backend(name, url, {"type": "OAuth2", "oauth2": given}, f"{name}-client", secret=secret)


def jwt_backend(name: str, url: str, key: Key | None, **jwt: object) -> list[dict]:
    """A backend with signed tokens, and its Secret; without a key a managed one."""
    signing = {"secretRef": {"name": f"{name}-signing", "key": "pem"}} if key else {"managed": True}
    given = {"issuer": "moltbot", "subject": "gateway", "audience": name, "signingKey": signing}
    if key:
        given["algorithm"] = key.algorithm
    auth = {"type": "JWT", "jwt": {**given, **jwt}}
    return _backend(name, url, auth, f"{name}-signing", **({"pem": key.pem} if key else {}))


def _backend(name: str, url: str, auth: dict, secret_name: str, **values: str) -> list[dict]:
    kind, api = "ModelBackend", "moltbot.io/v1alpha1"
    spec = {"provider": "Custom", "endpoint": {"url": url}, "auth": auth}
    found: list[dict] = [{"apiVersion": api, "kind": kind, "metadata": {"name": name}, "spec": spec}]
    if values:
        metadata = {"name": secret_name}
        found.append({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": values})
    return found


BODY = json.dumps({"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}]}).encode()


@dataclass
class Load:
    """Requests at a steady rate to one path."""

    answers: Counter = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    sent: int = 0
    served_by: Counter = field(default_factory=Counter)
    began: float = field(default_factory=time.monotonic)
    ended: float = 0.0

    @property
    def rate(self) -> float:
        return self.sent / ((self.ended or time.monotonic()) - self.began)


@contextlib.asynccontextmanager
async def loading(
    url: str, path: str = "/v1/chat/completions", rate: float = 200, lanes: int = 40
) -> AsyncIterator[Load]:
    """Sends while the block runs; every answer but a 200 is a failure. Slower where the machine is."""
    load, stop = Load(), asyncio.Event()
    due = iter(range(1_000_000))
    headers = {"content-type": "application/json"}

    async def lane(client: httpx.AsyncClient) -> None:
        while not stop.is_set():
            number = next(due)
            wait = load.began + number / rate - time.monotonic()
            if wait > 0:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), wait)
                    return
            load.sent += 1
            try:
                answer = await client.post(path, content=BODY, headers=headers)
            except httpx.HTTPError as error:
                load.answers[type(error).__name__] += 1
                load.failures.append(repr(error))
                continue
            load.answers[answer.status_code] += 1
            load.served_by[answer.headers.get("x-moltbot-backend")] += 1
            if answer.status_code != 200:
                load.failures.append(f"{answer.status_code}: {answer.text[:300]}")

    limits = httpx.Limits(max_connections=lanes, max_keepalive_connections=lanes)
    async with httpx.AsyncClient(base_url=url, timeout=30, limits=limits) as client:
        tasks = [asyncio.create_task(lane(client)) for _ in range(lanes)]
        try:
            yield load
        finally:
            load.ended = time.monotonic()
            stop.set()
            await asyncio.gather(*tasks)


def agents() -> list[int]:
    """Ids of the agents that this process started, without those that have ended."""
    found = []
    for folder in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError, IndexError):
            number = int(folder.name)
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == os.getpid() and b"moltbot_agent" in (folder / "cmdline").read_bytes().split(b"\0"):
                found.append(number)
    return found


async def kill_agent() -> None:
    """With SIGKILL, and wait until the gateway has started another one."""
    [killed] = agents()
    os.kill(killed, signal.SIGKILL)

    async def another() -> bool:
        return len(found := agents()) == 1 and found != [killed]

    await until(another)
