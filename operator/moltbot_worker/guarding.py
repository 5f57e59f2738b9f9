"""The stream guard: no truncated answer passes for a whole one, and where it can be, it goes on elsewhere.

::

    call along the chain ─► first token in time? ── no ─► next backend, from the start
              │ yes: headers and all that was held go to the client (Hold: nothing yet)
              ▼
    tokens ─► end seen? ── yes ─► done
              │ stall, cut, broken event, error, missing end
              ▼
    Error: error event        Continue: next backend that can go on      Hold: next backend, from the start

The first call has the chain's own failover; where a stream of it breaks, the worker asks the other backends
of the chain one by one: those that come after, then those before.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Iterator
from dataclasses import dataclass, field
from typing import Final

from moltbot_worker import protocol
from moltbot_worker.config import StreamGuard
from moltbot_worker.errors import GatewayUnreachable
from moltbot_worker.exchange import Answer, Handler, Request, refusal
from moltbot_worker.going_on import Joint, again, continuation, identity_of
from moltbot_worker.metrics import Metrics
from moltbot_worker.streams import Stream
from moltbot_worker.upstream import Calls, drawn
from moltbot_worker.watching import StreamBroken, error_event, reads

__all__ = ["Guarding"]

_OK: Final = 200

_log = logging.getLogger(__name__)

Found = Stream | Answer | StreamBroken
"""A stream with its first token, an answer that is no stream, or what went wrong."""


@dataclass
class _Course:
    """What became of one request so far."""

    request: Request
    chain: tuple[str, ...]
    at: str
    """The backend that serves, as far as is known."""
    broke: list[str] = field(default_factory=list)

    def others(self) -> Iterator[str]:
        """Backends that did not break yet, each once: after the present one, then before it."""
        here = self.chain.index(self.at) if self.at in self.chain else 0
        for label in (*self.chain[here + 1 :], *self.chain[:here]):
            if label not in self.broke:
                self.at = label
                yield label


class Guarding:
    """Watches streamed answers; `inner` serves what is no stream. `limit`: bytes that Hold may hold."""

    def __init__(
        self, settings: StreamGuard, upstream: Calls, inner: Handler, metrics: Metrics, limit: int
    ) -> None:
        self._settings = settings
        self._upstream = upstream
        self._inner = inner
        self._metrics = metrics
        self._limit = limit

    async def __call__(self, request: Request) -> Answer:
        """The answer, held until its first token; with Hold until its end."""
        if not request.streams or not reads(request.operation):
            return await self._inner(request)
        request, choice = drawn(request)
        course = _Course(request, tuple(dict.fromkeys(choice.chain)), choice.chain[0])
        found = await self._opened(course, request, None)
        if isinstance(found, StreamBroken):
            found = await self._elsewhere(course, found)
        if isinstance(found, StreamBroken):
            return _refused(request, found)
        if course.broke:
            self._metrics.rescued.labels(request.rule.name).inc()
            recovered = (protocol.RECOVERED, ",".join(course.broke).encode())
            answer = found if isinstance(found, Answer) else found.answer
            answer.headers = [*answer.headers, recovered]
        if isinstance(found, Answer):
            return found
        return Answer(found.answer.status, found.answer.headers, self._flow(course, found))

    async def _elsewhere(self, course: _Course, broken: StreamBroken) -> Found:
        """From the start at other backends; the last failure where none serves."""
        last = broken
        for label in course.others():
            found = await self._opened(course, again(course.request, label), label)
            if isinstance(found, Answer) and found.status != _OK:
                await found.close()
                last = self._count(course, StreamBroken("refused"))
            elif isinstance(found, StreamBroken):
                last = found
            else:
                return found
        return last

    async def _opened(self, course: _Course, request: Request, label: str | None, text: str = "") -> Found:
        """`label`: one backend, None: along the chain. `text`: what the client has already.

        Raises GatewayUnreachable where the first call of all does not get through.
        """
        stream: Stream | None = None
        found: Found
        try:
            async with asyncio.timeout(self._settings.first_token):
                answer = await self._called(course, request, label)
                if answer.status != _OK or not answer.is_stream or isinstance(answer.body, bytes):
                    return answer
                stream = Stream(answer, answer.body, request.operation, text)
                await stream.begin()
            found = stream
            if self._settings.recover == "Hold":
                whole = await stream.whole(self._settings.stall, self._limit)
                found = Answer(answer.status, answer.headers, whole)
        except TimeoutError:
            found = StreamBroken("late")
        except StreamBroken as error:
            found = error
        except BaseException:
            if stream is not None:
                await stream.close()
            raise
        if stream is not None and found is not stream:
            await stream.close()
        return self._count(course, found) if isinstance(found, StreamBroken) else found

    async def _called(self, course: _Course, request: Request, label: str | None) -> Answer:
        self._metrics.calls.labels(request.rule.name).inc()
        if label is None:
            answer = await self._upstream.forward(request)
            course.at = answer.header(protocol.SERVED_BY).decode("latin-1") or course.at
            return answer
        try:
            return await self._upstream.ask(request, label)
        except GatewayUnreachable as error:
            raise StreamBroken("cut") from error

    async def _flow(self, course: _Course, stream: Stream) -> AsyncGenerator[bytes, None]:
        """The answer, by other backends where it must and can be, then its end or an error event."""
        identity = identity_of(stream.held)
        joint: Joint | None = None
        given = stream.held
        try:
            while True:
                passed = b"".join(event.raw if joint is None else joint.passed(event) for event in given)
                if passed:
                    yield passed
                if stream.reading.ended:
                    return
                try:
                    found = await stream.further(self._settings.stall)
                except StreamBroken as broken:
                    self._count(course, broken)
                    await stream.close()
                    later = await self._gone_on(course, stream)
                    if later is None:
                        yield error_event(course.request.operation, broken)
                        return
                    stripped = course.request.rule.backends[course.at].prefill == "Assistant"
                    joint = Joint(course.request.operation, identity, stream.reading, stripped=stripped)
                    stream, given = later, later.held
                    continue
                if found is None:
                    if stream.own_end:
                        yield stream.own_end
                    return
                given = found
        finally:
            await stream.close()

    async def _gone_on(self, course: _Course, stream: Stream) -> Stream | None:
        """A stream of another backend that goes on where this one broke."""
        if self._settings.recover != "Continue" or not stream.reading.plain:
            return None
        for label in course.others():
            asked = continuation(course.request, label, stream.reading.text)
            if asked is None:
                continue
            found = await self._opened(course, asked, label, stream.reading.text)
            if isinstance(found, Stream):
                self._metrics.rescued.labels(course.request.rule.name).inc()
                return found
            if isinstance(found, Answer):
                self._count(course, StreamBroken("refused"))
                await found.close()
        return None

    def _count(self, course: _Course, broken: StreamBroken) -> StreamBroken:
        course.broke.append(course.at)
        rule = course.request.rule.name
        self._metrics.stream_failures.labels(rule, broken.kind).inc()
        _log.info("stream broke", extra={"rule": rule, "backend": course.at, "kind": broken.kind})
        return broken


def _refused(request: Request, broken: StreamBroken) -> Answer:
    """Nothing was sent, and no backend is left."""
    return refusal(
        504 if broken.kind == "late" else 502,
        f"No backend gave a whole answer; of the last one: {broken}.",
        "stream_broken",
        kind="server_error",
        anthropic=request.operation == "messages",
    )
