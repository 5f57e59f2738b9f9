"""Writes the fault matrix into docs/failover.md from the tests' own table; with --check only compares."""

import sys
import tomllib
from pathlib import Path
from typing import Any

from sections import publish

SOURCE = Path("tests/matrix/fault_matrix.toml")
PAGE = Path("docs/failover.md")


def row(fault: dict[str, Any]) -> str:
    """One line of the table."""
    cells = [fault["name"], *(said(fault[where], form) for where in ("first", "all") for form in (0, 1))]
    return f"| {' | '.join(cells)} |"


def said(cell: dict[str, Any], form: int) -> str:
    """What the client gets, and from whom after how many attempts."""
    end = cell.get("end", "whole")
    end = end if isinstance(end, str) else end[form]
    said = {"whole": "", "cut": ", cut off", "no JSON": ", as it is", "no [DONE]": ", as it is"}[end]
    if after := cell.get("retry_after"):
        said += f", `retry-after: {after}`"
    tries = [each.split()[0] for each in cell["tries"]]
    return f"{cell['status']}{said}: {', '.join(tries)}"


def table() -> str:
    """All of it."""
    faults = tomllib.loads(SOURCE.read_text())["fault"]
    head = "| fault | at the first: plain | streamed | at both: plain | streamed |"
    return "\n".join([head, "| --- | --- | --- | --- | --- |", *map(row, faults)])


if __name__ == "__main__":
    sys.exit(publish(PAGE, SOURCE, {"faults": table()}))
