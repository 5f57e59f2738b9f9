"""What is allowed and can't work as written: `auto` without models, a choice among one."""

from collections.abc import Iterator

from moltbot_operator.compile.plan import Plan
from moltbot_operator.compile.sources import Problem

__all__ = ["selection_warnings"]


def selection_warnings(planned: Plan) -> Iterator[Problem]:
    """Reason and message of each, in the order of the rules."""
    for rule in planned.gateway.rules:
        used = {each.label: each for choice in rule.choices for each in choice.chain.backends}
        bare = sorted(label for label, each in used.items() if each.model is None)
        if rule.auto and bare:
            yield Problem(
                "AutoNeedsModel",
                f"rule {rule.name} takes the model auto, and there is none to put in its place at "
                f"{', '.join(bare)}: set spec.model of the backend, or take auto out of the rule's matches",
            )
        if rule.latency and len(rule.choices) == 1:
            yield Problem(
                "NothingToChoose",
                f"rule {rule.name} chooses by latency and has one candidate with a weight that can be used: "
                "name another, or write selection: Weighted",
            )
