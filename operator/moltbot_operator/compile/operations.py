"""From the path that a client asks for to the path that a backend is asked for.

Upstream path = the backend's prefix + what follows the first `/v1` segment of the client's path
(`/tech/v1/chat/completions` → `/chat/completions`); without such a segment, the longest known operation at
its end (`/tech/chat/completions` → `/chat/completions`). A path with neither is no operation and gets a 404.
"""

from typing import Final

__all__ = [
    "IS_OPERATION",
    "IS_STORED",
    "IS_WORKED",
    "JOB",
    "MODEL",
    "MODELS",
    "MOST_CALLED",
    "OPERATION",
    "REWRITE",
    "SPOKEN",
    "rewritten",
    "with_query",
]

_KNOWN: Final = (
    "/audio/(?:speech|transcriptions|translations)",
    "/batches(?:/[^/?]+(?:/cancel)?)?",
    "/chat/completions(?:/[^/?]+(?:/messages)?)?",
    "/completions",
    "/embeddings",
    "/files(?:/[^/?]+(?:/content)?)?",
    "/images/(?:edits|generations|variations)",
    "/messages(?:/count_tokens)?",
    "/models(?:/[^/?]+)?",
    "/moderations",
    "/rerank",
    "/responses(?:/[^/?]+(?:/cancel|/input_items)?)?",
)
"""Of OpenAI's API (https://platform.openai.com/docs/api-reference), with Anthropic's messages and rerank."""

_STORED: Final = (
    "assistants",
    "batches",
    "chat/completions/[^/?]+",
    "containers",
    "conversations",
    "evals",
    "files",
    "fine_tuning",
    "messages/batches",
    "models/[^/?]+",
    "responses",
    "threads",
    "uploads",
    "vector_stores",
    "videos",
)
"""Operations on objects that a backend keeps, after `/v1/`; another backend does not know their ids."""

_ANY: Final = "|".join(_KNOWN)

OPERATION: Final = f"(?:.*?/v1(/.+)|.*?({_ANY}))"
"""All of a path without its query; the operation is in group 1 or 2 (the first alternative wins in RE2)."""

REWRITE: Final = f"^{OPERATION}$"
"""As a rewrite's pattern, which is searched for and not matched."""

IS_OPERATION: Final = rf"[^?]*?/v1/[^?]+(?:\?.*)?|[^?]*?(?:{_ANY})(?:\?.*)?"
"""All of a path with its query, if it names an operation."""

_SHORT: Final = "|".join(each for each in _KNOWN if each.startswith(("/batches", "/files", "/responses")))

IS_STORED: Final = rf"[^?]*?/v1/(?:{'|'.join(_STORED)})(?:[/?].*)?|[^?]*?(?:{_SHORT})(?:\?.*)?"
"""All of a path with its query, if only the backend that keeps the object can serve it."""

IS_WORKED: Final = r"[^?]*?/(?:chat/completions|completions|embeddings|messages)(?:\?.*)?"
"""All of a path with its query that goes to the worker, by POST, where its rule asks for that."""

SPOKEN: Final = {
    "OpenAI": r"[^?]*?/chat/completions(?:\?.*)?",
    "Anthropic": r"[^?]*?/messages(?:\?.*)?",
}
"""By API all of a path with its query, of the operation that is translated."""

JOB: Final = r"(?:/[^?]*)?/v1/jobs/[^/?]+"
"""All of a path without its query that asks for one job."""

MODEL: Final = r"[^?]*?/v1/models/[^?]+|(?:/[^?]*)?/models/[^/?]+"
"""All of a path without its query that asks for one model."""

MODELS: Final = r"(?:/[^?]*)?/models/?"
"""All of a path without its query that lists models."""

MOST_CALLED: Final = "/v1/chat/completions"
"""The path that most requests have, word for word: for it alone shortcuts are taken."""


def with_query(path: str) -> str:
    """Expression for all of a path, with a query or without, from one for all of a path without its query."""
    return rf"(?:{path})(?:\?.*)?"


def rewritten(prefix: str) -> str:
    """Substitution for :data:`REWRITE`; `prefix` as the backend has it, without a slash at its end."""
    return prefix.replace("\\", "\\\\") + "\\1\\2"
