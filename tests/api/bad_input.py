"""Reads bad_input.yaml: what is wrong in each case, and what the answer must say."""

import copy
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

_TABLE = yaml.safe_load(Path(__file__).with_name("bad_input.yaml").read_text(encoding="utf-8"))

GOOD: dict[str, dict[str, Any]] = _TABLE["good"]
"""A good route and a good backend."""


@dataclass(frozen=True)
class Case:
    name: str
    manifest: dict[str, Any]
    at: str
    """The field that is wrong, `object` for the whole."""
    says: str
    server_only: bool


def _steps(path: str) -> list[str | int]:
    return [int(step) if step.isdigit() else step for step in re.findall(r"[^.\[\]]+", path)]


def _put(manifest: Any, path: str, value: Any) -> None:
    *to, last = _steps(path)
    for step in to:
        manifest = manifest[step] if isinstance(step, int) else manifest.setdefault(step, {})
    if isinstance(last, int) and last == len(manifest):
        manifest.append(value)
    else:
        manifest[last] = value


def _remove(manifest: Any, path: str) -> None:
    *to, last = _steps(path)
    for step in to:
        manifest = manifest[step]
    del manifest[last]


def _case(entry: dict[str, Any]) -> Case:
    (kind,) = entry.keys() & GOOD.keys()
    manifest = copy.deepcopy(GOOD[kind])
    changes = entry[kind]
    for path in changes.get("remove", []):
        _remove(manifest, path)
    for path, value in changes.get("set", {}).items():
        _put(manifest, path, value)
    for path, length in changes.get("long", {}).items():
        _put(manifest, path, "a" * length)
    return Case(entry["case"], manifest, entry["at"], entry["says"], entry.get("server_only", False))


CASES = [_case(entry) for entry in _TABLE["cases"]]
