"""Calls of backends that speak another API than the client.

The request is translated on the way there and the answer on the way back, for each backend that is tried
(translation/). A chain whose backends are all alike is left to the gateway, with all of its failover.
Otherwise the worker goes along it by itself, and asks each backend once.
"""

import time
from collections.abc import Callable
from typing import Final

import orjson

from moltbot_worker import protocol
from moltbot_worker.config import Backend, Rule
from moltbot_worker.errors import AnswerBroken
from moltbot_worker.exchange import JSON, Answer, Headers, Parts, Request, collected, refusal
from moltbot_worker.translation import (
    AnswerUnreadable,
    ChatChunks,
    MessageEvents,
    Translated,
    Untranslatable,
    completion,
    error_for_anthropic,
    error_for_openai,
    message,
    request_for_anthropic,
    request_for_openai,
)
from moltbot_worker.translation.request_for_anthropic import VERSION
from moltbot_worker.upstream import Calls, drawn, for_backend

__all__ = ["Translating", "foreign", "spoken", "translates"]

_SPOKEN: Final = {"chat/completions": "OpenAI", "messages": "Anthropic"}
_PATHS: Final = {"OpenAI": "/v1/chat/completions", "Anthropic": "/v1/messages"}
_ERROR: Final = 400
_FAULT: Final = 500
_UNREACHED: Final = frozenset({"5xx", "ConnectFailure", "Reset", "PerTryTimeout"})


def spoken(request: Request) -> str | None:
    """The API that a client speaks; None for operations that are not translated."""
    return _SPOKEN.get(request.operation)


def foreign(request: Request, schema: str) -> bool:
    """Whether a backend of this schema can't read the request."""
    return schema != "Any" and spoken(request) not in {None, schema}


def translates(rule: Rule) -> bool:
    """Whether a rule may need it."""
    return any(backend.schema_ != "Any" for backend in rule.backends.values())


class Translating:
    """Makes `upstream` speak the client's API. `limit`: longest answer that is no stream, bytes."""

    def __init__(self, upstream: Calls, limit: int, clock: Callable[[], float] = time.time) -> None:
        self._upstream = upstream
        self._limit = limit
        self._clock = clock

    async def forward(self, request: Request) -> Answer:
        """Along the drawn chain."""
        if spoken(request) is None or request.document is None:
            return await self._upstream.forward(request)
        request, choice = drawn(request)
        chain = tuple(dict.fromkeys(choice.chain))
        backends = [request.rule.backends[label] for label in chain]
        if not any(foreign(request, each.schema_) for each in backends):
            return await self._upstream.forward(request)
        if len({(each.schema_, each.limit, each.prefill) for each in backends}) > 1:
            return await self._along(request, chain)
        try:
            asked, translated = _asked(request, backends[0])
        except Untranslatable as error:
            return _refused(request, error)
        return await self._back(request, await self._upstream.forward(asked), translated, backends[0])

    async def ask(self, request: Request, label: str) -> Answer:
        """One backend alone."""
        try:
            return await self._ask(request, label)
        except Untranslatable as error:
            return _refused(request, error)

    async def _along(self, request: Request, chain: tuple[str, ...]) -> Answer:
        """One after the other; who can't be asked this is passed over."""
        last: Answer | None = None
        why: Untranslatable | None = None
        for label in chain[: request.rule.attempts]:
            try:
                answer = await self._ask(request.saying(for_backend(request, label)), label)
            except Untranslatable as error:
                why = why or error
                continue
            if last is not None:
                await last.close()
            last = answer
            if not _leads_on(answer, request.rule):
                break
        if last is not None:
            return last
        if why is None:
            raise RuntimeError("a chain has at least one backend, and a rule one attempt")
        return _refused(request, why)

    async def _ask(self, request: Request, label: str) -> Answer:
        backend = request.rule.backends[label]
        if request.document is None or not foreign(request, backend.schema_):
            return await self._upstream.ask(request, label)
        asked, translated = _asked(request, backend)
        return await self._back(request, await self._upstream.ask(asked, label), translated, backend)

    async def _back(
        self, request: Request, answer: Answer, translated: Translated, backend: Backend
    ) -> Answer:
        told = backend.schema_ + (f";without={','.join(translated.without)}" if translated.without else "")
        headers: Headers = [pair for pair in answer.headers if pair[0] not in {b"content-type", b"etag"}]
        headers.append((protocol.TRANSLATED, told.encode("latin-1", "replace")))
        to_openai = backend.schema_ == "Anthropic"
        if answer.is_stream and answer.status < _ERROR and not isinstance(answer.body, bytes):
            translation = self._chunks(request) if to_openai else MessageEvents(_stops(request))
            kind = (b"content-type", b"text/event-stream; charset=utf-8")
            return Answer(answer.status, [*headers, kind], _Stream(answer.body, translation))
        body = await collected(answer, self._limit)
        if answer.status >= _ERROR:
            shaped = (error_for_openai if to_openai else error_for_anthropic)(answer.status, body)
            return Answer(answer.status, [*headers, JSON], orjson.dumps(shaped))
        try:
            document = orjson.loads(body)
            made = (
                completion(document, int(self._clock())) if to_openai else message(document, _stops(request))
            )
        except (AnswerUnreadable, orjson.JSONDecodeError):
            said = f"The backend's answer is none of {backend.schema_}'s API, as its schema says."
            return refusal(
                502,
                said,
                "backend_unavailable",
                kind="server_error",
                headers=headers,
                anthropic=not to_openai,
            )
        return Answer(answer.status, [*headers, JSON], orjson.dumps(made))

    def _chunks(self, request: Request) -> ChatChunks:
        options = (request.document or {}).get("stream_options")
        usage = isinstance(options, dict) and options.get("include_usage") is True
        return ChatChunks(int(self._clock()), usage=usage)


def _asked(request: Request, backend: Backend) -> tuple[Request, Translated]:
    """Raises Untranslatable."""
    document = request.document or {}
    headers = [pair for pair in request.headers if not pair[0].startswith((b"anthropic-", b"openai-"))]
    if backend.schema_ == "Anthropic":
        translated = request_for_anthropic(document)
        headers.append((b"anthropic-version", VERSION.encode()))
    else:
        translated = request_for_openai(document, limit=backend.limit, prefill=backend.prefill)
    path = _PATHS[backend.schema_]
    return request.saying(translated.document, path=path, headers=headers), translated


def _stops(request: Request) -> tuple[str, ...]:
    stops = (request.document or {}).get("stop_sequences")
    return tuple(each for each in stops if isinstance(each, str)) if isinstance(stops, list) else ()


def _leads_on(answer: Answer, rule: Rule) -> bool:
    """As the gateway would see it, but for `ContextLength`."""
    if answer.status >= _FAULT:
        return bool(_UNREACHED.intersection(rule.retry_on))
    return str(answer.status) in rule.retry_on


def _refused(request: Request, error: Untranslatable) -> Answer:
    return refusal(
        400,
        str(error),
        "untranslatable",
        anthropic=spoken(request) == "Anthropic",
        param=error.field,
    )


class _Stream:
    """Parts of a stream as they are translated; its end is the answer's own, or an error event."""

    def __init__(self, parts: Parts, translation: ChatChunks | MessageEvents) -> None:
        self._parts = parts
        self._translation = translation

    def __aiter__(self) -> "_Stream":
        return self

    async def __anext__(self) -> bytes:
        while not self._translation.ended:
            try:
                part = await anext(self._parts, b"")
            except AnswerBroken:
                part = b""
            made = self._translation.feed(part) if part else self._translation.close()
            if made:
                return made
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """End the call."""
        await self._parts.aclose()
