"""The fault matrix: cells of fault_matrix.toml, the rule that they are tried on, and what came of them."""

import hashlib
import itertools
import json
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["BACKEND", "FAULTS", "RULE", "Cell", "cells", "found"]

FAULTS: list[dict[str, Any]] = tomllib.loads(Path(__file__).with_name("fault_matrix.toml").read_text())[
    "fault"
]

RULE = {
    "name": "matrix",
    "candidates": [{"backend": "first", "weight": 1}],
    "fallback": ["second"],
    "failover": {
        "maxRetries": 2,
        "perTryTimeout": "2s",
        "backoff": {"base": "1ms", "max": "1s"},
        "retryOn": ["ConnectFailure", "Reset", "PerTryTimeout", "5xx", "429", "401", "403"],
    },
}
"""One rule for all cells; the backends' `timeouts` are those of BACKEND."""

BACKEND = {"timeouts": {"idle": "2s"}}


@dataclass(frozen=True)
class Cell:
    """One fault, in one form of request, at one or at both backends."""

    fault: str
    inject: dict[str, Any]
    stream: bool
    everywhere: bool
    wanted: dict[str, Any]

    @property
    def id(self) -> str:
        """What it is, in words."""
        form = "stream" if self.stream else "plain"
        return f"{self.fault}, {form}, {'all' if self.everywhere else 'first'}"

    @property
    def request_id(self) -> str:
        """By which its audit record is found. Envoy changes a digit of what is as long as a UUID."""
        return f"matrix {hashlib.sha256(self.id.encode()).hexdigest()}"

    @property
    def job(self) -> dict[str, Any]:
        """What in_pod.py needs to know."""
        return {
            "id": self.request_id,
            "stream": self.stream,
            "faults": {"first": self.inject, "second": self.inject if self.everywhere else None},
        }

    @property
    def outcome(self) -> dict[str, Any]:
        """What must come of it, in the form of :func:`found`."""
        end = self.wanted.get("end", "whole")
        return {
            "status": self.wanted["status"],
            "end": end if isinstance(end, str) else end[self.stream],
            "asked": self.wanted["asked"],
            "retry-after": self.wanted.get("retry_after"),
            "attempts": len(self.wanted["tries"]),
            "backend": self.wanted["tries"][-1].split()[0],
            "record": {
                "status": self.wanted["status"],
                "flags": self.wanted.get("flags", "-"),
                "attempts": len(self.wanted["tries"]),
                "backend": self.wanted["tries"][-1].split()[0],
                "rule": RULE["name"],
                "consumer": "anyone",
                "tries": self.wanted["tries"],
            },
        }


def cells() -> list[Cell]:
    """Every cell."""
    return [
        Cell(fault["name"], fault["inject"], stream, everywhere, fault["all" if everywhere else "first"])
        for fault, everywhere, stream in itertools.product(FAULTS, (False, True), (False, True))
    ]


def found(cell: Cell, result: dict[str, Any], record: dict[str, Any]) -> dict[str, Any]:
    """What came of a cell: `result` as in_pod.py saw it, and its audit record."""
    headers = {key.lower(): value for key, value in result["headers"].items()}
    tries = [f"{each['backend']} {each['status']} {each['flags']}" for each in record["tries"]]
    kept = ("status", "flags", "attempts", "backend", "rule", "consumer")
    return {
        "status": result["status"],
        "end": _end(result, cell),
        "asked": [result["asked"]["first"], result["asked"]["second"]],
        "retry-after": headers.get("retry-after") if result["status"] == 429 else None,
        "attempts": int(headers["x-moltbot-attempts"]),
        "backend": headers["x-moltbot-backend"],
        "record": {**{name: record[name] for name in kept}, "tries": tries},
    }


def _end(result: dict[str, Any], cell: Cell) -> str:
    if result["cut"]:
        return "cut"
    if not result["headers"].get("content-type", "").startswith("text/event-stream"):
        return "whole" if _is_json(result["text"]) else "no JSON"
    assert cell.stream
    events = [
        line.removeprefix("data: ") for line in result["text"].splitlines() if line.startswith("data: ")
    ]
    if not events or events[-1] != "[DONE]":
        return "no [DONE]"
    return "whole" if all(_is_json(event) for event in events[:-1]) else "no JSON"


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True
