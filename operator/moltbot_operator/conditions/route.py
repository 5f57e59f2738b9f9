"""What a MoltBotRoute's conditions say."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from moltbot_operator.compile.result import RuleReport
from moltbot_operator.compile.sources import Problem
from moltbot_operator.conditions.merge import Statement, sentence
from moltbot_operator.conditions.reasons import ConditionType, Reason, known_reason
from moltbot_operator.rollout import Observed, Plan, Stage

__all__ = ["RouteFacts", "joined", "route_conditions"]

SHOWN = 5
"""How many problems a message lists before it only counts the rest."""


@dataclass(frozen=True)
class RouteFacts:
    """What is known of a route.

    `refused`: why the spec can't be used at all. `unresolved`: references that are missing or unusable.
    `rules`: how each rule is served by the spec's revision. `warnings`: what serves but surely is not
    meant. `plan`: the rollout's next step. `active`: what was seen of the active revision, None when it
    does not exist. `wanted`: pods asked for. `blocked`: why objects could not be written.
    """

    refused: Problem | None
    unresolved: Sequence[Problem]
    rules: Sequence[RuleReport]
    warnings: Sequence[Problem]
    plan: Plan
    active: Observed | None
    wanted: int
    blocked: Problem | None = None


def joined(problems: Sequence[Problem]) -> str:
    """One message for many problems: each different text once, the first few in full."""
    texts = list(dict.fromkeys(sentence(problem.message) for problem in problems))
    more = len(texts) - SHOWN
    return " ".join(texts[:SHOWN]) + (f" And {more} more." if more > 0 else "")


def route_conditions(facts: RouteFacts) -> list[Statement]:
    """Accepted, ResolvedRefs, Programmed and Ready; the others only when True."""
    programmed = _programmed(facts)
    always = [_accepted(facts), _resolved(facts), programmed, _ready(facts, programmed)]
    sometimes = [_stalled(facts), _reconciling(facts), _paused(facts), _degraded(facts, programmed)]
    return always + [statement for statement in sometimes if statement]


def _accepted(facts: RouteFacts) -> Statement:
    if facts.refused:
        reason = known_reason(facts.refused.reason)
        return Statement(ConditionType.ACCEPTED, "False", reason, facts.refused.message)
    message = "The spec is valid."
    if facts.warnings:
        message += f" Mind: {joined(facts.warnings)}"
    return Statement(ConditionType.ACCEPTED, "True", Reason.ACCEPTED, message)


def _resolved(facts: RouteFacts) -> Statement:
    if facts.unresolved:
        reason = known_reason(facts.unresolved[0].reason)
        return Statement(ConditionType.RESOLVED_REFS, "False", reason, joined(facts.unresolved))
    if facts.refused:
        message = "Not looked at, since the spec was refused; see Accepted."
        return Statement(ConditionType.RESOLVED_REFS, "Unknown", Reason.NOT_ACCEPTED, message)
    message = "Everything the spec names exists and may be used."
    return Statement(ConditionType.RESOLVED_REFS, "True", Reason.RESOLVED, message)


def _programmed(facts: RouteFacts) -> Statement:
    kind = ConditionType.PROGRAMMED
    active = facts.plan.active
    if active is None:
        why = facts.plan.waiting or "the spec was refused before any revision served; see Accepted"
        return Statement(kind, "False", Reason.NO_ACTIVE_REVISION, f"No revision serves yet: {why}.")
    seen = facts.active
    if seen is None or seen.ready == 0:
        trouble = f" ({seen.trouble})" if seen and seen.trouble else ""
        message = (
            f"Revision {active} is active and has no ready pod{trouble}: look at its pods and their events."
        )
        return Statement(kind, "False", Reason.NO_READY_PODS, message)
    if seen.reporting < seen.ready:
        message = (
            f"{seen.ready - seen.reporting} of {seen.ready} ready pods of revision {active} do not report it"
            f"{f' ({seen.trouble})' if seen.trouble else ''}: look at the logs of their agent container."
        )
        return Statement(kind, "False", Reason.REVISION_NOT_REPORTED, message)
    return Statement(kind, "True", Reason.PROGRAMMED, f"Every ready pod reports revision {active}.")


def _ready(facts: RouteFacts, programmed: Statement) -> Statement:
    kind = ConditionType.READY
    if facts.refused:
        serving = (
            f"Revision {facts.plan.active} goes on serving the last accepted spec."
            if facts.plan.active
            else "Nothing serves."
        )
        return Statement(kind, "False", Reason.NOT_ACCEPTED, f"{sentence(facts.refused.message)} {serving}")
    if programmed.status != "True":
        return Statement(kind, "False", Reason.NOT_PROGRAMMED, programmed.message)
    if down := [rule for rule in facts.rules if not rule.serving]:
        names = ", ".join(rule.name for rule in down[:SHOWN])
        problems = [rule.problem for rule in down if rule.problem]
        message = f"{len(down)} of {len(facts.rules)} rules answer 503 ({names}): {joined(problems)}"
        return Statement(kind, "False", Reason.RULES_NOT_SERVED, message)
    return Statement(kind, "True", Reason.READY, f"Revision {facts.plan.active} serves every rule.")


def _stalled(facts: RouteFacts) -> Statement | None:
    for problem in (facts.refused, facts.blocked):
        if problem:
            return Statement(ConditionType.STALLED, "True", known_reason(problem.reason), problem.message)
    if facts.plan.stalled:
        failed = facts.plan.state.failed
        reason = known_reason(failed.reason) if failed else Reason.ROLLOUT_STUCK
        return Statement(ConditionType.STALLED, "True", reason, facts.plan.stalled)
    return None


def _reconciling(facts: RouteFacts) -> Statement | None:
    if facts.refused or facts.blocked or facts.plan.stalled:
        return None
    kind, waiting = ConditionType.RECONCILING, facts.plan.waiting
    if facts.plan.in_progress:
        return Statement(kind, "True", Reason.ROLLING_OUT, sentence(f"Waiting: {waiting}"))
    if paused := facts.plan.paused:
        return Statement(kind, "True", _PAUSES[paused], sentence(f"Paused: {waiting}"))
    return None


_PAUSES: Mapping[Stage, Reason] = {
    Stage.HELD: Reason.HELD,
    Stage.PROMOTION: Reason.AWAITING_PROMOTION,
    Stage.INCONCLUSIVE: Reason.INCONCLUSIVE,
}


def _paused(facts: RouteFacts) -> Statement | None:
    if paused := facts.plan.paused:
        message = sentence(f"Paused: {facts.plan.waiting}")
        return Statement(ConditionType.ROLLOUT_PAUSED, "True", _PAUSES[paused], message)
    return None


def _degraded(facts: RouteFacts, programmed: Statement) -> Statement | None:
    """Only while something serves: a route that serves nothing is not degraded, it is not Ready."""
    if programmed.status != "True":
        return None
    if failed := facts.plan.state.failed:
        return Statement(ConditionType.DEGRADED, "True", known_reason(failed.reason), failed.message)
    if facts.unresolved and any(rule.serving for rule in facts.rules):
        message = f"The rest is served. {joined(facts.unresolved)}"
        return Statement(ConditionType.DEGRADED, "True", Reason.PARTLY_SERVED, message)
    problems = [rule.problem for rule in facts.rules if rule.problem]
    if problems:
        return Statement(ConditionType.DEGRADED, "True", Reason.PARTLY_SERVED, joined(problems))
    seen = facts.active
    if seen and seen.ready < min(facts.wanted, seen.replicas):
        message = (
            f"{seen.ready} of {seen.replicas} pods are ready{f': {seen.trouble}' if seen.trouble else '.'}"
        )
        return Statement(ConditionType.DEGRADED, "True", Reason.PODS_UNAVAILABLE, message)
    return None
