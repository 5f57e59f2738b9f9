"""Findings as text, JSON, SARIF and JUnit.

Sources: https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html; JUnit as CI systems read it
(https://github.com/testmoapp/junitxml).
"""

import json
from collections.abc import Sequence
from typing import Any, Final
from xml.sax.saxutils import escape, quoteattr

from moltbot_operator.check.findings import Finding, Level

__all__ = ["as_json", "as_junit", "as_sarif", "as_text"]

_SCHEMA: Final = "https://json.schemastore.org/sarif-2.1.0.json"


def as_text(findings: Sequence[Finding], files: Sequence[str]) -> str:
    """A line for each, as compilers write them, and one with the sums."""
    lines = [f"{each.where}: {each.level}: {each.message} [{each.reason}]" for each in findings]
    errors = sum(each.level is Level.ERROR for each in findings)
    warnings = len(findings) - errors
    checked = f"{len(files)} file{'' if len(files) == 1 else 's'}"
    return "\n".join([*lines, f"{checked}: {errors or 'no'} errors, {warnings or 'no'} warnings"])


def as_json(findings: Sequence[Finding], files: Sequence[str]) -> str:
    """An object with the files and the findings."""
    listed = [
        {
            "level": str(each.level),
            "reason": each.reason,
            "message": each.message,
            "file": each.file,
            "line": None if each.position is None else each.position.line,
            "column": None if each.position is None else each.position.column,
        }
        for each in findings
    ]
    return json.dumps({"files": list(files), "findings": listed}, indent=2, ensure_ascii=False)


def as_sarif(findings: Sequence[Finding], version: str) -> str:
    """A SARIF 2.1.0 log of one run."""
    reasons = sorted({each.reason for each in findings})
    driver = {"name": "moltbot check", "version": version, "rules": [{"id": reason} for reason in reasons]}
    results = [
        {
            "ruleId": each.reason,
            "level": str(each.level),
            "message": {"text": each.message},
            "locations": [{"physicalLocation": _location(each)}],
        }
        for each in findings
    ]
    log = {"$schema": _SCHEMA, "version": "2.1.0", "runs": [{"tool": {"driver": driver}, "results": results}]}
    return json.dumps(log, indent=2, ensure_ascii=False)


def _location(finding: Finding) -> dict[str, Any]:
    place: dict[str, Any] = {"artifactLocation": {"uri": finding.file}}
    if finding.position is not None:
        place["region"] = {"startLine": finding.position.line, "startColumn": finding.position.column}
    return place


def as_junit(findings: Sequence[Finding], files: Sequence[str], *, strict: bool) -> str:
    """A test case for each file; it fails by its errors, with `strict` by its warnings too."""
    cases = []
    bad = 0
    for file in files:
        found = [each for each in findings if each.file == file]
        failing = [each for each in found if strict or each.level is Level.ERROR]
        bad += bool(failing)
        lines = "\n".join(f"{each.where}: {each.level}: {each.message} [{each.reason}]" for each in found)
        inside = ""
        if failing:
            inside = f"<failure message={quoteattr(failing[0].message)}>{escape(lines)}</failure>"
        elif found:
            inside = f"<system-out>{escape(lines)}</system-out>"
        cases.append(f'<testcase classname="moltbot check" name={quoteattr(file)}>{inside}</testcase>')
    suite = (
        f'<testsuite name="moltbot check" tests="{len(files)}" failures="{bad}">{"".join(cases)}</testsuite>'
    )
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<testsuites>{suite}</testsuites>'
