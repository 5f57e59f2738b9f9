"""The cache of a rule: answers that are kept for the same request of the same consumer."""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncGenerator, Callable
from typing import Final

from moltbot_worker import protocol
from moltbot_worker.config import Cache
from moltbot_worker.errors import StoreAway, WorkerError
from moltbot_worker.exchange import Answer, Handler, Parts, Request, collected
from moltbot_worker.kept import Kept
from moltbot_worker.keys import canonical, identity, wish
from moltbot_worker.metrics import Metrics
from moltbot_worker.sse import is_whole
from moltbot_worker.store import Store

__all__ = ["Caching"]

_OK: Final = 200

_log = logging.getLogger(__name__)


class Caching:
    """Looks into the store first, and keeps what `inner` answers. `clock`: seconds since 1970."""

    def __init__(
        self,
        settings: Cache,
        store: Store,
        inner: Handler,
        metrics: Metrics,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings
        self._store = store
        self._inner = inner
        self._metrics = metrics
        self._clock = clock
        self._refreshing: dict[str, asyncio.Task[None]] = {}

    async def __call__(self, request: Request) -> Answer:
        """The answer, with `x-moltbot-cache`."""
        wanted = wish(request)
        key = identity(request, self._settings.scope)
        if key is None or not (wanted.look or wanted.keep):
            return self._told(await self._inner(request), request, f"bypass;reason={wanted.why}")
        request = canonical(request)
        if wanted.look:
            try:
                found = await self._store.get(key)
            except StoreAway:
                return self._told(await self._inner(request), request, "bypass;reason=store")
            kept = None if found is None else Kept.unpacked(found)
            if kept is not None:
                return self._given(kept, request, key)
        answer = self._told(await self._inner(request), request, "miss")
        if answer.status != _OK or answer.header(protocol.COALESCED):  # who made the call keeps its answer
            return answer
        if isinstance(answer.body, bytes):
            await self._keep(answer, answer.body, key)
        else:
            answer.body = self._keeping(answer, answer.body, key)
        return answer

    def _told(self, answer: Answer, request: Request, result: str) -> Answer:
        self._metrics.cache.labels(request.rule.name, result.partition(";")[0]).inc()
        answer.headers = [*answer.headers, (protocol.CACHE, result.encode())]
        return answer

    def _given(self, kept: Kept, request: Request, key: str) -> Answer:
        now = self._clock()
        result = "hit" if now < kept.fresh_until else "stale"
        if result == "stale" and key not in self._refreshing:
            task = asyncio.create_task(self._refresh(request, key))
            self._refreshing[key] = task
            task.add_done_callback(lambda _: self._refreshing.pop(key))
        self._metrics.cache.labels(request.rule.name, result).inc()
        return kept.answer(result.encode(), now)

    async def _refresh(self, request: Request, key: str) -> None:
        try:
            answer = await self._inner(request)
            body = await collected(answer, self._settings.max_answer_bytes)
        except WorkerError as error:
            _log.info("refresh failed", extra={"rule": request.rule.name, "why": str(error)})
            return
        if answer.status == _OK:
            await self._keep(answer, body, key)

    async def _keeping(self, answer: Answer, body: Parts, key: str) -> AsyncGenerator[bytes, None]:
        """The body as it comes; kept once it is whole."""
        parts, length = list[bytes](), 0
        async with contextlib.aclosing(body):
            async for part in body:
                length += len(part)
                if length <= self._settings.max_answer_bytes:
                    parts.append(part)
                yield part
        if length <= self._settings.max_answer_bytes:
            await self._keep(answer, b"".join(parts), key)

    async def _keep(self, answer: Answer, body: bytes, key: str) -> None:
        if not is_whole(body, stream=answer.is_stream):
            return
        settings = self._settings
        kept = Kept.of(answer, body, settings.ttl, self._clock())
        with contextlib.suppress(StoreAway):  # counted by the store; the client has its answer
            await self._store.put(key, kept.packed(), settings.ttl + settings.stale)
