"""How `moltbot rollout status` shows a rollout (pure): tables for people, and a document for programs."""

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from moltbot_operator.api.duration import format_duration

__all__ = ["document", "history", "view"]

_STYLES: Final = {
    "Stable": "green",
    "Preparing": "cyan",
    "Testing": "cyan",
    "Promoting": "cyan",
    "Verifying": "cyan",
    "Paused": "yellow",
    "Aborting": "red",
    "Failed": "red",
}
_PHASES: Final = ("Preparing", "Testing", "Promoting", "Verifying", "Stable")
"""In the order in which a rollout that goes well passes them."""


def document(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """What `-o json` prints: names, generations, and the parts of status that speak of revisions."""
    meta, status = manifest["metadata"], manifest.get("status") or {}
    return {
        "namespace": meta["namespace"],
        "name": meta["name"],
        "generation": meta.get("generation"),
        "observedGeneration": status.get("observedGeneration"),
        "revision": status.get("revision") or {},
        "rollout": status.get("rollout") or {},
        "conditions": status.get("conditions") or [],
    }


def view(manifest: Mapping[str, Any], now: datetime) -> RenderableType:
    """A route's rollout as it stands."""
    meta, status = manifest["metadata"], manifest.get("status") or {}
    rollout, revision = status.get("rollout") or {}, status.get("revision") or {}
    phase = rollout.get("phase") or "Unknown"
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="bold")
    facts.add_column(overflow="fold")
    facts.add_row("Route", f"{meta['namespace']}/{meta['name']}")
    facts.add_row("Phase", _phase(phase, rollout))
    facts.add_row("Active", revision.get("active") or "none")
    if revision.get("preview"):
        facts.add_row("Under way", revision["preview"])
    for name, text in _more(rollout, now):
        facts.add_row(name, text)
    if status.get("observedGeneration") != meta.get("generation"):
        facts.add_row("Mind", Text("the operator has not looked at the present spec yet", "yellow"))
    parts: list[RenderableType] = [facts]
    if rollout.get("analysis"):
        parts.append(_analysis(rollout["analysis"]))
    parts.append(_conditions(status))
    return Group(*parts)


def _phase(phase: str, rollout: Mapping[str, Any]) -> Text:
    stage = f" ({rollout['stage']})" if rollout.get("stage") else ""
    text = Text(f"{phase}{stage}", _STYLES.get(phase, ""))
    if phase in _PHASES and phase != "Stable":
        text.append("   ")
        for each in _PHASES:
            text.append(f"{each} ", "bold cyan" if each == phase else "dim")
    return text


def _more(rollout: Mapping[str, Any], now: datetime) -> Iterator[tuple[str, RenderableType]]:
    phase = rollout.get("phase")
    if phase not in {None, "Stable", "Failed"}:
        if began := _time(rollout.get("startedAt")):
            yield "For", _age(now - began)
        if deadline := _time(rollout.get("deadline")):
            due = deadline - now
            yield "Deadline", f"in {_age(due)}" if due > timedelta(0) else "passed"
        if rollout.get("rollbackTo"):
            yield "Goes back to", str(rollout["rollbackTo"])
    if rollout.get("message"):
        yield "Says", str(rollout["message"])
    if failed := rollout.get("failed"):
        said = f"{failed['revision']}: {failed['reason']}: {failed.get('message', '')}"
        yield "Given up", Text(said, "red")
    for each in rollout.get("old") or []:
        until = _time(each.get("until"))
        left = f", goes in {_age(until - now)}" if until and until > now else ", goes"
        yield "Still runs", f"{each['revision']}{left}"


def _analysis(run: Mapping[str, Any]) -> Table:
    counts = ", ".join(f"{run.get(name, 0)} {name}" for name in ("failed", "inconclusive", "errors"))
    table = Table(
        title=f"Analysis: {run.get('measurements', 0)} measurements, {counts}", title_justify="left"
    )
    for column in ("Metric", "Value", "Active"):
        table.add_column(column)
    for metric in run.get("metrics") or []:
        table.add_row(metric["name"], _figure(metric.get("value")), _figure(metric.get("active")))
    return table


def _figure(text: str | None) -> str:
    return f"{float(text):.4g}" if text else "no data"


def _conditions(status: Mapping[str, Any]) -> Table:
    table = Table(title="Conditions", title_justify="left")
    table.add_column("Condition")
    table.add_column("")
    table.add_column("Reason")
    table.add_column("Message", overflow="fold")
    bad = {"Stalled", "Degraded", "RolloutPaused"}
    for each in status.get("conditions") or []:
        good = (each["status"] == "True") != (each["type"] in bad)
        style = "green" if good else "yellow" if each["status"] == "Unknown" else "red"
        shown = Text(each["status"], style)
        table.add_row(each["type"], shown, each.get("reason", ""), each.get("message", ""))
    return table


def history(manifest: Mapping[str, Any], kept: Mapping[str, Any]) -> Table:
    """Revisions that were stable, the present one first; `kept`: those whose spec `undo` can bring back."""
    revision = (manifest.get("status") or {}).get("revision") or {}
    rollout = (manifest.get("status") or {}).get("rollout") or {}
    runs = {each["revision"] for each in rollout.get("old") or []}
    table = Table("Revision", "", "Undo", box=None)
    if revision.get("active"):
        table.add_row(revision["active"], "serves", "")
    for name in revision.get("stable") or []:
        table.add_row(
            name, "still runs" if name in runs else "", "yes" if name in kept else "no spec is kept"
        )
    if failed := rollout.get("failed"):
        table.add_row(failed["revision"], f"given up: {failed['reason']}", "")
    return table


def _time(text: Any) -> datetime | None:
    return datetime.fromisoformat(str(text)) if text else None


def _age(span: timedelta) -> str:
    return format_duration(timedelta(seconds=max(0, int(span.total_seconds()))))
