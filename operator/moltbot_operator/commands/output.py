"""How commands print: text for people, JSON for programs."""

import json
from enum import StrEnum
from typing import Annotated, Any

import typer

__all__ = ["Format", "Output", "print_json"]


class Format(StrEnum):
    """For whom."""

    TEXT = "text"
    JSON = "json"


Output = Annotated[Format, typer.Option("--output", "-o", help="text for people, json for programs.")]


def print_json(document: Any) -> None:
    """One document on standard output."""
    typer.echo(json.dumps(document, indent=2, ensure_ascii=False))
