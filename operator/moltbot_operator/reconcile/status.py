"""The status of both resources as JSON, and the patch that makes it so (pure)."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from moltbot_operator.api import Gateway
from moltbot_operator.compile.result import BackendReport, RuleReport
from moltbot_operator.compile.sources import BackendRef
from moltbot_operator.conditions.merge import sentence
from moltbot_operator.rollout import Plan, progress_status

__all__ = ["address", "backend_items", "patch", "revision_status", "rollout_status", "rule_items"]

MAX_REASON: Final = 1000
"""Characters of a rule's or backend's reason; a route may have a thousand of them, and an object 1.5 MiB."""


def patch(live: Mapping[str, Any], desired: Mapping[str, Any]) -> dict[str, Any]:
    """JSON merge patch (RFC 7386) from `live` to `desired`; empty if there is nothing to change.

    Members that `desired` does not speak of stay as they are; a member that is None in `desired` is removed.
    """
    changed: dict[str, Any] = {}
    for key, value in desired.items():
        before = live.get(key)
        if value == before:
            continue
        if isinstance(value, Mapping) and isinstance(before, Mapping):
            removed = {name: None for name in before if name not in value}
            if inner := patch(before, {**removed, **value}):
                changed[key] = inner
        else:
            changed[key] = value
    return changed


def address(namespace: str, name: str, gateway: Gateway) -> str:
    """Where clients inside the cluster reach the route."""
    scheme, usual = ("http", 80) if gateway.tls is None else ("https", 443)
    port = "" if gateway.service.port == usual else f":{gateway.service.port}"
    return f"{scheme}://{name}.{namespace}.svc{port}"


def rule_items(reports: Sequence[RuleReport]) -> list[dict[str, Any]]:
    """`status.rules`."""
    return [
        {
            "name": report.name,
            "accepted": report.problem is None,
            "reason": _short(report.problem.message if report.problem else ""),
        }
        for report in reports
    ]


def backend_items(reports: Sequence[BackendReport], namespace: str) -> list[dict[str, Any]]:
    """`status.backends`, named as the route names them."""
    return [
        {
            "name": _name(report.ref, namespace),
            "ready": report.problem is None,
            "weight": report.weight,
            "reason": _short(report.problem.message if report.problem else ""),
        }
        for report in reports
    ]


def revision_status(plan: Plan, active: str | None) -> dict[str, Any]:
    """`status.revision`; `active`: what serves, now that the plan's actions were tried."""
    found: dict[str, Any] = {"stable": list(plan.state.history)}
    if active:
        found["active"] = active
    if plan.preview:
        found["preview"] = plan.preview
    return found


def rollout_status(plan: Plan) -> dict[str, Any]:
    """`status.rollout`: what the machine remembers, and what it says to people."""
    return progress_status(plan.state, " ".join(map(sentence, filter(None, (plan.waiting, *plan.remarks)))))


def _name(ref: BackendRef, namespace: str) -> str:
    return ref.name if ref.namespace == namespace else str(ref)


def _short(text: str) -> str:
    return text if len(text) <= MAX_REASON else text[: MAX_REASON - 1] + "…"
