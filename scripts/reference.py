"""Pages of the reference: fields of the resources from crds/, commands from the command line itself."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer
import yaml

from moltbot_operator.cli import app

__all__ = ["command_page", "resource_page"]

Json = dict[str, Any]


def resource_page(crd: Path) -> str:
    """A table of every field of spec and status."""
    spec = yaml.safe_load(crd.read_text())["spec"]
    kind, version = spec["names"]["kind"], spec["versions"][0]
    schema = version["schema"]["openAPIV3Schema"]
    names = spec["names"]
    said = (
        f"`apiVersion: {spec['group']}/{version['name']}`, short name `{names['shortNames'][0]}`. "
        f"Made from the types; `kubectl explain {names['plural']}.spec` says the same."
    )
    parts = [f"# {kind}", said, _text(schema.get("description", ""))]
    for part in ("spec", "status"):
        if part in schema["properties"]:
            parts += [f"## {part}", _table(schema["properties"][part], part)]
    return "\n\n".join(filter(None, parts)) + "\n"


def _table(schema: Json, path: str) -> str:
    rows = [
        f"| `{name}` | {_type(field)} | {_default(field)} | {_cell(field)}{_required(required)} |"
        for name, field, required in _fields(schema, path)
    ]
    return "\n".join(["| field | type | default | what |", "| --- | --- | --- | --- |", *rows])


def _fields(schema: Json, path: str) -> Iterator[tuple[str, Json, bool]]:
    for name, field in schema.get("properties", {}).items():
        at = f"{path}.{name}"
        yield at, field, name in schema.get("required", ())
        inner, begin = field, at
        while "items" in inner:
            inner, begin = inner["items"], f"{begin}[]"
        if isinstance(values := inner.get("additionalProperties"), dict):
            inner, begin = values, f"{begin}.NAME"
        yield from _fields(inner, begin)


def _type(field: Json) -> str:
    if "enum" in field:
        return ", ".join(f"`{value}`" for value in field["enum"])
    if field.get("x-kubernetes-int-or-string"):
        return "integer or string"
    if field.get("type") == "array":
        return (
            f"list of {_type(field['items'])}"
            if "enum" not in field["items"]
            else f"list: {_type(field['items'])}"
        )
    if isinstance(field.get("additionalProperties"), dict):
        return f"map to {_type(field['additionalProperties'])}"
    return str(field.get("type", "any"))


def _default(field: Json) -> str:
    return (
        f"`{yaml.safe_dump(field['default'], default_flow_style=True).splitlines()[0]}`"
        if "default" in field
        else ""
    )


def _required(required: bool) -> str:
    return " **Required.**" if required else ""


def _cell(field: Json) -> str:
    return _text(field.get("description", "")).replace("|", "\\|")


def _text(text: str) -> str:
    """One line that Markdown leaves alone."""
    return " ".join(text.split()).replace("<", "&lt;").replace("[", "\\[")


def command_page() -> str:
    """Usage, help and options of every command."""
    parts = ["# Commands", "Made from the commands themselves; `moltbot COMMAND --help` says the same."]
    for path, command in _commands(typer.main.get_command(app), ()):
        name = " ".join(("moltbot", *path))
        help_text = "\n\n".join(" ".join(part.split()) for part in (command.help or "").split("\n\n"))
        parts += [f"## {name}", help_text.replace("<", "&lt;"), _parameters(command)]
    return "\n\n".join(filter(None, parts)) + "\n"


def _commands(command: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, each in sorted(command.commands.items()):
        if hasattr(each, "commands"):
            yield from _commands(each, (*path, name))
        else:
            yield (*path, name), each


def _parameters(command: Any) -> str:
    rows = []
    for parameter in command.params:
        written = ", ".join(f"`{name}`" for name in (*parameter.opts, *parameter.secondary_opts))
        if parameter.param_type_name == "argument":
            written = f"`{parameter.metavar or parameter.name.upper()}`"
        default = parameter.default if isinstance(parameter.default, str | int | float) else None
        shown = "" if default is None or isinstance(default, bool) else f"`{default}`"
        said = " ".join((parameter.help or "").split()).replace("|", "\\|").replace("<", "&lt;")
        rows.append(f"| {written.replace('|', chr(92) + '|')} | {shown} | {said} |")
    return "\n".join(["| option | default | what |", "| --- | --- | --- |", *rows]) if rows else ""
