"""Reports of `moltbot wait`: JSON for programs, JUnit for CI systems, Markdown for people (pure)."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal
from xml.etree import ElementTree as ET

from moltbot_operator.conditions.verdict import Outcome, Waited

__all__ = ["Format", "Waiting", "written"]

Format = Literal["json", "junit", "markdown"]


@dataclass(frozen=True)
class Waiting:
    """What was waited for, and how it ended; `manifest` as it was seen last, empty if it never was."""

    kind: str
    namespace: str
    name: str
    wanted: str
    waited: Waited
    timed_out: bool
    seconds: float
    manifest: Mapping[str, Any]

    @property
    def result(self) -> str:
        """Done, Failed, Paused or TimedOut."""
        return "TimedOut" if self.timed_out else str(self.waited.outcome)


def written(waiting: Waiting, form: Format) -> str:
    """The report's text."""
    match form:
        case "json":
            return json.dumps(_document(waiting), indent=2) + "\n"
        case "junit":
            return _junit(waiting)
        case "markdown":
            return _markdown(waiting)


def _document(waiting: Waiting) -> dict[str, Any]:
    status = waiting.manifest.get("status") or {}
    return {
        "kind": waiting.kind,
        "namespace": waiting.namespace,
        "name": waiting.name,
        "generation": (waiting.manifest.get("metadata") or {}).get("generation"),
        "for": waiting.wanted,
        "result": waiting.result,
        "message": waiting.waited.message,
        "seconds": round(waiting.seconds, 3),
        "revision": status.get("revision"),
        "rollout": {key: value for key, value in (status.get("rollout") or {}).items() if key != "pending"},
        "rules": status.get("rules") or [],
        "backends": status.get("backends") or [],
        "conditions": status.get("conditions") or [],
    }


@dataclass(frozen=True)
class _Case:
    name: str
    good: bool
    message: str


def _cases(waiting: Waiting) -> Iterator[_Case]:
    """What a person would look at: the verdict, each rule and backend, each metric of the analysis."""
    status = waiting.manifest.get("status") or {}
    good = waiting.waited.outcome is Outcome.DONE
    yield _Case(f"{waiting.wanted} within the time", good, waiting.waited.message)
    for rule in status.get("rules") or []:
        yield _Case(f"rule {rule['name']}", bool(rule.get("accepted")), rule.get("reason", ""))
    for backend in status.get("backends") or []:
        yield _Case(f"backend {backend['name']}", bool(backend.get("ready")), backend.get("reason", ""))
    run = (status.get("rollout") or {}).get("analysis")
    if run:
        failed = run.get("failed", 0) + run.get("inconclusive", 0) + run.get("errors", 0)
        yield _Case(
            f"analysis, {run.get('measurements', 0)} measurements", not failed, run.get("message", "")
        )


def _junit(waiting: Waiting) -> str:
    """https://github.com/testmoapp/junitxml: what GitLab, Jenkins and GitHub's reporters read."""
    cases = list(_cases(waiting))
    failures = str(sum(not case.good for case in cases))
    seconds = f"{waiting.seconds:.3f}"
    suite = ET.Element(
        "testsuite",
        name=f"{waiting.kind} {waiting.namespace}/{waiting.name}",
        tests=str(len(cases)),
        failures=failures,
        errors="0",
        time=seconds,
    )
    for number, case in enumerate(cases):
        classname = f"{waiting.kind}.{waiting.namespace}.{waiting.name}"
        time = seconds if number == 0 else "0"
        element = ET.SubElement(suite, "testcase", classname=classname, name=case.name, time=time)
        if not case.good:
            kind = waiting.result if number == 0 else "Failed"
            ET.SubElement(element, "failure", message=_plain(case.message), type=kind)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(suite, encoding="unicode") + "\n"


def _plain(text: str) -> str:
    """Without the characters that XML 1.0 can't hold."""
    return "".join(each if each.isprintable() else " " for each in text)


def _markdown(waiting: Waiting) -> str:
    status = waiting.manifest.get("status") or {}
    revision = status.get("revision") or {}
    lines = [
        f"### {waiting.kind} {waiting.namespace}/{waiting.name}: {waiting.result}",
        "",
        f"{_cell(waiting.waited.message)} ({waiting.seconds:.0f} s)",
        "",
    ]
    if revision.get("active"):
        preview = f", under way `{revision['preview']}`" if revision.get("preview") else ""
        lines += [f"Serving revision `{revision['active']}`{preview}.", ""]
    lines += ["| what | | why |", "| --- | --- | --- |"]
    lines += [
        f"| {_cell(case.name)} | {'ok' if case.good else '**failed**'} | {_cell(case.message)} |"
        for case in _cases(waiting)
    ]
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;")
    return " ".join(escaped.split())
