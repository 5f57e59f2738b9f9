"""Every way in which a route can stand, as far as conditions tell it, with what is true of it.

`standings()` gives triples: a name, the object with the status that the operator would write, and the truth:
Done, Failed, Paused, Waiting, or Degraded (it serves, with less than the spec asks for).
"""

import itertools
from datetime import UTC, datetime

from moltbot_operator.compile.result import RuleReport
from moltbot_operator.compile.sources import Problem
from moltbot_operator.conditions import RouteFacts, merge, route_conditions
from moltbot_operator.rollout import Failure, Observed, Phase, Plan, Stage, State
from moltbot_operator.rollout.record import progress_status

__all__ = ["standings"]

NOW = datetime(2026, 1, 1, tzinfo=UTC)
FAILURE = Failure("bbb", "AnalysisFailed", "The analysis failed: p95 0.9, not <= 0.3.", NOW, 1)
MOVING = (Phase.PREPARING, Phase.TESTING, Phase.PROMOTING, Phase.VERIFYING, Phase.ABORTING)

PODS = {
    "good": Observed(2, 2, 2),
    "few": Observed(2, 1, 1, "pod x: CrashLoopBackOff"),
    "silent": Observed(2, 2, 1),
    "none": None,
}
MISSING = Problem("BackendNotFound", "ModelBackend a/b does not exist: create it.")
RULES = {
    "served": ((), (RuleReport("r", True),)),
    "partly": ((MISSING,), (RuleReport("r", True, MISSING),)),
    "not": ((MISSING,), (RuleReport("r", True), RuleReport("s", False, MISSING))),
}
WRONG = {
    "": {},
    "refused": {"refused": Problem("InvalidSpec", "spec.rules: too many.")},
    "blocked": {"blocked": Problem("ApplyRejected", "quota")},
}


def _plans():
    yield "stable", Plan(Phase.STABLE, "aaa", None, state=State(Phase.STABLE))
    yield (
        "failed",
        Plan(Phase.FAILED, "aaa", None, state=State(Phase.FAILED, failed=FAILURE), stalled=FAILURE.message),
    )
    yield "refused first", Plan(Phase.FAILED, None, None, state=State(Phase.FAILED))
    for phase in MOVING:
        state = State(phase, target="bbb", rollback_to="aaa", started_at=NOW)
        yield f"{phase}", Plan(phase, "aaa", "bbb", waiting="pods start", state=state)
    first = State(Phase.PREPARING, target="bbb", started_at=NOW)
    yield "first", Plan(Phase.PREPARING, None, "bbb", waiting="pods start", state=first)
    yield (
        "first late",
        Plan(Phase.PREPARING, None, "bbb", waiting="pods", state=first, stalled="Not ready in time."),
    )
    for stage in (Stage.HELD, Stage.PROMOTION, Stage.INCONCLUSIVE):
        state = State(Phase.PAUSED, target="bbb", rollback_to="aaa", stage=stage, resume=Phase.TESTING)
        yield f"paused {stage}", Plan(Phase.PAUSED, "aaa", "bbb", waiting="set promote", state=state)


def standings():
    for (plan_name, plan), pods, rules, wrong in itertools.product(_plans(), PODS, RULES, WRONG):
        unresolved, reports = RULES[rules]
        facts = RouteFacts(
            **{"refused": None, "blocked": None, **WRONG[wrong]},
            unresolved=unresolved,
            rules=reports,
            warnings=(),
            plan=plan,
            active=PODS[pods] if plan.active else None,
            wanted=2,
        )
        name = ", ".join(filter(None, (plan_name, f"pods {pods}", f"rules {rules}", wrong)))
        yield name, _object(facts), _truth(facts, pods, rules)


def _truth(facts, pods, rules):
    """From the facts alone, not by what the conditions say of them."""
    if facts.refused or facts.blocked or facts.plan.stalled:
        return "Failed"
    if facts.plan.phase is Phase.PAUSED:
        return "Paused"
    if facts.plan.phase in MOVING:
        return "Waiting"
    if facts.plan.active is None or pods in {"silent", "none"}:
        return "Waiting"  # for pods that prove that they serve
    return "Degraded" if pods == "few" or rules != "served" else "Done"


def _object(facts):
    return {
        "apiVersion": "moltbot.io/v1alpha1",
        "kind": "MoltBotRoute",
        "metadata": {"name": "assistant", "namespace": "shop", "generation": 3},
        "spec": {},
        "status": {
            "observedGeneration": 3,
            "conditions": merge([], route_conditions(facts), 3, NOW),
            "rollout": progress_status(facts.plan.state, facts.plan.waiting),
        },
    }
