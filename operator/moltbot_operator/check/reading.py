"""Reads files for `moltbot check`: every fault with its place, and what is left in one piece."""

import re
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

from moltbot_operator.api import ModelBackend, MoltBotRoute, parse_manifest
from moltbot_operator.check.findings import Finding, Level
from moltbot_operator.check.marks import Document, Position, documents
from moltbot_operator.constants import GROUP
from moltbot_operator.errors import InvalidInput
from moltbot_operator.inputs import read_text
from moltbot_operator.serve.files import Manifests, read

__all__ = ["Placed", "Read", "manifests", "placed", "read_file"]

_PLACE: Final = re.compile(
    r"^(?:[^:]*: )?(?:(?:ModelBackend|MoltBotRoute) \S+: )?([A-Za-z_][^:\s]*): (.*)$", re.DOTALL
)
_JSON_PLACE: Final = re.compile(r"line (\d+) column (\d+): (.*)$", re.DOTALL)


@dataclass(frozen=True)
class Placed:
    """An object, and where it stands; `prefix` leads from the document to its spec's parent."""

    file: str
    document: Document
    manifest: ModelBackend | MoltBotRoute

    @property
    def name(self) -> str:
        """As messages call it: `default/assistant`."""
        return f"{self.manifest.metadata.namespace or 'default'}/{self.manifest.metadata.name}"


@dataclass
class Read:
    """What a file holds, and what is wrong with it."""

    objects: list[Placed] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    values: list[dict[str, Any]] = field(default_factory=list)
    """What is right: routes, backends, Secrets and ConfigMaps, as they are written."""


def read_file(file: Path, *, named: bool) -> Read:
    """Everything in a file. One that was found in a folder and is not `named` may be about something else."""
    found, at = Read(), str(file)
    try:
        text = read_text(file)
    except InvalidInput as error:
        _fault(found, at, "Unreadable", str(error).removeprefix(f"{at}: "), None)
        return found
    if file.suffix == ".json" and '"apiVersion"' not in text:
        if named or '"routes"' in text:
            _read_config(found, at, text)
        return found
    try:
        for document in documents(text):
            _read_document(found, at, document, named=named)
    except yaml.YAMLError as error:
        _fault(found, at, "NotYAML", f"this is no YAML: {_said(error)}", _mark(error))
    return found


def manifests(reads: Mapping[Path, Read], namespace: str | None = None) -> Manifests:
    """What is right in the files, for the compiler; `namespace` is of objects that name none.

    InvalidInput for a Secret or ConfigMap that can't be read, and for an object that is given twice.
    """
    with tempfile.TemporaryDirectory(prefix="moltbot-") as folder:
        copies = {}
        for number, (file, found) in enumerate(reads.items()):
            copies[file] = Path(folder, f"{number}.yaml")
            copies[file].write_text(yaml.safe_dump_all([_named(each, namespace) for each in found.values]))
        try:
            return read(list(copies.values()))
        except InvalidInput as error:
            said = str(error)
            for file, copy in copies.items():
                said = said.replace(str(copy), str(file))
            raise InvalidInput(said) from error


def _named(value: dict[str, Any], namespace: str | None) -> dict[str, Any]:
    metadata = value.get("metadata")
    if namespace is None or not isinstance(metadata, dict):
        return value
    return {**value, "metadata": {"namespace": namespace, **metadata}}


def _fault(found: Read, file: str, reason: str, message: str, position: Position | None) -> None:
    found.findings.append(Finding(Level.ERROR, reason, message, file, position))


def _mark(error: yaml.YAMLError) -> Position | None:
    mark = getattr(error, "problem_mark", None)
    return None if mark is None else Position(mark.line + 1, mark.column + 1)


def _said(error: yaml.YAMLError) -> str:
    context, problem = getattr(error, "context", None), getattr(error, "problem", None)
    return ", ".join(filter(None, (context, problem))) or str(error)


def _read_document(found: Read, file: str, document: Document, *, named: bool) -> None:
    value = document.value
    if not isinstance(value, dict) or "kind" not in value or "apiVersion" not in value:
        if named:
            message = "write objects with apiVersion, kind, metadata and spec"
            _fault(found, file, "NoObject", message, document.at(""))
        return
    if value["apiVersion"] == "v1" and value["kind"] in {"Secret", "ConfigMap"}:
        found.values.append(value)
        return
    if not str(value["apiVersion"]).startswith(f"{GROUP}/"):
        return  # another project's object
    try:
        found.objects.append(Placed(file, document, parse_manifest(value)))
        found.values.append(value)
    except InvalidInput as error:
        for message, path in _lines(str(error)):
            _fault(found, file, "Invalid", message, document.at(path or "apiVersion"))


def _lines(said: str) -> Iterator[tuple[str, str]]:
    """Message and path of each line of an error, without lists that only lack a right item."""
    found = [(line, place[1] if (place := _PLACE.match(line)) else "") for line in said.splitlines()]
    for line, path in found:
        inside = any(other.startswith((f"{path}[", f"{path}.")) for _, other in found)
        if not (inside and "after validation, not 0" in line):
            yield line, path


def placed(text: str, source: str, error: InvalidInput) -> str:
    """The lines of a converter's error with line and column of each: `models.config.json:3:5: …`."""
    return "\n".join(f"{each.where}: {each.message}" for each in _config_faults(text, source, error))


def _config_faults(text: str, source: str, error: InvalidInput) -> Iterator[Finding]:
    for said, _ in _lines(str(error).replace(f"{source}: ", "")):
        place = _JSON_PLACE.match(said)
        if place is not None:
            position: Position | None = Position(int(place[1]), int(place[2]))
            yield Finding(Level.ERROR, "NotJSON", place[3], source, position)
        else:
            yield Finding(Level.ERROR, "Invalid", said, source, _in_config(text, said))


def _read_config(found: Read, file: str, text: str) -> None:
    from moltbot_operator.convert import convert  # noqa: PLC0415 - manifests need no converter

    try:
        made = convert(text, source=file)
    except InvalidInput as error:
        found.findings += _config_faults(text, file, error)
        return
    try:
        (document,) = documents(text)
    except (yaml.YAMLError, ValueError):
        document = Document({}, yaml.ScalarNode("", "", yaml.Mark("", 0, 0, 0, None, 0)))
    found.values += made
    found.objects += [Placed(file, document, parse_manifest(each)) for each in made]


def _in_config(text: str, said: str) -> Position | None:
    place = _PLACE.match(said)
    try:
        (document,) = documents(text)
    except (yaml.YAMLError, ValueError):
        return None
    return document.at("" if place is None else place[1])
