"""Messages of a chat as Anthropic has them.

System messages, wherever they stand, become the one system prompt, as in Anthropic's own interface for
OpenAI's clients. Results of tools become blocks of the user's next message, first among them; neighbours of
one role are put together.
"""

import re
from typing import Any, Final

import orjson

from moltbot_worker.translation.terms import (
    Json,
    Untranslatable,
    only,
    read,
    read_list,
    read_object,
    read_text,
)

__all__ = ["Conversation", "conversation"]

_API: Final = "Anthropic"
_DATA_URL: Final = re.compile(r"data:([\w.+-]+/[\w.+-]+);base64,(.*)", re.DOTALL)
_IMAGES: Final = frozenset({"image/jpeg", "image/png", "image/gif", "image/webp"})
_ID: Final = re.compile(r"[^a-zA-Z0-9_-]")
_MESSAGE: Final = {
    "system": frozenset({"role", "content", "name"}),
    "developer": frozenset({"role", "content", "name"}),
    "user": frozenset({"role", "content", "name"}),
    "assistant": frozenset({"role", "content", "name", "refusal", "tool_calls", "annotations"}),
    "tool": frozenset({"role", "content", "tool_call_id", "name"}),
}


class Conversation:
    """System prompt and turns."""

    def __init__(self) -> None:
        self.system: list[Json] = []
        self.turns: list[Json] = []
        self.without: list[str] = []

    def say(self, role: str, blocks: list[Json]) -> None:
        """Add to the last turn, if it is of that role, or begin one."""
        if not blocks:
            return
        if self.turns and self.turns[-1]["role"] == role:
            self.turns[-1]["content"] += blocks
        else:
            self.turns.append({"role": role, "content": blocks})


def conversation(document: Json) -> Conversation:
    """The messages of a request. Raises Untranslatable."""
    made = Conversation()
    for where, given in read_list(document, "messages"):
        role = given.get("role")
        if not isinstance(role, str) or role not in _MESSAGE:
            raise Untranslatable(
                f"{where}role",
                "Anthropic's API knows system, developer, user, assistant and tool",
                "write one of these, or send the request to a rule whose backends speak OpenAI's API",
            )
        only(given, _MESSAGE[role], where, _API)
        if given.get("name") is not None:
            made.without.append(f"{where}name")
        match role:
            case "user":
                blocks = _parts(given, where, made.without)
                if not blocks:
                    raise Untranslatable(f"{where}content", "this is empty", "write something")
                made.say("user", blocks)
            case "assistant":
                made.say("assistant", _assistant(given, where))
            case "tool":
                made.say("user", [_result(given, where)])
            case _:
                made.system += _texts(given, where)
    _end(made)
    return made


def _end(made: Conversation) -> None:
    """A last message of the assistant is gone on with; Anthropic refuses one that ends in white space."""
    if not made.turns or made.turns[-1]["role"] != "assistant":
        return
    last = made.turns[-1]["content"][-1]
    if last["type"] == "text":
        last["text"] = last["text"].rstrip()
        if not last["text"]:
            made.turns[-1]["content"].pop()
            if not made.turns[-1]["content"]:
                made.turns.pop()


def _text(text: str) -> list[Json]:
    """Anthropic refuses empty texts."""
    return [{"type": "text", "text": text}] if text.strip() else []


def _texts(given: Json, where: str) -> list[Json]:
    """Content that may be nothing but text."""
    if given.get("content") is None or isinstance(given["content"], str):
        return _text(given.get("content") or "")
    blocks = []
    for place, part in read_list(given, "content", where):
        if part.get("type") not in {"text", "refusal"}:
            raise Untranslatable(f"{place}type", "only text can stand here", "write text")
        blocks += _text(read_text(part, str(part["type"]), place))
    return blocks


def _parts(given: Json, where: str, without: list[str]) -> list[Json]:
    if isinstance(given.get("content"), str):
        return _text(given["content"])
    blocks: list[Json] = []
    for place, part in read_list(given, "content", where):
        match part.get("type"):
            case "text":
                blocks += _text(read_text(part, "text", place))
            case "image_url":
                blocks.append(_image(read_object(part, "image_url", place), f"{place}image_url.", without))
            case "file":
                blocks.append(_file(read_object(part, "file", place), f"{place}file."))
            case _:
                raise Untranslatable(
                    f"{place}type", "Anthropic's API takes text, image_url and file", "write one of these"
                )
    return blocks


def _image(image: Json, where: str, without: list[str]) -> Json:
    url = read_text(image, "url", where)
    if image.get("detail") not in {None, "auto"}:
        without.append(f"{where}detail")
    if url.startswith(("https://", "http://")):
        return {"type": "image", "source": {"type": "url", "url": url}}
    found = _DATA_URL.fullmatch(url)
    if found is None or found[1].lower() not in _IMAGES:
        raise Untranslatable(
            f"{where}url",
            "Anthropic's API takes images in JPEG, PNG, GIF and WebP",
            "write an https URL or data:image/png;base64,…",
        )
    source = {"type": "base64", "media_type": found[1].lower(), "data": found[2]}
    return {"type": "image", "source": source}


def _file(file: Json, where: str) -> Json:
    found = _DATA_URL.fullmatch(read(file, "file_data", str, where) or "")
    if found is None or found[1].lower() != "application/pdf":
        raise Untranslatable(
            f"{where}file_data",
            "of files Anthropic's API takes PDF within the request",
            "write data:application/pdf;base64,…",
        )
    source = {"type": "base64", "media_type": "application/pdf", "data": found[2]}
    title = read(file, "filename", str, where)
    return {"type": "document", "source": source, **({"title": title} if title else {})}


def _assistant(given: Json, where: str) -> list[Json]:
    blocks = _texts(given, where) + _text(read(given, "refusal", str, where) or "")
    for place, call in read_list(given, "tool_calls", where):
        if call.get("type", "function") != "function":
            raise Untranslatable(f"{place}type", "Anthropic's API has functions only", "write function")
        function = read_object(call, "function", place)
        blocks.append(
            {
                "type": "tool_use",
                "id": _identity(read_text(call, "id", place)),
                "name": read_text(function, "name", f"{place}function."),
                "input": _arguments(function, f"{place}function."),
            }
        )
    return blocks


def _arguments(function: Json, where: str) -> Any:
    text = read(function, "arguments", str, where) or "{}"
    try:
        given = orjson.loads(text)
    except orjson.JSONDecodeError:
        given = None
    if not isinstance(given, dict):
        raise Untranslatable(f"{where}arguments", "Anthropic's API needs a JSON object", "write one")
    return given


def _identity(identity: str) -> str:
    """Anthropic takes letters, digits, `_` and `-`; calls and their results are changed alike."""
    return _ID.sub("_", identity)


def _result(given: Json, where: str) -> Json:
    identity = _identity(read_text(given, "tool_call_id", where))
    return {"type": "tool_result", "tool_use_id": identity, "content": _texts(given, where)}
