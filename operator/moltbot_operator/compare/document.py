"""A comparison as a document, and for people."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

from moltbot_operator.compare.changes import Change, changes
from moltbot_operator.compare.requests import Moved, Outcome, moved
from moltbot_operator.compare.samples import samples
from moltbot_operator.compile.ir import Gateway

__all__ = ["compare", "text"]

Json = dict[str, Any]


def compare(
    before: Gateway | None,
    after: Gateway | None,
    revisions: tuple[str | None, str | None],
    settings: Sequence[Change] = (),
) -> Json:
    """Everything that differs for one route; `settings` are differences that no request sees.

    `changed` is whether anything does.
    """
    found = [*changes(before, after), *settings]
    if not found and None not in revisions and revisions[0] != revisions[1]:
        found = [Change("route", str(after and after.route), "configuration", "as it was", "other details")]
    groups: list[Moved] = []
    tried = 0
    if before is not None and after is not None:
        groups, tried = moved(before, after, samples((before, after)))
    some = after or before
    return {
        "route": None if some is None else f"{some.namespace}/{some.route}",
        "changed": bool(found) or revisions[0] != revisions[1],
        "revision": {"before": revisions[0], "after": revisions[1]},
        "changes": [
            {
                "of": each.of,
                "name": each.name,
                "respect": each.respect,
                "before": each.before,
                "after": each.after,
            }
            for each in found
        ],
        "requests": [_moved(each) for each in groups],
        "requestsTried": tried,
    }


def _moved(group: Moved) -> Json:
    request = group.example
    return {
        "example": {
            "method": request.method,
            "path": request.path,
            "headers": dict(request.headers),
            "model": json.loads(request.body).get("model") if request.body else None,
            "consumer": request.consumer,
        },
        "alike": group.count,
        "before": _outcome(group.before),
        "after": _outcome(group.after),
    }


def _outcome(found: Outcome | None) -> Json | None:
    if found is None:
        return None
    answered = found.answered
    return {
        "rule": found.rule,
        "answered": None if answered is None else {"status": answered.status, "code": answered.code},
        "attempts": [
            {"chance": None if chance is None else round(float(chance), 6), "backends": list(backends)}
            for chance, backends in found.shares
        ],
    }


def text(found: Json) -> str:
    """Lines, without one at the end."""
    return "\n".join(_lines(found))


def _lines(found: Json) -> Iterator[str]:
    yield f"route {found['route']}"
    if not found["changed"]:
        yield "  nothing changes"
        return
    before, after = found["revision"]["before"], found["revision"]["after"]
    if before == after:
        yield f"  revision {after} stays: no gateway pod is replaced"
    elif before is None:
        yield f"  revision {after} is new: gateway pods start"
    elif after is None:
        yield f"  revision {before} ends: its gateway pods drain and go"
    else:
        yield f"  revision {before} → {after}: new gateway pods start beside the active ones and take over"
        yield "  when they are ready; the old ones drain, nothing is restarted in place"
    for each in found["changes"]:
        yield _change(each)
    groups = found["requests"]
    if not groups:
        if found["requestsTried"]:
            yield f"  none of {found['requestsTried']} example requests goes elsewhere"
        return
    alike = sum(each["alike"] for each in groups)
    yield f"  requests that go elsewhere, {alike} of {found['requestsTried']} examples:"
    for each in groups:
        yield f"    {_example(each)}"
        yield f"      before  {_told(each['before'])}"
        yield f"      after   {_told(each['after'])}"


def _change(change: Json) -> str:
    at = f"{change['of']} {change['name']}"
    if change["before"] is None:
        return f"  + {at}: {change['after']}"
    if change["after"] is None:
        return f"  - {at}: {change['before']}"
    return f"  ~ {at}: {change['respect']}: {change['before']} → {change['after']}"


def _example(group: Json) -> str:
    request = group["example"]
    told = [f"{request['method']} {request['path']}"]
    told += [f"{name}: {value}" for name, value in request["headers"].items()]
    told += [f"model {request['model']}"] if request["model"] else []
    told += [f"consumer {request['consumer']}"] if request["consumer"] else []
    more = f" (and {group['alike'] - 1} more)" if group["alike"] > 1 else ""
    return ", ".join(told) + more


def _told(outcome: Json | None) -> str:
    if outcome is None:
        return "there is no such consumer"
    rule = f"rule {outcome['rule']}: " if outcome["rule"] else ""
    if outcome["answered"] is not None:
        code = f" {outcome['answered']['code']}" if outcome["answered"]["code"] else ""
        return f"{rule}the gateway answers {outcome['answered']['status']}{code}"
    return rule + "; ".join(map(_way, outcome["attempts"]))


def _way(way: Json) -> str:
    chance = "by latency" if way["chance"] is None else f"{way['chance'] * 100:.4g} %"
    return f"{chance} {' → '.join(way['backends'])}"
