"""Writes the tables of docs/conditions.md from the enumerations in the code; with --check only compares."""

import ast
import sys
from itertools import pairwise
from pathlib import Path

from sections import publish

SOURCE = Path("operator/moltbot_operator/conditions/reasons.py")
PAGE = Path("docs/conditions.md")


def members(name: str) -> list[tuple[str, str]]:
    """(value, docstring) of each member of an enumeration, in the order of the source."""
    tree = ast.parse(SOURCE.read_text())
    body = next(node.body for node in tree.body if isinstance(node, ast.ClassDef) and node.name == name)
    found = []
    for member, text in pairwise(body):
        if isinstance(member, ast.Assign) and isinstance(text, ast.Expr):
            value, said = ast.literal_eval(member.value), ast.literal_eval(text.value)
            found.append((value, " ".join(said.split())))
    return found


def table(name: str, title: str) -> str:
    """A Markdown table."""
    rows = [f"| `{value}` | {text} |" for value, text in members(name)]
    return "\n".join([f"| {title} | meaning |", "| --- | --- |", *rows])


if __name__ == "__main__":
    titles = {"ConditionType": "type", "Reason": "reason"}
    sys.exit(publish(PAGE, SOURCE, {name: table(name, title) for name, title in titles.items()}))
