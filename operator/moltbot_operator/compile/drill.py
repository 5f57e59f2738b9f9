"""The fault drill: the chains of attempts with backends cut off, to see them fail over before users need it.

::

    rule tech: [pro 70, max 30] → code
        tech/pro   pro can't be connected to     max must serve
        tech/max   max can't be connected to     pro must serve
        tech       neither can be                code must serve

Only test requests reach these, and they are compiled only where `rollout.testing.faultDrill` asks for them:
each is a cluster of its own.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from moltbot_operator.compile.ir import Chain, Gateway, PlannedRule
from moltbot_operator.compile.tasks import AUTO

__all__ = ["DRILL_HEADER", "LIST", "Drill", "drills"]

DRILL_HEADER: Final = "x-moltbot-drill"
"""In test requests: the key of the drill to run; the answer repeats it. The public listener ignores it."""

LIST: Final = "?"
"""Key that is answered with the list of all drills: `{"drills": [DRILL, ...]}`, see Drill.shown."""


@dataclass(frozen=True)
class Drill:
    """One way to fail."""

    rule: PlannedRule
    chain: Chain
    cut: tuple[str, ...]
    """Labels of the backends that are cut off."""

    @property
    def key(self) -> str:
        """Value of the header: `rule/backend`, or the rule alone where all its candidates are cut off."""
        return f"{self.rule.name}/{self.cut[0]}" if len(self.cut) == 1 else self.rule.name

    @property
    def left(self) -> tuple[str, ...]:
        """Labels of the backends that may serve, in order of the attempts."""
        return tuple(each.label for each in self.chain.backends if each.label not in self.cut)

    def shown(self) -> dict[str, object]:
        """As the list has it; `model`: what to ask for; `embeds`: whether for embeddings and not for chat."""
        return {
            "key": self.key,
            "rule": self.rule.name,
            "cut": self.cut,
            "left": self.left,
            "model": next(iter(self.rule.models), AUTO),
            "embeds": all(backend.embeds for backend in self.chain.backends),
        }


def drills(gateway: Gateway) -> tuple[Drill, ...]:
    """Every drill of the gateway, none for a rule that has nothing to fall back on."""
    return tuple(drill for rule in gateway.rules for drill in _of_rule(rule)) if gateway.drilled else ()


def _of_rule(rule: PlannedRule) -> Iterator[Drill]:
    for choice in rule.choices:
        if len(choice.chain.backends) > 1:
            yield Drill(rule, choice.chain, (choice.chain.first.label,))
    firsts = tuple(choice.chain.first.label for choice in rule.choices)
    if len(firsts) > 1:
        every = Drill(rule, rule.choices[0].chain, firsts)
        if every.left:
            yield every
