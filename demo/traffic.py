"""Requests through the gateway's Service, and what its access log says of them."""

import json
import time
import uuid
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import httpx

from cluster import Cluster, wait_until

PARALLEL = 8
WORDS = 2
"""Length of an answer: a simulated model says who it is and which model it was asked for."""

LOG_SECONDS = 15
"""How long a line of the access log may take to arrive."""


@dataclass(frozen=True)
class Answer:
    """One request as the client saw it."""

    id: str
    """Of the gateway's access log; empty where no answer came."""
    text: str
    status: int
    """0: no answer."""
    seconds: float
    said: str
    """The model's words, or the error's message."""


CLIENT = httpx.Client(timeout=30, limits=httpx.Limits(max_connections=PARALLEL))
"""Shared, as an application would: a client of its own for each request costs more than the request."""


def ask(url: str, text: str) -> Answer:
    """One chat completion by an ordinary client."""
    ident = str(uuid.uuid4())
    body = {"model": "auto", "max_tokens": WORDS, "messages": [{"role": "user", "content": text}]}
    started = time.monotonic()
    try:
        answer = CLIENT.post(url, json=body, headers={"x-request-id": ident})
    except httpx.TransportError as error:
        return Answer("", text, 0, time.monotonic() - started, f"no answer: {error}")
    seconds = time.monotonic() - started
    try:
        found = answer.json()
        said = found["choices"][0]["message"]["content"] if answer.is_success else found["error"]["message"]
    except (ValueError, KeyError, IndexError):
        said = answer.text[:200]
    ident = answer.headers.get("x-request-id", ident)
    return Answer(ident, text, answer.status_code, seconds, said)


def answers(url: str) -> bool:
    """Whether anything answers there at all."""
    try:
        return CLIENT.get(url, timeout=2).status_code > 0
    except httpx.TransportError:
        return False


def ask_many(url: str, texts: Iterable[str]) -> list[Answer]:
    """Several requests, some at a time; answers in the order of `texts`."""
    with ThreadPoolExecutor(PARALLEL) as pool:
        return list(pool.map(lambda text: ask(url, text), texts))


def access_log(
    cluster: Cluster, namespace: str, route: str, wanted: Iterable[str]
) -> dict[str, dict[str, Any]]:
    """Request id -> the line that the gateway logged for it, once all `wanted` are there."""
    missing = set(wanted)

    def read() -> dict[str, dict[str, Any]] | None:
        arguments = ["logs", "-n", namespace, "-l", f"moltbot.io/route={route}", "-c", "envoy"]
        lines = cluster.kubectl(*arguments, "--tail=-1", "--prefix=false").splitlines()
        found = {}
        for line in lines:
            if line.startswith("{"):
                entry = json.loads(line)
                found[entry.get("request_id", "")] = entry
        return found if missing <= set(found) else None

    entries: dict[str, dict[str, Any]] = wait_until("the access log to name every request", read, LOG_SECONDS)
    return entries
