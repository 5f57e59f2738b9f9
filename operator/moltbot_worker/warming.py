"""Warm-up: templates are answered before the worker is ready, so that users' first requests are hits.

A template is run once, and its answer kept for each consumer of the rule (or once, where the route shares its
answers). With a shared store one worker of a revision does it, and the others wait for it, within the same
limit. What fails is less warm, never unready.
"""

import asyncio
import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import orjson

from moltbot_worker import protocol
from moltbot_worker.config import Cache, Rule, WarmUp
from moltbot_worker.errors import StoreAway, WorkerError
from moltbot_worker.exchange import Handler, Request, collected
from moltbot_worker.kept import Kept
from moltbot_worker.keys import canonical, identity, wish
from moltbot_worker.metrics import Metrics
from moltbot_worker.sse import is_whole
from moltbot_worker.store import Store

__all__ = ["Warming", "templates"]

LOOK_S = 0.2
"""Pause between looks at another worker's warm-up."""

_OK = 200

_log = logging.getLogger(__name__)


def templates(settings: WarmUp, rule: Rule) -> Iterator[Request]:
    """The requests of all files, in the order of names and lines.

    Lines that are none are logged and left out.
    """
    for path in _files(settings.files):
        try:
            lines = path.read_bytes().splitlines()
        except OSError as error:
            _log.warning("templates can't be read", extra={"file": path.name, "why": error.strerror})
            continue
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            made = _template(line, rule)
            if made is None:
                _log.warning("no template", extra={"file": path.name, "line": number})
            else:
                yield made


def _files(given: Sequence[Path]) -> Iterator[Path]:
    for path in given:
        if path.is_dir():
            yield from sorted(
                each for each in path.iterdir() if not each.name.startswith(".") and each.is_file()
            )
        else:
            yield path


def _template(line: bytes, rule: Rule) -> Request | None:
    try:
        document = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(document, dict):
        return None
    path, more = "/v1/chat/completions", dict[str, str]()
    if {"path", "body"} <= set(document) <= {"path", "body", "headers"}:
        path, more, document = document["path"], document.get("headers") or {}, document["body"]
    if not isinstance(document, dict) or not isinstance(path, str) or not path.startswith("/v1/"):
        return None
    if not isinstance(more, dict) or not all(isinstance(value, str) for value in more.values()):
        return None
    headers = [(name.lower().encode(), value.encode()) for name, value in more.items()]
    headers.append((b"content-type", b"application/json"))
    return Request("POST", path, headers, orjson.dumps(document), rule, protocol.WARM_UP)


class Warming:
    """Warms one rule's cache; `inner` answers without the cache. `owner` is this process."""

    def __init__(
        self, rule: Rule, *, revision: str, owner: str, store: Store, inner: Handler, metrics: Metrics
    ) -> None:
        if rule.cache is None or rule.cache.warm_up is None:
            raise ValueError(f"rule {rule.name} has no warm-up")
        self._rule = rule
        self._cache: Cache = rule.cache
        self._settings: WarmUp = rule.cache.warm_up
        self._name = f"warm:{revision}:{rule.name}"
        self._owner = owner
        self._store = store
        self._inner = inner
        self._metrics = metrics

    async def run(self) -> None:
        """Return when the cache is warm, or as warm as it gets within the limit."""
        try:
            async with asyncio.timeout(self._settings.timeout):
                while not await self._store.get(self._name):
                    if await self._store.claim(self._name, self._owner, self._settings.timeout + 5):
                        await self._warm()
                        break
                    await asyncio.sleep(LOOK_S)
        except TimeoutError:
            _log.warning("warm-up took too long", extra={"rule": self._rule.name})
        except StoreAway as error:
            _log.warning("no warm-up", extra={"rule": self._rule.name, "why": str(error)})

    async def _warm(self) -> None:
        free = asyncio.Semaphore(self._settings.concurrency)
        given = list(templates(self._settings, self._rule))
        chosen, left = given[: self._settings.max_requests], given[self._settings.max_requests :]
        self._metrics.warm_up.labels("left_out").inc(len(left))
        async with asyncio.TaskGroup() as group:
            for template in chosen:
                await free.acquire()
                group.create_task(self._one(template)).add_done_callback(lambda _: free.release())
        await self._store.put(self._name, b"done", self._cache.ttl)
        await self._store.release(self._name, self._owner)

    async def _one(self, template: Request) -> None:
        try:
            outcome = await self._kept(template)
        except WorkerError as error:
            _log.info("template failed", extra={"rule": self._rule.name, "why": str(error)})
            outcome = "failed"
        self._metrics.warm_up.labels(outcome).inc()

    async def _kept(self, template: Request) -> str:
        if not wish(template).look:
            _log.warning("a template is not deterministic", extra={"rule": self._rule.name})
            return "left_out"
        keys = self._keys(template)
        now = time.time()
        missing = [key for key in keys if not await self._fresh(key, now)]
        if not missing:
            return "warm"
        answer = await self._inner(canonical(template))
        body = await collected(answer, self._cache.max_answer_bytes)
        if answer.status != _OK or not is_whole(body, stream=answer.is_stream):
            return "failed"
        kept = Kept.of(answer, body, self._cache.ttl).packed()
        for key in missing:
            await self._store.put(key, kept, self._cache.ttl + self._cache.stale)
        return "warm"

    async def _fresh(self, key: str, now: float) -> bool:
        found = await self._store.get(key)
        kept = None if found is None else Kept.unpacked(found)
        return kept is not None and now < kept.fresh_until

    def _keys(self, template: Request) -> list[str]:
        consumers = [protocol.WARM_UP] if self._cache.scope == "Route" else self._rule.consumers
        made = (identity(replace(template, consumer=each), self._cache.scope) for each in consumers)
        return [key for key in made if key is not None]
