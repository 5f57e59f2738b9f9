"""When two requests are the same, and whether an answer may be kept.

The same: rule, operation with its query, headers that change what a provider does, the whole document with
the model as the client wrote it, and, unless the rule shares its answers, the consumer. The document counts
in canonical form: keys sorted, no white space. Since what is sent is written anew from the same document
(`canonical`), a body can't mean one thing to the key and another to the provider.
"""

from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final

import orjson

from moltbot_worker import protocol
from moltbot_worker.exchange import Request

__all__ = ["Wish", "canonical", "identity", "shared", "wish"]

_VERSION: Final = b"1"
"""To be raised when keys or kept answers change their form."""

_TELLING: Final = (b"anthropic-beta", b"anthropic-version", b"openai-beta")
"""Headers that change what a provider answers."""

_FIXED: Final = frozenset({"embeddings", "moderations", "rerank"})
"""Operations whose answers are a function of their input."""

_SAMPLED: Final = frozenset({"chat/completions", "completions", "messages"})


def identity(request: Request, scope: str) -> str | None:
    """The key, 64 hexadecimal digits; None for what can't be compared. `scope`: `Consumer` or `Route`."""
    if request.document is None or request.method != "POST":
        return None
    model = request.model
    document = request.document if model is None else {**request.document, "model": model}
    parts = [
        _VERSION,
        request.rule.name.encode(),
        b"" if scope == "Route" else b"=" + request.consumer.encode(),
        request.path.encode(),
        *(request.header(name).encode() for name in _TELLING),
        orjson.dumps(document, option=orjson.OPT_SORT_KEYS),
    ]
    found = sha256()
    for part in parts:  # each with its length: no two lists of parts can run together to the same bytes
        found.update(len(part).to_bytes(8, "big"))
        found.update(part)
    return found.hexdigest()


def canonical(request: Request) -> Request:
    """The request as its key saw it."""
    return request if request.document is None else request.saying(request.document)


@dataclass(frozen=True)
class Wish:
    """What client and request allow."""

    look: bool
    """Whether a kept answer will do."""
    keep: bool
    """Whether the answer may be kept."""
    why: str = ""
    """Where neither: the reason that the client is told."""


def wish(request: Request) -> Wish:
    """From the operation, the document, `x-moltbot-cache` and `cache-control`."""
    asked = request.header(protocol.CACHE).strip().lower()
    control = {each.strip().lower() for each in request.header(b"cache-control").split(",")}
    if asked == "bypass" or "no-store" in control:
        return Wish(look=False, keep=False, why="asked")
    if request.document is None:
        return Wish(look=False, keep=False, why="not-json")
    if not shared(request):
        return Wish(look=False, keep=False, why="operation")
    fresh = asked == "refresh" or "no-cache" in control
    if asked == "allow" or fresh or _deterministic(request.operation, request.document):
        return Wish(look=not fresh, keep=True)
    return Wish(look=False, keep=False, why="not-deterministic")


def shared(request: Request) -> bool:
    """Whether an answer to this operation may be given twice: it leaves nothing at the provider."""
    return request.method == "POST" and request.operation in _FIXED | _SAMPLED


def _deterministic(operation: str, document: dict[str, Any]) -> bool:
    if operation in _FIXED:
        return True
    seed = document.get("seed")
    seeded = isinstance(seed, int) and not isinstance(seed, bool)
    temperature = document.get("temperature")
    cold = isinstance(temperature, int | float) and not isinstance(temperature, bool) and temperature == 0
    return cold or seeded
