"""One request sent to several backends at once, whose answers make one.

FirstSuccess: the first good answer; of streams, the first that has a token. The others' calls end.
Vote: the answer that most agree on, as soon as it can't be outvoted; among equals the first in the rule's
order.
All: the choices of every good answer, numbered on, and their usage together; who answered is in `moltbot`.

Answers agree if their texts do, white space and case aside, or their tool calls. Vote and All are for chats
and completions without a stream.
"""

import asyncio
import collections
from collections.abc import AsyncGenerator, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from moltbot_worker import protocol
from moltbot_worker.config import Aggregate
from moltbot_worker.errors import AnswerBroken
from moltbot_worker.exchange import JSON, Answer, Handler, Headers, Request, collected, refusal
from moltbot_worker.metrics import Metrics
from moltbot_worker.sse import is_whole
from moltbot_worker.streams import Stream
from moltbot_worker.upstream import Calls, for_backend
from moltbot_worker.watching import StreamBroken, error_event, reads

__all__ = ["Aggregating", "decided", "merged", "opinion"]

_OK: Final = 200
_CHATS: Final = frozenset({"chat/completions", "completions"})


@dataclass(frozen=True)
class _Said:
    """What one backend said; `stream` is one that has its first token."""

    label: str
    status: int
    headers: Headers
    body: bytes
    stream: Stream | None = None

    @property
    def good(self) -> bool:
        return self.stream is not None or (self.status == _OK and is_whole(self.body, stream=False))


class Aggregating:
    """Asks the rule's backends; `inner` serves what can't be put together.

    `limit`: longest answer, bytes. `stall`: longest silence of a stream, seconds.
    """

    def __init__(
        self,
        settings: Aggregate,
        upstream: Calls,
        inner: Handler,
        *,
        metrics: Metrics,
        limit: int,
        stall: float,
    ) -> None:
        self._settings = settings
        self._upstream = upstream
        self._inner = inner
        self._metrics = metrics
        self._limit = limit
        self._stall = stall

    async def __call__(self, request: Request) -> Answer:
        """The one answer, with `x-moltbot-aggregate`."""
        strategy = self._settings.strategy
        if request.document is None or request.method != "POST":
            return await self._inner(request)
        if strategy == "FirstSuccess":
            return await self._first(request)
        if request.operation not in _CHATS:
            return await self._inner(request)
        if request.streams:
            message = f"{strategy} needs whole answers: leave stream out."
            return refusal(400, message, "invalid_value")
        said = await self._asked(request, vote=strategy == "Vote")
        good = [each for each in said if each.good]
        if not good:
            return self._none(said)
        return self._voted(good) if strategy == "Vote" else _all(said, good)

    async def _asked(self, request: Request, *, vote: bool) -> list[_Said]:
        """All answers in the rule's order; in a vote only those that were needed."""
        order = self._settings.backends
        tasks = {asyncio.create_task(self._ask(request, label)): label for label in order}
        found: dict[str, _Said] = {}
        try:
            pending = set(tasks)
            while pending:
                done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
                found |= {tasks[task]: task.result() for task in done}
                good = [opinion(each.body) for each in found.values() if each.good]
                if vote and decided(good, len(pending)):
                    break
        finally:
            await _end(tasks)
        return [found[label] for label in order if label in found]

    async def _first(self, request: Request) -> Answer:
        tasks = {asyncio.create_task(self._ask(request, label)) for label in self._settings.backends}
        said: list[_Said] = []
        winner: _Said | None = None
        try:
            pending = set(tasks)
            while pending and winner is None:
                done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
                said += [task.result() for task in done]
                winner = next((each for each in said if each.good), None)
        finally:
            await _end(tasks, winner)
        if winner is None:
            return self._none(said)
        told = (protocol.AGGREGATE, f"FirstSuccess;backend={winner.label}".encode())
        if winner.stream is None:
            return Answer(winner.status, [*winner.headers, told], winner.body)
        body = self._flow(request.operation, winner.stream)
        return Answer(winner.status, [*winner.headers, told], body)

    async def _ask(self, request: Request, label: str) -> _Said:
        """What a backend says; a broken answer is a 502 without a body. Raises GatewayUnreachable."""
        self._metrics.calls.labels(request.rule.name).inc()
        answer = await self._upstream.ask(request.saying(for_backend(request, label)), label)
        try:
            if answer.status == _OK and answer.is_stream and not isinstance(answer.body, bytes):
                return await self._begun(request, label, answer)
            return _Said(label, answer.status, answer.headers, await collected(answer, self._limit))
        except (AnswerBroken, StreamBroken):
            await answer.close()
            return _Said(label, 502, [], b"")
        except BaseException:
            await answer.close()
            raise

    async def _begun(self, request: Request, label: str, answer: Answer) -> _Said:
        if isinstance(answer.body, bytes) or not reads(request.operation):
            return _Said(label, answer.status, answer.headers, await collected(answer, self._limit))
        stream = Stream(answer, answer.body, request.operation, "")
        await stream.begin()
        return _Said(label, answer.status, answer.headers, b"", stream)

    async def _flow(self, operation: str, stream: Stream) -> AsyncGenerator[bytes, None]:
        """The winner's stream to its end; a break is told by an error event."""
        given = stream.held
        try:
            while True:
                if given:
                    yield b"".join(event.raw for event in given)
                if stream.reading.ended:
                    return
                try:
                    found = await stream.further(self._stall)
                except StreamBroken as broken:
                    yield error_event(operation, broken)
                    return
                if found is None:
                    if stream.own_end:
                        yield stream.own_end
                    return
                given = found
        finally:
            await stream.close()

    def _voted(self, good: Sequence[_Said]) -> Answer:
        votes = collections.Counter(opinion(each.body) for each in good)
        most = max(votes.values())
        winner = next(each for each in good if votes[opinion(each.body)] == most)
        told = f"Vote;votes={most}/{len(self._settings.backends)};backend={winner.label}"
        return Answer(_OK, [*winner.headers, (protocol.AGGREGATE, told.encode())], winner.body)

    def _none(self, said: Sequence[_Said]) -> Answer:
        """No good answer: that of a backend that found the request at fault, or else the last."""
        last = next((each for each in said if 400 <= each.status < 500), said[-1])  # noqa: PLR2004
        told = (protocol.AGGREGATE, f"{self._settings.strategy};backend={last.label}".encode())
        if not last.body or last.status == _OK:
            message = "No backend gave a whole answer."
            return refusal(502, message, "backend_unavailable", kind="server_error", headers=[told])
        return Answer(last.status, [*last.headers, told], last.body)


async def _end(tasks: Iterable["asyncio.Task[_Said]"], winner: _Said | None = None) -> None:
    """End calls that are not needed any more, also one whose stream began meanwhile."""
    given = list(tasks)
    for task in given:
        task.cancel()
    for said in await asyncio.gather(*given, return_exceptions=True):
        if isinstance(said, _Said) and said is not winner and said.stream is not None:
            await said.stream.close()


def _all(said: Sequence[_Said], good: Sequence[_Said]) -> Answer:
    told = (protocol.AGGREGATE, f"All;answers={len(good)}/{len(said)}".encode())
    answers = [(each.label, each.status, each.body if each.good else None) for each in said]
    return Answer(_OK, [JSON, told], orjson.dumps(merged(answers)))


def merged(answers: Sequence[tuple[str, int, bytes | None]]) -> dict[str, Any]:
    """Label, status and body (None: no good answer) of each → one completion."""
    choices: list[dict[str, Any]] = []
    usage: dict[str, int] = {}
    made: dict[str, Any] = {}
    told = []
    for label, status, body in answers:
        if body is None:
            told.append({"backend": label, "status": status, "choices": []})
            continue
        document = orjson.loads(body)
        made = made or document
        first = len(choices)
        choices += [{**each, "index": first + n} for n, each in enumerate(document.get("choices") or [])]
        for name, value in (document.get("usage") or {}).items():
            if isinstance(value, int) and not isinstance(value, bool):
                usage[name] = usage.get(name, 0) + value
        told.append(
            {
                "backend": label,
                "status": status,
                "id": document.get("id"),
                "model": document.get("model"),
                "choices": list(range(first, len(choices))),
            }
        )
    return {**made, "choices": choices, "usage": usage, "moltbot": {"answers": told}}


def opinion(body: bytes) -> str:
    """What an answer says, in a form that equal answers share."""
    document = orjson.loads(body)
    found = []
    for choice in document.get("choices") or []:
        message = choice.get("message") or {}
        text = message.get("content") or choice.get("text") or ""
        calls = [each.get("function") for each in message.get("tool_calls") or []]
        found.append([" ".join(str(text).split()).casefold(), calls])
    return orjson.dumps(found, option=orjson.OPT_SORT_KEYS).decode()


def decided(opinions: Sequence[str], pending: int) -> bool:
    """Whether the leading opinion has won, whatever the `pending` answers say. Equals are not decided."""
    ranks = collections.Counter(opinions).most_common(2)
    if not ranks:
        return False
    second = ranks[1][1] if len(ranks) > 1 else 0
    return ranks[0][1] > second + pending
