"""Objects as dictionaries or YAML, read into the types, with errors that people can act on."""

from collections.abc import Iterator, Mapping
from typing import Any

import yaml
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from moltbot_operator.api.backend import ModelBackend
from moltbot_operator.api.route import MoltBotRoute
from moltbot_operator.constants import API_VERSION
from moltbot_operator.errors import InvalidInput

__all__ = ["faults", "parse_manifest", "read_manifests"]

_KINDS: dict[str, type[ModelBackend | MoltBotRoute]] = {
    "ModelBackend": ModelBackend,
    "MoltBotRoute": MoltBotRoute,
}


def parse_manifest(manifest: Mapping[str, Any]) -> ModelBackend | MoltBotRoute:
    """One object of either kind.

    InvalidInput has a line for each wrong field: the object, the field, and what to write instead.
    """
    kind = manifest.get("kind")
    if manifest.get("apiVersion") != API_VERSION or kind not in _KINDS:
        raise InvalidInput(
            f"{manifest.get('apiVersion')} {kind}: write apiVersion: {API_VERSION} and kind: "
            f"{' or '.join(_KINDS)}"
        )
    try:
        return _KINDS[kind].model_validate(dict(manifest))
    except ValidationError as error:
        metadata = manifest.get("metadata")
        named = metadata if isinstance(metadata, Mapping) else {}
        at = f"{kind} {named.get('namespace', 'default')}/{named.get('name', '(without a name)')}"
        raise InvalidInput("\n".join(f"{at}: {problem}" for problem in _problems(error))) from error


def read_manifests(text: str, source: str) -> list[ModelBackend | MoltBotRoute]:
    """All objects of a YAML stream; `source` (a file's name) goes before each error."""
    try:
        documents = list(yaml.load_all(text, Loader=_Loader))
    except yaml.YAMLError as error:
        raise InvalidInput(f"{source}: this is no YAML: {error}") from error
    found = []
    for document in documents:
        if document is None:
            continue
        if not isinstance(document, dict):
            raise InvalidInput(f"{source}: write objects with apiVersion, kind, metadata and spec")
        try:
            found.append(parse_manifest(document))
        except InvalidInput as error:
            raise InvalidInput("\n".join(f"{source}: {line}" for line in str(error).splitlines())) from error
    return found


class _Loader(yaml.SafeLoader):
    """YAML as kubectl reads it: a date is text, not a time."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def faults(error: ValidationError) -> list[ErrorDetails]:
    """What is wrong; lists that are too short only since a wrong item was left out are not told."""
    found = error.errors(include_url=False)
    places = [each["loc"] for each in found]

    def follows(each: ErrorDetails) -> bool:
        at = each["loc"]
        return each["type"] == "too_short" and any(
            len(place) > len(at) and place[: len(at)] == at for place in places
        )

    return [each for each in found if not follows(each)]


def _problems(error: ValidationError) -> Iterator[str]:
    for problem in faults(error):
        at = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in problem["loc"])
        at += problem.get("ctx", {}).get("field", "") if problem["type"] == "check" else ""
        message = (
            "Unsupported field: remove it or correct its name"
            if problem["type"] == "extra_forbidden"
            else problem["msg"]
        )
        yield f"{at.lstrip('.') or 'object'}: {message}"
