"""Embedding requests that come within a window and differ only in their input share one call.

Only requests of one consumer are put together, so that audit and limits stay true. Each gets its own vectors,
and its share of the tokens by the length of its input. Where the shared call is refused as wrong (4xx), each
request is sent by itself, so that only the one at fault is told so.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from moltbot_worker import protocol
from moltbot_worker.config import Batch
from moltbot_worker.errors import AnswerBroken, WorkerError
from moltbot_worker.exchange import Answer, Handler, Request, collected
from moltbot_worker.metrics import Metrics

__all__ = ["Batching", "inputs_of", "shares"]

_OK: Final = 200
_WRONG: Final = frozenset({400, 413, 422})


@dataclass(frozen=True)
class _Rider:
    request: Request
    inputs: list[Any]
    answer: "asyncio.Future[Answer]"


@dataclass
class _Group:
    riders: list[_Rider] = field(default_factory=list)
    inputs: int = 0
    leaves: asyncio.Event = field(default_factory=asyncio.Event)


class Batching:
    """Puts calls of `inner` together; `limit` bounds a shared answer, in bytes."""

    def __init__(self, settings: Batch, inner: Handler, metrics: Metrics, limit: int) -> None:
        self._settings = settings
        self._inner = inner
        self._metrics = metrics
        self._limit = limit
        self._groups: dict[bytes, _Group] = {}
        self._flying: set[asyncio.Task[None]] = set()

    async def __call__(self, request: Request) -> Answer:
        """The answer; with `x-moltbot-batch` where the call was shared."""
        inputs = inputs_of(request)
        if inputs is None or len(inputs) >= self._settings.max_size:
            return await self._inner(request)
        key = _key(request)
        group = self._groups.get(key)
        if group is not None and group.inputs + len(inputs) > self._settings.max_size:
            group.leaves.set()
            group = None
        if group is None:
            group = self._groups[key] = _Group()
            task = asyncio.create_task(self._fly(key, group))
            self._flying.add(task)
            task.add_done_callback(self._flying.discard)
        rider = _Rider(request, inputs, asyncio.get_running_loop().create_future())
        group.riders.append(rider)
        group.inputs += len(inputs)
        if group.inputs >= self._settings.max_size:
            group.leaves.set()
            self._groups.pop(key, None)
        return await rider.answer

    async def _fly(self, key: bytes, group: _Group) -> None:
        try:
            async with asyncio.timeout(self._settings.window):
                await group.leaves.wait()
        except TimeoutError:
            pass
        if self._groups.get(key) is group:
            del self._groups[key]
        riders = [rider for rider in group.riders if not rider.answer.done()]  # some may have left
        if len(riders) > 1 and await self._shared(riders):
            return
        await asyncio.gather(*(self._alone(rider) for rider in riders))

    async def _shared(self, riders: Sequence[_Rider]) -> bool:
        """One call for all; False where each must be sent by itself."""
        request = riders[0].request
        inputs = [each for rider in riders for each in rider.inputs]
        try:
            answer = await self._inner(request.saying({**(request.document or {}), "input": inputs}))
            body = await collected(answer, self._limit)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is every rider's
            _fail(riders, error)
            return True
        if answer.status in _WRONG:
            return False
        self._metrics.batched.labels(request.rule.name).inc(len(riders))
        headers = [*answer.headers, (protocol.BATCH, str(len(riders)).encode())]
        if answer.status != _OK:
            _give(riders, [Answer(answer.status, list(headers), body) for _ in riders])
            return True
        documents = _split(body, riders)
        if documents is None:
            _fail(riders, AnswerBroken("the vectors of the shared call are not those of its inputs"))
            return True
        _give(riders, [Answer(_OK, list(headers), orjson.dumps(document)) for document in documents])
        return True

    async def _alone(self, rider: _Rider) -> None:
        try:
            answer = await self._inner(rider.request)
        except Exception as error:  # noqa: BLE001 - told to whoever waits
            _fail([rider], error)
            return
        if rider.answer.done():
            await answer.close()
        else:
            rider.answer.set_result(answer)


def inputs_of(request: Request) -> list[Any] | None:
    """The inputs of an embedding request, each a text or a list of tokens; None for what can't be shared."""
    if request.operation != "embeddings" or request.document is None or request.method != "POST":
        return None
    given = request.document.get("input")
    if isinstance(given, str):
        return [given]
    if not isinstance(given, list) or not given:
        return None
    if all(isinstance(each, int) and not isinstance(each, bool) for each in given):
        return [given]
    if all(isinstance(each, str) for each in given) or all(isinstance(each, list) for each in given):
        return list(given)
    return None


def shares(total: int, weights: Sequence[int]) -> list[int]:
    """`total` by weight in whole numbers that add up to it."""
    whole, given, seen = sum(weights) or 1, 0, 0
    made = []
    for weight in weights:
        seen += weight
        upto = total * seen // whole if sum(weights) else 0
        made.append(upto - given)
        given = upto
    if made and given < total:
        made[-1] += total - given
    return made


def _key(request: Request) -> bytes:
    """Equal for requests that differ only in their input."""
    document = {**(request.document or {}), "input": None, "model": request.model}
    parts = [request.consumer.encode(), (request.route or "").encode(), request.path.encode()]
    # texts and tokens are not mixed in one call
    kind = type((inputs_of(request) or [""])[0]).__name__.encode()
    return orjson.dumps([part.decode() for part in (*parts, kind)]) + orjson.dumps(
        document, option=orjson.OPT_SORT_KEYS
    )


def _split(body: bytes, riders: Sequence[_Rider]) -> list[dict[str, Any]] | None:
    try:
        document = orjson.loads(body)
        vectors = sorted(document["data"], key=lambda each: each["index"])
        usage = document.get("usage") or {}
        if [each["index"] for each in vectors] != list(range(sum(len(rider.inputs) for rider in riders))):
            return None
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
        return None
    lengths = [sum(len(each) for each in rider.inputs) for rider in riders]
    parts = {
        name: shares(value, lengths)
        for name, value in usage.items()
        if isinstance(value, int) and not isinstance(value, bool)
    }
    made, at = [], 0
    for number, rider in enumerate(riders):
        own = vectors[at : at + len(rider.inputs)]
        at += len(rider.inputs)
        data = [{**each, "index": index} for index, each in enumerate(own)]
        split = {**document, "data": data}
        if usage:
            split["usage"] = {**usage, **{name: values[number] for name, values in parts.items()}}
        made.append(split)
    return made


def _give(riders: Sequence[_Rider], answers: Sequence[Answer]) -> None:
    for rider, answer in zip(riders, answers, strict=True):
        if not rider.answer.done():
            rider.answer.set_result(answer)


def _fail(riders: Sequence[_Rider], error: Exception) -> None:
    for rider in riders:
        if not rider.answer.done():
            rider.answer.set_exception(error if isinstance(error, WorkerError) else AnswerBroken("a defect"))
