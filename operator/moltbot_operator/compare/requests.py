"""Which requests go elsewhere, shown by examples."""

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction

from moltbot_operator.compile.ir import Gateway
from moltbot_operator.errors import InvalidInput
from moltbot_operator.explain import Answered, Request, explain

__all__ = ["Moved", "Outcome", "moved", "outcome"]


@dataclass(frozen=True)
class Outcome:
    """What becomes of a request: an answer of the gateway's own, or a rule with its orders of attempts."""

    rule: str | None
    answered: Answered | None
    shares: tuple[tuple[Fraction | None, tuple[str, ...]], ...] = ()
    """Chance (None: by latency) and backends in the order of attempts."""


@dataclass(frozen=True)
class Moved:
    """Requests that go elsewhere, the first of them as an example. None: that consumer is not there."""

    example: Request
    count: int
    before: Outcome | None
    after: Outcome | None


def outcome(gateway: Gateway, request: Request) -> Outcome | None:
    """What becomes of a request; None if its consumer is unknown here."""
    try:
        found = explain(gateway, request)
    except InvalidInput:
        return None
    shares = [
        (each.chance, tuple(backend.label for backend in each.choice.chain.backends))
        for each in found.options
        if each.refused is None
    ]
    rule = None if found.rule is None else found.rule.name
    return Outcome(rule, found.answered, () if found.answered else tuple(shares))


def moved(before: Gateway, after: Gateway, requests: Iterable[Request]) -> tuple[list[Moved], int]:
    """Groups of requests whose outcome differs, in the order of their examples; and how many were tried."""
    groups: dict[tuple[Outcome | None, Outcome | None], list[Request]] = {}
    tried = 0
    for request in requests:
        tried += 1
        pair = outcome(before, request), outcome(after, request)
        if pair[0] != pair[1]:
            groups.setdefault(pair, []).append(request)
    return [Moved(each[0], len(each), *pair) for pair, each in groups.items()], tried
