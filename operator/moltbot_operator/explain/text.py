"""An explanation for people, made of its document."""

import json
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

__all__ = ["table", "text"]

Json = dict[str, Any]


def text(found: Json) -> str:
    """Lines, without one at the end."""
    return "\n".join(_lines(found))


def table(rows: Sequence[Sequence[str]], indent: str = "  ") -> Iterator[str]:
    """Cells in columns."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))] if rows else []
    for row in rows:
        yield (
            indent + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        ).rstrip()


def _lines(found: Json) -> Iterator[str]:
    request = found["request"]
    told = [f"{request['method']} {request['path']}"]
    told += [f"model {request['model']}"] if request["model"] is not None else []
    told += [f"consumer {request['consumer']}"] if request["consumer"] is not None else []
    yield f"{', '.join(told)}; route {found['route']}"
    if found["task"] is not None:
        yield f"task {found['task']['kind']} (by {found['task']['reason']})"
    yield ""
    for each in found["passed"]:
        for number, because in enumerate(each["because"]):
            where = f"matches[{number}]: " if len(each["because"]) > 1 else ""
            yield f"  not {each['rule']}: {where}{because}"
    if found["rule"] is not None:
        where = "" if found["match"] is None else f" (matches[{found['match']}])"
        yield f"rule {found['rule']} takes it: {found['because']}{where}"
    if found["problem"] is not None and found["answered"] is None:
        yield f"  not as written: {found['problem']}"
    if found["answered"] is not None:
        yield _answered(found["answered"])
        return
    if found["worker"] is not None:
        yield from _worker(found["worker"])
    yield ""
    yield from _candidates(found)
    yield ""
    yield from _failures(found)
    yield ""
    yield from _backends(found)
    limit = found["consumerLimit"]
    if limit is not None:
        yield ""
        rate, burst = limit["requestsPerSecond"], limit["burst"]
        yield f"the consumer may send {rate} requests a second to each pod, {burst} at once"


def _answered(answered: Json) -> str:
    code = f" {answered['code']}" if answered["code"] else ""
    return f"the gateway itself answers {answered['status']}{code}: {answered['message']}"


def _worker(worker: Json) -> Iterator[str]:
    asked = [f"{name} {json.dumps(value)}" for name, value in sorted(worker["asked"].items())]
    asked += [f"translation from {api}'s API" for api in worker["translatesFrom"]]
    yield f"  through a worker, if one is up: {', '.join(asked)}"
    if worker["translatesFrom"]:
        yield "  (which asks each backend once, where they speak different APIs)"


def _candidates(found: Json) -> Iterator[str]:
    yield "goes first to" if len(found["candidates"]) == 1 else "goes first to one of"
    rows = []
    for each in found["candidates"]:
        chance = "by latency" if each["chance"] is None else f"{each['chance'] * 100:.4g} %"
        further = " → ".join(_counted(each["attempts"][1:])) or "nobody"
        rows.append((each["backend"], chance, f"then {further}"))
        if each["answered"] is not None:
            rows[-1] = (each["backend"], chance, _answered(each["answered"]))
    yield from table(rows)


def _counted(names: Sequence[str]) -> list[str]:
    """Repeated neighbours with their number."""
    counted = [(name, len(list(each))) for name, each in groupby(names)]
    return [name if count == 1 else f"{name} ({count} times)" for name, count in counted]


def _failures(found: Json) -> Iterator[str]:
    failover, first = found["failover"], found["candidates"][0]
    conditions, pause = ", ".join(failover["retryOn"]) or "nothing", failover["backoff"]
    yield (
        f"when {first['backend']} or all fail (maxRetries {failover['maxRetries']}, retryOn {conditions}, "
        f"backoff {pause['base']} to {pause['max']})"
    )
    rows = [("fault", f"at {first['backend']}", "at all")]
    rows += [(each["fault"], _came(each["atFirst"]), _came(each["atAll"])) for each in first["failures"]]
    yield from table(rows)


def _came(course: Json) -> str:
    return f"{course['status']}: {' → '.join(_counted(course['tries']))}"


def _backends(found: Json) -> Iterator[str]:
    yield "backends"
    rows = []
    for each in found["backends"]:
        credential = each["credential"]
        sent = "no credential"
        if credential is not None:
            kind, secret, header = (credential[name] for name in ("kind", "secret", "header"))
            sent = f"{kind} of Secret {secret} ({credential['key']}) in {header}"
        rows.append((each["name"], each["url"], f"model {each['model'] or 'as the client wrote'}", sent))
    yield from table(rows)
    more = []
    for each in found["backends"]:
        times = each["timeouts"]
        told = [f"connect {times['connect']}, first byte {times['firstByte']}, silence {times['idle']}"]
        told += [f"{name} {value}" for name, value in each["limits"].items() if value is not None]
        if breaker := each["circuitBreaker"]:
            told.append(f"left out for {breaker['ejectionTime']} at {breaker['errorRatePercent']} % errors")
        more.append((each["name"], "; ".join(told)))
    yield from table(more)
