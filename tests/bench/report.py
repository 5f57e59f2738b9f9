"""The convention of all benchmarks: interleaved repetitions, medians with their ranges, one table, one file.

`make bench-NAME` runs tests/bench/bench_NAME.py, which hands its samples to :func:`publish`. That prints a
table and writes build/bench/NAME.json: a list of flat records with `name` (the case), `metric`, `value` (the
median), `low`, `high`, `unit` and `versions`.
"""

import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "build" / "bench"

Figures = Mapping[str, tuple[float, str]]
"""Metric -> (value, unit)."""


@dataclass
class Samples:
    """Values measured, by (case, metric), in the order in which both first appeared."""

    values: dict[tuple[str, str], list[float]] = field(default_factory=dict)
    units: dict[str, str] = field(default_factory=dict)

    def add(self, case: str, metric: str, value: float, unit: str) -> None:
        self.values.setdefault((case, metric), []).append(value)
        self.units[metric] = unit


def interleaved(
    cases: Mapping[str, Callable[[], Mapping[str, tuple[float, str]]]], repetitions: int
) -> Samples:
    """Runs all cases, then all again …, so that a disturbance of the machine meets all of them alike."""
    samples = Samples()
    for repetition in range(repetitions):
        for case, run in cases.items():
            for metric, (value, unit) in run().items():
                samples.add(case, metric, value, unit)
        print(f"repetition {repetition + 1} of {repetitions} is done", flush=True)
    return samples


def versions(**more: str) -> dict[str, str]:
    """What the figures hold for."""
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.strip()
    return {
        "moltbot": importlib.metadata.version("moltbot-operator") + (f" ({commit})" if commit else ""),
        "python": platform.python_version(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        **more,
    }


def shown(value: float) -> str:
    """Three significant digits, without an exponent."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def publish(name: str, samples: Samples, notes: Sequence[str] = (), **more_versions: str) -> None:
    """Prints the table and writes the file."""
    stated = versions(**more_versions)
    records = []
    table = Table(title=f"bench-{name}: medians (lowest to highest)", title_justify="left")
    for column in ("case", "metric", "median", "range", "unit", "n"):
        table.add_column(column, justify="right" if column in ("median", "range", "n") else "left")
    before = ""
    for (case, metric), values in samples.values.items():
        value, low, high, unit = statistics.median(values), min(values), max(values), samples.units[metric]
        records.append(
            {"name": case, "metric": metric, "value": value, "low": low, "high": high, "unit": unit,
             "versions": stated}
        )  # fmt: skip
        if before and case != before:
            table.add_section()
        span = f"{shown(low)} to {shown(high)}" if len(values) > 1 else ""
        table.add_row("" if case == before else case, metric, shown(value), span, unit, str(len(values)))
        before = case
    FOLDER.mkdir(parents=True, exist_ok=True)
    path = FOLDER / f"{name}.json"
    path.write_text(json.dumps(records, indent=1) + "\n")
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=120)
    console.print(table)
    for note in (*notes, ", ".join(f"{key} {value}" for key, value in stated.items())):
        console.print(note, soft_wrap=True)
    console.print(f"written to {path.relative_to(ROOT)}")
