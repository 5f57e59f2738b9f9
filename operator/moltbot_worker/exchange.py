"""A request as the worker sees it, and an answer as it gives it."""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Final, Protocol

import orjson

from moltbot_worker import protocol
from moltbot_worker.config import Rule
from moltbot_worker.errors import AnswerBroken

__all__ = ["JSON", "Answer", "Handler", "Headers", "Parts", "Request", "collected", "marked", "refusal"]

Headers = list[tuple[bytes, bytes]]
"""Names in lower case."""

JSON: Final = (b"content-type", b"application/json")


@dataclass(frozen=True)
class Request:
    """A request of a client for a rule. `path` is `/v1` + operation, with its query if there is one."""

    method: str
    path: str
    headers: Headers = field(repr=False)
    """The client's, without the gateway's own."""
    body: bytes = field(repr=False)
    rule: Rule
    consumer: str
    route: str | None = None
    """The final route that the gateway drew."""
    asked_model: str | None = None
    """The model as the client wrote it, if the gateway says so."""
    request_id: bytes = b""
    more: Headers = field(default_factory=list)
    """Headers of the worker's own for its calls."""

    @cached_property
    def document(self) -> dict[str, Any] | None:
        """The body, if it is a JSON object. Of a key that is there twice the last one counts."""
        try:
            given = orjson.loads(self.body)
        except orjson.JSONDecodeError:
            return None
        return given if isinstance(given, dict) else None

    @cached_property
    def operation(self) -> str:
        """What is asked for: `chat/completions`."""
        return self.path.partition("?")[0].removeprefix("/v1/").strip("/")

    @property
    def streams(self) -> bool:
        """Whether the client asks for a streamed answer."""
        return self.document is not None and self.document.get("stream") is True

    @property
    def model(self) -> str | None:
        """The model that the client asked for."""
        if self.asked_model is not None:
            return self.asked_model
        model = self.document.get("model") if self.document else None
        return model if isinstance(model, str) else None

    def header(self, name: bytes) -> str:
        """A header's values, joined as RFC 9110 has it; empty where there is none."""
        return ", ".join(value.decode("latin-1") for key, value in self.headers if key == name)

    def saying(self, document: dict[str, Any], **changes: Any) -> "Request":
        """The same request with another body."""
        changes.setdefault("asked_model", self.model)  # the client's, whatever the document says now
        made = replace(self, body=orjson.dumps(document), **changes)
        made.__dict__["document"] = document
        return made


class Parts(Protocol):
    """A body as it comes; whoever gets it closes it, read or not."""

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Itself."""

    async def __anext__(self) -> bytes:
        """The next part, never empty. Raises AnswerBroken where the body breaks off."""

    async def aclose(self) -> None:
        """End the call behind it, if that still goes on."""


@dataclass
class Answer:
    """An answer."""

    status: int
    headers: Headers
    body: bytes | Parts

    def header(self, name: bytes) -> bytes:
        """The first value of a header, empty if there is none."""
        return next((value for key, value in self.headers if key == name), b"")

    @property
    def is_stream(self) -> bool:
        """Whether the body is a stream of server-sent events."""
        return self.header(b"content-type").partition(b";")[0].strip() == b"text/event-stream"

    async def close(self) -> None:
        """End the call behind a body that is not wanted any more."""
        if not isinstance(self.body, bytes):
            await self.body.aclose()


Handler = Callable[[Request], Awaitable[Answer]]
"""A feature takes a request, and gives it to the next one or answers by itself."""


async def collected(answer: Answer, limit: int) -> bytes:
    """The whole body. Raises AnswerBroken where it breaks off or is longer than `limit` bytes."""
    if isinstance(answer.body, bytes):
        return answer.body
    parts, length = [], 0
    async with contextlib.aclosing(answer.body) as body:
        async for part in body:
            parts.append(part)
            length += len(part)
            if length > limit:
                raise AnswerBroken(f"the answer is longer than {limit} bytes")
    return b"".join(parts)


def refusal(
    status: int,
    message: str,
    code: str | None = None,
    *,
    kind: str = "invalid_request_error",
    headers: Iterable[tuple[bytes, bytes]] = (),
    anthropic: bool = False,
    param: str | None = None,
) -> Answer:
    """An error of ours in OpenAI's shape, or in Anthropic's for its operations."""
    if anthropic:
        kind = {400: "invalid_request_error", 404: "not_found_error", 429: "rate_limit_error"}.get(
            status, "api_error"
        )
        shaped: dict[str, Any] = {"type": "error", "error": {"type": kind, "message": message}}
    else:
        shaped = {"error": {"message": message, "type": kind, "param": param, "code": code}}
    return Answer(status, [JSON, *headers], orjson.dumps(shaped))


def marked(why: str) -> Answer:
    """Tells the gateway to go on without the worker."""
    answer = refusal(
        503, f"The worker can't take the request: {why}.", "worker_unavailable", kind="server_error"
    )
    answer.headers += [(protocol.FAULT, b"worker"), (b"retry-after", b"1")]
    return answer
