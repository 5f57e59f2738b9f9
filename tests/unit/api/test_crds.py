"""The generated schemas: structural, documented, bounded, and in step with crds/."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from moltbot_operator.api.schema import crds, files, main

ROOT = Path(__file__).parents[3]
CRDS = {definition["spec"]["names"]["kind"]: definition for definition in crds()}

Schema = dict[str, Any]


def schema(kind: str) -> Schema:
    return CRDS[kind]["spec"]["versions"][0]["schema"]["openAPIV3Schema"]


def walk(part: Schema, path: str = "", *, in_list: bool = False) -> Iterator[tuple[str, Schema, bool]]:
    yield path, part, in_list
    for name, member in part.get("properties", {}).items():
        yield from walk(member, f"{path}.{name}", in_list=in_list)
    if "items" in part:
        yield from walk(part["items"], f"{path}[]", in_list=True)
    if "additionalProperties" in part:
        yield from walk(part["additionalProperties"], f"{path}{{}}", in_list=True)


ALL = [(f"{kind}{path}", part, in_list) for kind in CRDS for path, part, in_list in walk(schema(kind))]


def test_files_are_in_step() -> None:
    assert main([str(ROOT / "crds"), "--check"]) == 0, "run make crds"


def test_client_side_apply_has_room() -> None:
    assert all(len(text.encode()) < 128 * 1024 for text in files().values())


def test_only_structural_keywords() -> None:
    known = {
        "type", "format", "description", "default", "enum", "pattern", "minimum", "maximum",
        "exclusiveMinimum", "minLength", "maxLength", "minItems", "maxItems", "maxProperties",
        "properties", "required", "items", "additionalProperties", "x-kubernetes-validations",
        "x-kubernetes-list-type", "x-kubernetes-list-map-keys", "x-kubernetes-int-or-string",
        "x-kubernetes-preserve-unknown-fields",
    }  # fmt: skip
    assert {keyword for _, part, _ in ALL for keyword in part} <= known


def test_every_field_is_described_in_one_line() -> None:
    own = ("[]", "{}", ".metadata")
    bare = [at for at, part, _ in ALL if not part.get("description") and not at.endswith(own)]
    assert bare == []
    assert [at for at, part, _ in ALL if "\n" in part.get("description", "")] == []


def test_every_list_map_and_string_is_bounded() -> None:
    unbounded = [
        at
        for at, part, _ in ALL
        if (part.get("type") == "array" and "maxItems" not in part)
        or ("additionalProperties" in part and "maxProperties" not in part)
        or (
            part.get("type") == "string"
            and not part.keys() & {"maxLength", "enum", "format"}
            and not at.endswith((".apiVersion", ".kind"))
        )
    ]
    assert unbounded == []


def test_defaults_are_published_outside_lists_and_status_only() -> None:
    assert [at for at, part, in_list in ALL if "default" in part and (in_list or ".status" in at)] == []
    timeouts = schema("ModelBackend")["properties"]["spec"]["properties"]["timeouts"]
    assert timeouts["properties"]["connect"]["default"] == "5s"


def test_defaults_are_described() -> None:
    weight = schema("MoltBotRoute")["properties"]["spec"]["properties"]["rules"]["items"]["properties"][
        "candidates"
    ]["items"]["properties"]["weight"]
    assert weight["description"].endswith("Defaults to 1.")
    assert "default" not in weight


def test_enums_are_camel_case() -> None:
    for at, part, _ in ALL:
        if ".spec.audit." in at:  # names of fields of a record, which are as they are in the record
            continue
        for value in part.get("enum", []):
            known = value in {"5xx", "429", "401", "403", 429, 401, 403} or value[0].isupper()
            assert known, f"{at}: {value}"


def test_named_lists_are_maps() -> None:
    lists = {
        at: part.get("x-kubernetes-list-map-keys")
        for at, part, _ in ALL
        if part.get("x-kubernetes-list-type") == "map"
    }
    assert lists["MoltBotRoute.spec.rules"] == ["name"]
    assert lists["MoltBotRoute.spec.consumers"] == ["name"]
    assert lists["MoltBotRoute.spec.rules[].candidates"] == ["backend"]
    assert lists["MoltBotRoute.status.conditions"] == ["type"]


def test_messages_have_no_line_breaks() -> None:
    messages = [rule["message"] for _, part, _ in ALL for rule in part.get("x-kubernetes-validations", [])]
    assert len(messages) > 60
    assert [message for message in messages if "\n" in message] == []


def test_names_scale_and_status() -> None:
    names = CRDS["MoltBotRoute"]["spec"]["names"]
    assert names["shortNames"] == ["mbr"]
    assert CRDS["ModelBackend"]["spec"]["names"]["shortNames"] == ["mb"]
    assert names["categories"] == ["moltbot"]
    subresources = CRDS["MoltBotRoute"]["spec"]["versions"][0]["subresources"]
    assert subresources["status"] == {}
    assert subresources["scale"]["labelSelectorPath"] == ".status.worker.selector"


def test_the_command_writes_checks_and_names_what_differs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "crds"
    assert main([str(folder), "--check"]) == 1
    assert "run make crds" in capsys.readouterr().err
    assert main([str(folder)]) == 0
    assert main([str(folder), "--check"]) == 0
    written = sorted(folder.iterdir())
    assert [path.name for path in written] == [
        "moltbot.io_modelbackends.yaml",
        "moltbot.io_moltbotroutes.yaml",
    ]
    assert yaml.safe_load(written[0].read_text(encoding="utf-8")) == CRDS["ModelBackend"]
    written[0].write_text("old", encoding="utf-8")
    assert main([str(folder), "--check"]) == 1
