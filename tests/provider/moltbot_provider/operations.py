"""From a request to what its operation answers."""

import json
from typing import Any

from moltbot_provider import answers, media, messages
from moltbot_provider.forms import form
from moltbot_provider.reply import Refused, Reply, data_frames, named_frames
from moltbot_provider.responses import response, response_events
from moltbot_provider.stored import Stored

__all__ = ["Operations", "is_messages"]

_UPLOADS = ("audio/transcriptions", "audio/translations", "files", "images/edits", "images/variations")
_STORED = ("batches", "files", "responses")


def is_messages(path: str) -> bool:
    """Whether the operation is of Anthropic's API, whose errors look different."""
    return path.rstrip("/").endswith(("/messages", "/messages/count_tokens"))


_ANYWHERE = ("chat/completions", "completions", "embeddings")


def _operation(path: str) -> list[str]:
    """Segments after /v1, or else after the provider's own prefix.

    As lax as the laxest server, so that no path gets a model past the gateway that a server would take: what
    ends like one of the oldest operations is one.
    """
    segments = [each for each in path.split("/") if each]
    lax = next((name.split("/") for name in _ANYWHERE if path.rstrip("/").endswith(f"/{name}")), None)
    if lax:
        return lax
    if "v1" in segments:
        return segments[segments.index("v1") + 1 :]
    known = {"audio", "chat", "completions", "embeddings", "images", "messages", "models", "moderations"}
    start = next((at for at, each in enumerate(segments) if each in known | set(_STORED)), len(segments))
    return segments[start:]


class Operations:
    """Every operation of one provider."""

    def __init__(self, name: str, models: tuple[str, ...], length: int) -> None:
        self.name = name
        self.models = models
        self.length = length
        self.stored = Stored(name)

    def answer(
        self, method: str, path: str, content_type: str, body: bytes, finish: str | None = None
    ) -> Reply:
        """The answer; Refused where the request is at fault. `finish` replaces a chat's `stop`."""
        operation = _operation(path)
        name = "/".join(operation)
        if operation[:1] == ["models"] and method in {"GET", "HEAD"}:
            return self._models(operation[1:])
        if method in {"GET", "HEAD", "DELETE"} or operation[2:] == ["cancel"]:
            return self._kept(method, operation)
        if method != "POST":
            raise Refused(404, f"no operation {method} {path}", "unknown_url")
        if name in _UPLOADS:
            return self._upload(name, content_type, body)
        return self._create(name, path, _document(body), finish)

    def _models(self, rest: list[str]) -> Reply:
        if not rest:
            return Reply(answers.models(self.models, self.name))
        if (name := "/".join(rest)) not in self.models:
            raise Refused(404, f"the model {name} does not exist", "model_not_found", "model")
        return Reply(answers.model(name, self.name))

    def _kept(self, method: str, operation: list[str]) -> Reply:
        match operation:
            case ["files", *rest] if rest or method != "DELETE":
                return self.stored.file(method, rest)
            case ["batches", *rest] if method != "DELETE":
                return self.stored.batch(rest)
            case ["responses", _, *_]:
                return self.stored.response(method, operation[1:])
        raise Refused(404, f"no operation {method} {'/'.join(operation)}", "unknown_url")

    def _upload(self, name: str, content_type: str, body: bytes) -> Reply:
        fields = form(content_type, body)
        if name == "files":
            return self.stored.upload(fields)
        if name.startswith("audio/"):
            return Reply(media.transcription(self.name, fields))
        if "image" not in fields:
            raise Refused(400, "the field image is missing", None, "image")
        prompt = fields["prompt"].text if "prompt" in fields else ""
        text = f"{prompt} bytes={len(fields['image'].value)}"
        return Reply(media.images(self.name, text, int(fields["n"].text) if "n" in fields else 1))

    def _create(  # noqa: PLR0911 - one line an operation
        self, name: str, path: str, given: dict[str, Any], finish: str | None
    ) -> Reply:
        match name:
            case "chat/completions" | "completions":
                return self._chat(name, given, finish or "stop")
            case "embeddings":
                return Reply(answers.embeddings(self.name, given))
            case "messages" | "messages/count_tokens":
                return self._messages(name, given)
            case "responses":
                return self._respond(given)
            case "batches":
                return self.stored.create_batch(given)
            case "moderations":
                return Reply(media.moderations(self.name, given))
            case "images/generations":
                return Reply(media.images(self.name, str(given.get("prompt")), given.get("n") or 1))
            case "audio/speech":
                return Reply(media.speech(self.name, given), content_type="audio/mpeg")
        raise Refused(404, f"no operation POST {path}", "unknown_url")

    def _chat(self, name: str, given: dict[str, Any], finish: str) -> Reply:
        count = answers.words(given, self.length)
        is_chat = name == "chat/completions"
        if given.get("stream") is True:
            events = answers.chat_events if is_chat else answers.completion_events
            return data_frames(events(self.name, given, count, finish))
        make = answers.chat if is_chat else answers.completion
        return Reply(make(self.name, given, count, finish))

    def _messages(self, name: str, given: dict[str, Any]) -> Reply:
        if name.endswith("count_tokens"):
            return Reply(messages.count(given))
        count = answers.words(given, self.length)
        if given.get("stream") is True:
            return named_frames(messages.message_events(self.name, given, count))
        return Reply(messages.message(self.name, given, count))

    def _respond(self, given: dict[str, Any]) -> Reply:
        if given.get("previous_response_id"):
            self.stored.known_response(given["previous_response_id"])
        made = response(self.name, given, self.length)
        if made["store"]:
            self.stored.responses[made["id"]] = made
        return named_frames(response_events(made)) if given.get("stream") is True else Reply(made)


def _document(body: bytes) -> dict[str, Any]:
    try:
        given = json.loads(body)
    except ValueError:
        given = None
    if not isinstance(given, dict):
        raise Refused(400, "the body is not a JSON object")
    return given
