"""Identical requests in flight share one call, within this process.

Who comes while the call is on its way gets what was already received and then the rest, at its own pace. A
client that leaves takes nobody's answer away; when the last one has left, the call ends.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from functools import partial
from typing import Final

from moltbot_worker import protocol
from moltbot_worker.errors import AnswerBroken
from moltbot_worker.exchange import Answer, Handler, Request
from moltbot_worker.keys import canonical, identity, shared, wish
from moltbot_worker.metrics import Metrics

__all__ = ["Coalescing"]


class _Flight:
    """One call: its head, then its parts as they come."""

    def __init__(self, request: Request, inner: Handler, limit: int) -> None:
        self.riders = 0
        self.left = False
        self.parts: list[bytes] = []
        self.ended = False
        self.broken: BaseException | None = None
        self._changed = asyncio.Event()
        self._head: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._limit = limit
        self.task = asyncio.create_task(self._fly(request, inner))

    async def _fly(self, request: Request, inner: Handler) -> None:
        try:
            answer = await inner(request)
            self._head.set_result(answer)
            if isinstance(answer.body, bytes):
                self.parts.append(answer.body)
                return
            length = 0
            async with contextlib.aclosing(answer.body):
                async for part in answer.body:
                    self.parts.append(part)
                    length += len(part)
                    if length > self._limit:
                        self.broken = AnswerBroken(f"the answer is longer than {self._limit} bytes")
                        return
                    self._wake()
        except BaseException as error:
            self.broken = error
            if not self._head.done():
                self._head.set_exception(error if isinstance(error, Exception) else AnswerBroken("ended"))
                self._head.exception()  # seen, even if the last rider has just left
            if not isinstance(error, Exception):
                raise
        finally:
            self.ended = True
            self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def head(self) -> Answer:
        """Status and headers, for one rider."""
        answer = await asyncio.shield(self._head)
        return Answer(answer.status, list(answer.headers), b"")

    async def body(self) -> AsyncGenerator[bytes, None]:
        """All parts, those that came before too."""
        at = 0
        while True:
            changed = self._changed
            while at < len(self.parts):
                yield self.parts[at]
                at += 1
            if self.ended and at == len(self.parts):
                break
            if not self.ended:
                await changed.wait()
        if self.broken is not None:
            raise AnswerBroken("the shared answer broke off") from self.broken

    def leave(self) -> None:
        """One rider less; without any the call ends."""
        self.riders -= 1
        if not self.riders and not self.ended:
            self.left = True
            self.task.cancel()


class Coalescing:
    """Shares calls of `inner`; `limit` bounds what one call may hold, in bytes."""

    def __init__(self, scope: str, inner: Handler, metrics: Metrics, limit: int) -> None:
        self._scope: Final = scope
        self._inner = inner
        self._metrics = metrics
        self._limit = limit
        self._flights: dict[str, _Flight] = {}

    async def __call__(self, request: Request) -> Answer:
        """The answer; with `x-moltbot-coalesced` where another request's call gave it."""
        key = identity(request, self._scope)
        if key is None or not shared(request) or wish(request).why == "asked":
            return await self._inner(request)
        flight = self._flights.get(key)
        first = flight is None or flight.ended or flight.left
        if flight is None or first:
            flight = self._flights[key] = _Flight(canonical(request), self._inner, self._limit)
            flight.task.add_done_callback(partial(self._landed, key, flight))
        else:
            self._metrics.coalesced.labels(request.rule.name).inc()
        flight.riders += 1
        try:
            answer = await flight.head()
        except BaseException:
            flight.leave()
            raise
        answer.body = self._ride(flight)
        if not first:
            answer.headers.append((protocol.COALESCED, b"true"))
        return answer

    def _landed(self, key: str, flight: _Flight, _: object) -> None:
        if self._flights.get(key) is flight:
            del self._flights[key]

    @staticmethod
    async def _ride(flight: _Flight) -> AsyncGenerator[bytes, None]:
        try:
            async with contextlib.aclosing(flight.body()) as body:
                async for part in body:
                    yield part
        finally:
            flight.leave()
