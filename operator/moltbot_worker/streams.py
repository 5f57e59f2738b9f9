"""One streamed answer as it comes from the gateway: its events, and how they fail."""

import asyncio
from typing import Final

from moltbot_worker.errors import AnswerBroken
from moltbot_worker.exchange import Answer, Parts
from moltbot_worker.sse import Event, Events
from moltbot_worker.watching import Reading, StreamBroken

__all__ = ["Stream"]

_END: Final[dict[str, bytes]] = {
    "chat/completions": b"data: [DONE]\n\n",
    "completions": b"data: [DONE]\n\n",
    "messages": b'event: message_stop\ndata: {"type":"message_stop"}\n\n',
}


class Stream:
    """`held` are the events up to the first token; `text` what the client was given by streams before."""

    def __init__(self, answer: Answer, body: Parts, operation: str, text: str) -> None:
        self.answer = answer
        self.reading = Reading(operation, text)
        self.held: list[Event] = []
        self._operation = operation
        self._body = body
        self._events = Events()
        self._heard = asyncio.get_running_loop().time()
        self._broken: StreamBroken | None = None

    async def begin(self) -> None:
        """Read to the first token. Raises StreamBroken."""
        while not self.reading.begun:
            found = await self._next()
            if found is None:
                return
            self.held += found

    async def whole(self, stall: float, limit: int) -> bytes:
        """The whole answer, read to its end. Raises StreamBroken."""
        parts = [event.raw for event in self.held]
        length = sum(map(len, parts))
        while not self.reading.ended:
            found = await self.further(stall)
            if found is None:
                parts.append(self.own_end)
                break
            parts += [event.raw for event in found]
            length += sum(len(event.raw) for event in found)
            if length > limit:
                raise StreamBroken("broken")
        return b"".join(parts)

    async def further(self, stall: float) -> list[Event] | None:
        """The next events; None where the stream is over and the answer whole. Raises StreamBroken.

        `stall`: seconds without a token, after which it is broken.
        """
        try:
            async with asyncio.timeout_at(self._heard + stall):
                return await self._next()
        except TimeoutError:
            broken = StreamBroken("stall")
        except StreamBroken as error:
            broken = error
        if self.reading.finished and broken.kind in {"stall", "cut", "end"}:
            return None
        raise broken

    async def _next(self) -> list[Event] | None:
        """The events of the next part, those before a break first; None at the end. Raises StreamBroken."""
        if self._broken is not None:
            raise self._broken
        try:
            part = await anext(self._body, b"")
        except AnswerBroken as error:
            raise StreamBroken("cut") from error
        if not part:
            self.reading.close()
            return None
        try:
            events = self._events.feed(part)
        except ValueError as error:
            raise StreamBroken("broken") from error
        for number, event in enumerate(events):
            try:
                token = self.reading.see(event)
            except StreamBroken as error:
                self._broken = error
                return events[:number]
            if token:
                self._heard = asyncio.get_running_loop().time()
        return events

    @property
    def own_end(self) -> bytes:
        """The end that the stream of a complete answer lacks; empty if it has it."""
        return b"" if self.reading.ended else _END.get(self._operation, b"")

    async def close(self) -> None:
        """End the call."""
        await self._body.aclose()
