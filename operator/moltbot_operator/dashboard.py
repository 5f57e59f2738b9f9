"""The Grafana dashboard of gateways and operator, made of one table of panels.

Source of the format: https://grafana.com/docs/grafana/latest/dashboards/build-dashboards/view-dashboard-json-model/
"""

from dataclasses import dataclass
from typing import Any, Final

__all__ = ["EXPRESSIONS", "dashboard"]

Json = dict[str, Any]

_SOURCE: Final = {"type": "prometheus", "uid": "${source}"}
_WIDTH: Final = 24
"""Columns of Grafana's grid."""

_HEIGHT: Final = 8


@dataclass(frozen=True)
class _Panel:
    title: str
    help: str
    queries: tuple[tuple[str, str], ...]
    """Expression and legend of each line."""
    unit: str = "short"


_HERE: Final = 'route=~"$route"'
_RATE: Final = "[$__rate_interval]"


def _quantiles(metric: str, by: str) -> tuple[tuple[str, str], ...]:
    return tuple(
        (
            f"histogram_quantile({quantile}, sum by (le, {by}) (rate({metric}_bucket{{{_HERE}}}{_RATE})))",
            f"p{int(quantile * 100)} {{{{{by}}}}}",
        )
        for quantile in (0.5, 0.95)
    )


def _rate(metric: str, by: str, legend: str = "") -> tuple[tuple[str, str], ...]:
    shown = legend or " ".join(f"{{{{{label.strip()}}}}}" for label in by.split(","))
    return ((f"sum by ({by}) (rate({metric}{{{_HERE}}}{_RATE}))", shown),)


def _gauge(metric: str, by: str) -> tuple[tuple[str, str], ...]:
    return ((f"sum by ({by}) ({metric}{{{_HERE}}})", f"{{{{{by}}}}}"),)


_ROWS: Final[tuple[tuple[str, tuple[_Panel, ...]], ...]] = (
    (
        "What clients get",
        (
            _Panel("Answers", "By class of status.", _rate("moltbot_requests_total", "route, code"), "reqps"),
            _Panel(
                "Time of a call",
                "From request to the end of the answer, failed ones too.",
                _quantiles("gen_ai_server_request_duration_seconds", "route"),
                "s",
            ),
            _Panel("Requests under way", "", _gauge("moltbot_requests_in_flight", "route")),
            _Panel(
                "Answers to consumers",
                "The empty consumer is nobody's key; code none: the client left.",
                _rate("moltbot_consumer_requests_total", "consumer, code"),
                "reqps",
            ),
            _Panel(
                "Time to the first token",
                "Of a good answer, from the attempt that gave it.",
                _quantiles("gen_ai_server_time_to_first_token_seconds", "backend"),
                "s",
            ),
            _Panel(
                "Tokens",
                "Where the gateway reads them (docs/audit.md).",
                _rate("gen_ai_client_token_usage_sum", "backend, gen_ai_token_type"),
            ),
        ),
    ),
    (
        "Backends",
        (
            _Panel(
                "RequestSuccessRate",
                "Attempts answered well, of those of the last 5 minutes.",
                ((f"avg by (backend) (moltbot_request_success_ratio{{{_HERE}}})", "{{backend}}"),),
                "percentunit",
            ),
            _Panel(
                "ModelLoadLatency",
                "From an attempt sent to the first byte of its answer.",
                _quantiles("moltbot_model_load_latency_seconds", "backend"),
                "s",
            ),
            _Panel(
                "ConcurrentConnections",
                "",
                _gauge("moltbot_concurrent_connections", "backend"),
            ),
            _Panel(
                "Attempts",
                "By class of the backend's status; none: without an answer.",
                _rate("moltbot_attempts_total", "backend, code"),
                "reqps",
            ),
            _Panel(
                "Further attempts",
                "Attempts after a request's first: the price of failover.",
                _rate("moltbot_retries_total", "route"),
                "reqps",
            ),
            _Panel(
                "Trouble",
                "Open circuits; connections that failed; attempts refused at a limit.",
                (
                    (f"sum by (backend) (moltbot_backend_ejected{{{_HERE}}})", "ejected {{backend}}"),
                    *_rate("moltbot_backend_connect_failures_total", "backend", "no connection {{backend}}"),
                    *_rate("moltbot_backend_overflows_total", "backend", "full {{backend}}"),
                ),
            ),
            _Panel("Attempts in flight", "", _gauge("moltbot_concurrent_requests", "backend")),
            _Panel("Attempts that wait", "For a connection.", _gauge("moltbot_pending_requests", "backend")),
        ),
    ),
    (
        "Credentials and agents",
        (
            _Panel(
                "Credentials present",
                "0: Envoy has none to send.",
                ((f"min by (backend) (moltbot_agent_credential_present{{{_HERE}}})", "{{backend}}"),),
            ),
            _Panel(
                "Tokens expire in",
                "Of OAuth2 and signed tokens.",
                ((f"min by (backend) (moltbot_agent_credential_expiry_seconds{{{_HERE}}})", "{{backend}}"),),
                "s",
            ),
            _Panel(
                "Agents with a problem",
                "Problems in evidence, and Envoys that do not answer.",
                (
                    (f"sum by (route) (moltbot_agent_problems{{{_HERE}}})", "problems {{route}}"),
                    (f"count by (route) (moltbot_agent_envoy_up{{{_HERE}}} == 0)", "Envoy silent {{route}}"),
                ),
            ),
        ),
    ),
    (
        "Operator",
        (
            _Panel(
                "Reconciliations",
                "success, error (tried again), crash (a defect).",
                ((f"sum by (kind, outcome) (rate(moltbot_reconcile_total{_RATE}))", "{{kind}} {{outcome}}"),),
                "ops",
            ),
            _Panel(
                "Backlog and leader",
                "",
                (("sum(moltbot_queue_depth)", "keys that wait"), ("sum(moltbot_leader)", "leaders")),
            ),
            _Panel(
                "Objectives",
                "1: met, 0: not met.",
                (("max by (backend) (moltbot_backend_objectives_met)", "{{backend}}"),),
            ),
        ),
    ),
)

EXPRESSIONS: Final = tuple(query for _, panels in _ROWS for panel in panels for query, _ in panel.queries)
"""Every expression, for tests."""


def dashboard(title: str = "MoltBot") -> Json:
    """The dashboard; its data source and routes are chosen in it."""
    panels: list[Json] = []
    top = 0
    for name, listed in _ROWS:
        panels.append(
            {"type": "row", "title": name, "gridPos": {"x": 0, "y": top, "w": _WIDTH, "h": 1}, "panels": []}
        )
        top += 1
        for number, panel in enumerate(listed):
            column = number % 3
            grid = {"x": column * 8, "y": top + number // 3 * _HEIGHT, "w": 8, "h": _HEIGHT}
            panels.append(_panel(panel, grid))
        top += (len(listed) + 2) // 3 * _HEIGHT
    for number, each in enumerate(panels, 1):
        each["id"] = number
    return {
        "uid": "moltbot",
        "title": title,
        "tags": ["moltbot"],
        "schemaVersion": 39,
        "timezone": "browser",
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {"list": [_data_source(), _routes()]},
        "panels": panels,
    }


def _panel(panel: _Panel, grid: Json) -> Json:
    return {
        "type": "timeseries",
        "title": panel.title,
        "description": panel.help,
        "datasource": _SOURCE,
        "gridPos": grid,
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "options": {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi"}},
        "targets": [
            {"refId": chr(65 + number), "datasource": _SOURCE, "expr": query, "legendFormat": legend}
            for number, (query, legend) in enumerate(panel.queries)
        ],
    }


def _data_source() -> Json:
    return {"name": "source", "type": "datasource", "query": "prometheus", "label": "Data source"}


def _routes() -> Json:
    return {
        "name": "route",
        "type": "query",
        "label": "Route",
        "datasource": _SOURCE,
        "query": {"query": "label_values(moltbot_requests_total, route)", "refId": "routes"},
        "refresh": 2,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"text": "All", "value": "$__all"},
    }
