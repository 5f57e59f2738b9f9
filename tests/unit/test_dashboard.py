"""The Grafana dashboard: the chart ships what the command writes, and every metric in it exists."""

import json
import re
from pathlib import Path

from moltbot_operator.dashboard import EXPRESSIONS, dashboard

NAME = re.compile(r"\b((?:moltbot|gen_ai)_[a-z0-9_]+?)(?:_bucket|_sum|_count|_total)?(?=[{\[) ]|$)")
CHART = Path("charts/moltbot-operator/files/dashboard.json")
SOURCES = ("operator/moltbot_agent", "operator/moltbot_operator/telemetry")


def named():
    return {name for expression in EXPRESSIONS for name in NAME.findall(expression)}


def test_the_chart_ships_it():
    assert json.loads(CHART.read_text()) == dashboard(), "moltbot dashboard -o " + str(CHART)


def test_every_metric_in_it_is_exported():
    written = "\n".join(file.read_text() for folder in SOURCES for file in Path(folder).rglob("*.py"))
    exported = set(re.findall(r'"((?:moltbot|gen_ai)_[a-z0-9_]+?)(?:_total)?"', written))
    assert len(named()) > 20
    assert named() <= exported


def test_panels_have_places_of_their_own():
    panels = dashboard()["panels"]
    places = [(each["gridPos"]["x"], each["gridPos"]["y"]) for each in panels]
    assert len(set(places)) == len(panels)
    assert len({each["id"] for each in panels}) == len(panels)
    assert all(each["targets"] for each in panels if each["type"] != "row")


def test_the_command_prints_or_writes(tmp_path):
    from typer.testing import CliRunner

    from moltbot_operator.cli import app

    printed = CliRunner().invoke(app, ["dashboard", "--title", "Ours"])
    assert json.loads(printed.output)["title"] == "Ours"
    written = CliRunner().invoke(app, ["dashboard", "-o", str(tmp_path / "d.json")])
    assert written.exit_code == 0
    assert json.loads((tmp_path / "d.json").read_text()) == dashboard()
    assert CliRunner().invoke(app, ["dashboard", "-o", str(tmp_path)]).exit_code == 1
