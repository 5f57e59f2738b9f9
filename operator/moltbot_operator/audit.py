"""Reads the gateway's audit records back: each call with the attempts that it made (docs/audit.md).

A gateway writes a record for each failed attempt as it ends, and the call's when that ends. :func:`calls`
puts them together: `tries` of a call lists every attempt in order with its backend, status and flags.
"""

import json
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from typing import Any, Final

__all__ = ["Record", "calls"]

Record = dict[str, Any]
"""One line."""

_KEPT: Final = 100_000
"""Calls whose attempts are remembered until the call ends; more than one gateway has in flight."""

_OF_TRY: Final = ("backend", "status", "flags", "duration_ms")


def calls(lines: Iterable[str]) -> Iterator[Record]:
    """Each call as its record comes, with `tries`; lines that are no audit record are left out.

    Calls that share a request id by their client's will are told apart only if they do not overlap.
    """
    waiting: OrderedDict[str, list[Record]] = OrderedDict()
    for line in lines:
        record = _record(line)
        if record is None:
            continue
        request = record["request_id"]
        if record["record"] == "attempt":
            waiting.setdefault(request, []).append(record)
            if len(waiting) > _KEPT:
                waiting.popitem(last=False)
        else:
            yield {**record, **_stream(record), "tries": _tries(record, waiting.pop(request, []))}


def _record(line: str) -> Record | None:
    if not line.startswith("{"):
        return None
    try:
        record = json.loads(line)
    except ValueError:
        return None
    known = record.get("record") in {"call", "attempt"} and "request_id" in record
    return record if known else None


def _stream(call: Record) -> Record:
    """Whether the answer was one of events, where the record tells its content type."""
    kind = call.get("content_type")
    return {"stream": kind.lower().startswith("text/event-stream")} if isinstance(kind, str) else {}


def _tries(call: Record, failed: list[Record]) -> list[Record]:
    """Every attempt: the next one begins when one has failed and been written, and the last may go well."""
    tries = [{name: each.get(name) for name in _OF_TRY} for each in failed]
    made = call.get("attempts")
    if isinstance(made, int) and made > len(tries):
        tries.append({name: call.get(name) for name in _OF_TRY})
        if made > 1:
            tries[-1]["duration_ms"] = None  # the call's own is that of all attempts
    return tries
