"""Errors: the other API's shape, with the backend's own words.

What is in the client's shape already stays as it is: the gateway's own errors have OpenAI's.
"""

from typing import Any, Final

import orjson

from moltbot_worker.translation.terms import Json

__all__ = ["error_for_anthropic", "error_for_openai", "kind_of"]

_KINDS: Final = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}
"""https://platform.claude.com/docs/en/api/errors"""

_CODES: Final = {
    "authentication_error": "invalid_api_key",
    "not_found_error": "model_not_found",
    "overloaded_error": "overloaded",
    "rate_limit_error": "rate_limit_exceeded",
}
"""OpenAI's codes (https://platform.openai.com/docs/guides/error-codes) for Anthropic's types."""

_OVERLONG: Final = "prompt is too long"
"""How Anthropic says it."""


def kind_of(status: int) -> str:
    """Anthropic's type for a status."""
    return _KINDS.get(status, "invalid_request_error" if 400 <= status < 500 else "api_error")  # noqa: PLR2004


def error_for_openai(status: int, body: bytes) -> Json:
    """An error of a backend that speaks Anthropic's API."""
    given = _parsed(body)
    inner = given.get("error")
    if isinstance(inner, dict) and given.get("type") != "error":
        return given
    return openai_error(inner if isinstance(inner, dict) else {}, status)


def openai_error(inner: Json, status: int | None = None) -> Json:
    """For the `error` of Anthropic's error."""
    kind = str(inner.get("type") or kind_of(status or 500))
    text = str(inner.get("message") or _unsaid(status))
    code = "context_length_exceeded" if _OVERLONG in text.lower() else _CODES.get(kind)
    return {"error": {"message": text, "type": kind, "param": None, "code": code}}


def error_for_anthropic(status: int, body: bytes) -> Json:
    """An error of a backend that speaks OpenAI's API, or of the gateway."""
    given = _parsed(body)
    if given.get("type") == "error" and isinstance(given.get("error"), dict):
        return given
    return anthropic_error(given.get("error"), status)


def anthropic_error(inner: Any, status: int) -> Json:
    """For the `error` of OpenAI's error, which some servers write as a string."""
    text = inner.get("message") if isinstance(inner, dict) else inner
    said = text if isinstance(text, str) and text else _unsaid(status)
    return {"type": "error", "error": {"type": kind_of(status), "message": said}}


def _unsaid(status: int | None) -> str:
    return (
        "The backend reported an error." if status is None else f"The backend answered with status {status}."
    )


def _parsed(body: bytes) -> Json:
    try:
        given = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    return given if isinstance(given, dict) else {}
