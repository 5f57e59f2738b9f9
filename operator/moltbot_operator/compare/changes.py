"""Differences between two gateways of a route, in words of behaviour."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from moltbot_operator.api import format_duration
from moltbot_operator.compare.backends import backend_facts
from moltbot_operator.compile.features import FIELDS, NOTHING, told
from moltbot_operator.compile.ir import Choice, Gateway, PlannedRule
from moltbot_operator.compile.shadows import shadows
from moltbot_operator.explain.matching import wants

__all__ = ["Change", "changes", "shown_chances"]


@dataclass(frozen=True)
class Change:
    """One difference: of a rule, backend, consumer or the route, in which respect, from what to what."""

    of: str
    name: str
    respect: str
    before: str | None
    after: str | None


def changes(before: Gateway | None, after: Gateway | None) -> list[Change]:
    """All differences, rules first; a gateway that is None is not there at all."""
    if before is None or after is None:
        name = str((after or before or _nothing()).route)
        return [Change("route", name, "presence", _presence(before), _presence(after))]
    return [
        *_rules(before, after),
        *_backends(before, after),
        *_consumers(before, after),
        *_route(before, after),
    ]


def _nothing() -> Any:
    raise ValueError("at least one of the gateways must be there")


def _presence(gateway: Gateway | None) -> str | None:
    return None if gateway is None else f"{len(gateway.rules)} rules"


def _rules(before: Gateway, after: Gateway) -> Iterator[Change]:
    old, new = ({rule.name: rule for rule in gateway.rules} for gateway in (before, after))
    silent, silenced = _silent(before), _silent(after)
    for name in dict.fromkeys([*old, *new]):
        if name in old and name in new:
            facts = _rule_facts(old[name], silent), _rule_facts(new[name], silenced)
            found = list(_different("rule", name, *facts))
            shown = any(each.respect == "first attempts" for each in found)
            yield from (each for each in found if not (shown and each.respect == "weights"))
        elif name in old:
            yield Change("rule", name, "presence", _rule(old[name]), None)
        else:
            yield Change("rule", name, "presence", None, _rule(new[name]))
    kept = [[name for name in gateway if name in old and name in new] for gateway in (old, new)]
    if kept[0] != kept[1]:
        yield Change("route", after.route, "order of rules", ", ".join(kept[0]), ", ".join(kept[1]))


def _rule(rule: PlannedRule) -> str:
    return f"{_conditions(rule)}: {shown_chances(rule)}"


def _silent(gateway: Gateway) -> dict[str, str]:
    """Rules that no request reaches, and why."""
    found = shadows([(rule.name, rule.conditions) for rule in gateway.rules])
    return {shadow.rule: shadow.because for shadow in found}


def _rule_facts(rule: PlannedRule, silent: Mapping[str, str]) -> dict[str, str]:
    retry = rule.retry
    return {
        "matches": _conditions(rule),
        "reached": f"never: {silent[rule.name]}" if rule.name in silent else "yes",
        "serves": "yes"
        if rule.choices
        else f"no, 503: {rule.problem.message if rule.problem else 'no backend'}",
        "first attempts": shown_chances(rule),
        "weights": ", ".join(f"{each.chain.first.label} {each.weight}" for each in rule.choices),
        "further attempts": _further(rule),
        "retries": str(retry.retries),
        "retryOn": ", ".join(sorted(retry.on)) or "nothing",
        "backoff": f"{format_duration(retry.base)} to {format_duration(retry.maximum)}",
        "perTryTimeout": "the backend's firstByte"
        if retry.per_try is None
        else format_duration(retry.per_try),
        "consumers": "everybody" if rule.consumers is None else ", ".join(rule.consumers) or "nobody",
        "models": ", ".join(rule.models) or "none",
        **_worker_facts(rule),
    }


def _worker_facts(rule: PlannedRule) -> dict[str, str]:
    hop = None if rule.worked is None else rule.worked.hop
    asked = told(NOTHING if hop is None else hop.features)
    return {name: asked.get(name, "no") for name in FIELDS} | {
        "translation": ", ".join(f"for clients of {api}" for api in sorted(hop.native if hop else ())) or "no"
    }


def _conditions(rule: PlannedRule) -> str:
    return "; or ".join(map(wants, rule.conditions)) or "nothing"


def shown_chances(rule: PlannedRule) -> str:
    """First attempts by backend."""
    if not rule.choices:
        return "nobody"
    total = sum(choice.weight for choice in rule.choices)
    shown = [
        choice.chain.first.label
        if len(rule.choices) == 1
        else f"{choice.chain.first.label} {_percent(Fraction(choice.weight, total))}"
        for choice in rule.choices
    ]
    return ", ".join(shown) + (" (by latency, weighted)" if rule.by_latency else "")


def _percent(share: Fraction) -> str:
    return f"{float(share) * 100:.4g} %"


def _further(rule: PlannedRule) -> str:
    """Who is asked after the first."""
    return "; ".join(map(_order, rule.choices)) or "none"


def _order(choice: Choice) -> str:
    first, *others = choice.chain.backends
    then = ", ".join(each.label for each in others) or "itself only"
    return f"{first.label}: {then} ({choice.chain.attempts} attempts)"


def _backends(before: Gateway, after: Gateway) -> Iterator[Change]:
    for label in sorted({*before.backends, *after.backends}):
        old, new = before.backends.get(label), after.backends.get(label)
        if old is None or new is None:
            yield Change("backend", label, "use", "used" if old else None, "used" if new else None)
        else:
            yield from _different("backend", label, backend_facts(old), backend_facts(new))


def _consumers(before: Gateway, after: Gateway) -> Iterator[Change]:
    old, new = _consumer_facts(before), _consumer_facts(after)
    for name in [*old, *(name for name in new if name not in old)]:
        if name not in old or name not in new:
            yield Change(
                "consumer",
                name,
                "presence",
                "may call" if name in old else None,
                "may call" if name in new else None,
            )
        else:
            yield from _different("consumer", name, old[name], new[name])


def _consumer_facts(gateway: Gateway) -> dict[str, dict[str, str]]:
    facts = {
        each.name: {"known by": "a key" if each.token is None else _token(each.token)}
        for each in gateway.consumers
    }
    if gateway.anonymous is not None:
        facts[gateway.anonymous] = {"known by": "nothing: every client"}
    for name, known in facts.items():
        limit = gateway.limits.get(name)
        known["limit"] = "none" if limit is None else f"{limit.rate} a second, {limit.burst} at once"
        rules = [rule.name for rule in gateway.rules if rule.consumers is None or name in rule.consumers]
        known["may use rules"] = ", ".join(rules) or "none"
    return facts


def _token(token: Any) -> str:
    claims = ", ".join(f"{name}={value}" for name, value in token.claims)
    audiences = " or ".join(token.audiences) or "anyone"
    keys = token.issuer.url or "/".join(token.issuer.config_map or ("nowhere",))
    return f"a token of {token.issuer.iss} (keys: {keys}) for {audiences}" + (
        f" with {claims}" if claims else ""
    )


def _route(before: Gateway, after: Gateway) -> Iterator[Change]:
    yield from _different("route", after.route, _route_facts(before), _route_facts(after))


def _route_facts(gateway: Gateway) -> dict[str, str]:
    audit, tasks = gateway.audit, gateway.task_models or {}
    where = f"{audit.destination}" + (f" {audit.otlp.url}" if audit.otlp else "")
    return {
        "audit": f"to {where}",
        "audit fields": ", ".join(audit.fields) or "as usual",
        "audit redaction": ", ".join(audit.redact) or "none",
        "models that tell the task": ", ".join(f"{name} {task}" for name, task in tasks.items()) or "none",
    }


def _different(of: str, name: str, old: Mapping[str, str], new: Mapping[str, str]) -> Iterator[Change]:
    for respect, value in old.items():
        if new[respect] != value:
            yield Change(of, name, respect, value, new[respect])
