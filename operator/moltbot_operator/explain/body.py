"""What the gateway's script reads out of a body: the model's name, and what tells the kind of task."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from moltbot_operator.api import Capability

__all__ = ["Body", "Refusal", "read_body", "task_of"]

_TELLING: Final = ("messages", "input", "prompt", "tools")
_PARTS: Final = (
    *("image_url", "input_image", "image", "input_audio", "audio_url", "video_url"),
    *("file", "input_file", "document"),
)
_CODE_TOOLS: Final = (
    *("code_interpreter", "code_execution", "local_shell", "shell", "apply_patch", "bash_"),
    "text_editor_",
)
_TYPE: Final = re.compile(r'"type"\s*:\s*"([A-Za-z0-9_]+)"')
_BETWEEN: Final = re.compile(r"[\s,:]*")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_FENCE_WITHIN: Final = 8192
_LONGEST: Final = 512
"""Characters of a model's name that are looked at."""


@dataclass(frozen=True)
class Refusal:
    """Why the script sends a request back: status and message."""

    status: int
    message: str


@dataclass(frozen=True)
class Body:
    """The model's name, and the texts of the top-level values that tell the task."""

    model: str | None = None
    spans: Mapping[str, str] = field(default_factory=dict)


def read_body(body: str | None) -> Body | Refusal:
    """What `scan.lua` reads; a Refusal for what it can't."""
    if not body:
        return Body()
    try:
        members = list(_members(body))
    except (ValueError, RecursionError) as error:
        return Refusal(400, f"The request body is no JSON object ({error}).")
    model, why = _model([(name, text) for name, text in members if name.lower() == "model"])
    if why is not None:
        return Refusal(400, why)
    return Body(model and model[:_LONGEST], {name: text for name, text in members if name in _TELLING})


def _model(named: list[tuple[str, str]]) -> tuple[str | None, str | None]:
    """The model's name, and what is wrong with it."""
    if any(name != "model" for name, _ in named):
        return None, "The request body writes model with capital letters."
    if len(named) > 1:
        return None, "The request body names a model twice."
    model = json.loads(named[0][1]) if named else None
    if named and not isinstance(model, str):
        return None, "The model must be a string."
    if model is not None and _CONTROL.search(model):
        return None, "The model's name has control characters."
    return model, None


def _members(text: str) -> Iterator[tuple[str, str]]:
    """Top-level names with the texts of their values; ValueError if it is no object."""
    if not isinstance(json.loads(text), dict):
        raise ValueError("it is something else")  # noqa: TRY004 - one kind of error for all that is no object
    decoder, at = json.JSONDecoder(), text.index("{") + 1
    while text[at := _after(text, at)] == '"':
        name, at = decoder.raw_decode(text, at)
        begin = _after(text, at)
        _, at = decoder.raw_decode(text, begin)
        yield name, text[begin:at]


def _after(text: str, at: int) -> int:
    found = _BETWEEN.match(text, at)
    return at if found is None else found.end()


def task_of(
    headers: Mapping[str, str], path: str, body: Body, models: Mapping[str, str]
) -> tuple[str, str] | Refusal:
    """The kind of task and how it was found (docs/routing.md), as `task.lua` finds it.

    `path` is without its query; `models` are those that tell the task.
    """
    given = headers.get("x-moltbot-task")
    if given is not None:
        named = next((str(each) for each in Capability if each.lower() == given.lower()), None)
        if named is None:
            return Refusal(400, "The header x-moltbot-task must be Dialog, Code, Multimodal or Embedding.")
        return named, "header"
    return next(_found(path, body, models))


def _found(path: str, body: Body, models: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    if re.search(r"/embeddings/?$", path):
        yield "Embedding", "path"
    if "/audio/" in path or "/images/" in path:
        yield "Multimodal", "path"
    if body.model and body.model in models:
        yield models[body.model], "model"
    texts = {name: body.spans.get(name, "") for name in _TELLING}
    if any(_has_type(texts[name], _PARTS.__contains__) for name in ("messages", "input")):
        yield "Multimodal", "parts"
    if _has_type(texts["tools"], lambda kind: kind.startswith(_CODE_TOOLS)):
        yield "Code", "tools"
    if any("```" in texts[name][-_FENCE_WITHIN:] for name in ("messages", "input", "prompt")):
        yield "Code", "fence"
    yield "Dialog", "default"


def _has_type(text: str, wanted: Callable[[str], bool]) -> bool:
    return any(wanted(kind) for kind in _TYPE.findall(text))
