"""The rollout machine under anything that may happen: it never harms what serves, and it always ends."""

import os
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from moltbot_operator.api import Rollout
from moltbot_operator.rollout import (
    AskGate,
    Create,
    Delete,
    Delivered,
    Flip,
    Measure,
    Measurement,
    Observed,
    Phase,
    Plan,
    Reading,
    RunTests,
    Stage,
    Trouble,
    View,
    decide,
    progress_status,
    recorded,
)
from moltbot_operator.rollout.ports import GateAnswer, GateVerdict, TestOutcome

SEQUENCES = int(os.environ.get("MOLTBOT_ROLLOUTS", "300"))
"""How many sequences are tried; `make test-unit` tries 10,000, which take a minute."""

START = datetime(2026, 1, 1, tzinfo=UTC)

METRICS = [
    {"name": "success", "query": "SuccessRate", "successCondition": ">= 0.99"},
    {"name": "slow", "query": "LatencyP95", "successCondition": "<= 1.2 * active"},
    {
        "name": "slo",
        "source": "Prometheus",
        "url": "http://p:9090",
        "query": "x",
        "successCondition": ">= 1",
        "failureCondition": "< 0.5",
    },
]
PARTS = {
    "analysis": {"count": 2, "metrics": METRICS},
    "testing": {"requests": [{"path": "/v1/models"}]},
    "gates": [{"url": "http://gate.test"}],
    "autoPromote": False,
    "paused": True,
    "notifications": [{"url": "http://hook.test"}, {"url": "http://other.test", "events": ["Failed"]}],
    "scaleDownDelay": "0s",
}


@dataclass
class World:
    """A cluster as the machine sees it; `crash` loses what was decided and not yet written."""

    desired: str | None = "a"
    serving: str | None = None
    replicas: int = 2
    revisions: dict[str, Observed] = field(default_factory=dict)
    settings: Rollout = field(default_factory=Rollout)
    generation: int = 1
    now: datetime = START
    status: dict[str, Any] = field(default_factory=dict)
    effects: dict[str, Any] = field(default_factory=dict)
    results: dict[str, Any] = field(default_factory=dict)
    flips: int = 0

    def step(self, upto: int = 99) -> Plan:
        """One call; of its writes only the first `upto` are carried out, the status being the last."""
        view = View(
            self.desired,
            self.serving,
            self.replicas,
            dict(self.revisions),
            self.settings,
            self.generation,
            dict(self.results),
        )
        state = recorded(self.status)
        plan = decide(state, view, self.now)
        assert decide(state, view, self.now) == plan, "the same view gives the same plan"
        for write, action in enumerate(plan.actions):
            if write >= upto:
                self.crash()
                return plan
            self._carry_out(action, view, plan)
        for name, count in plan.replicas.items():
            if name in self.revisions:
                self.revisions[name] = replace(self.revisions[name], replicas=count)
        if len(plan.actions) >= upto:
            self.crash()
            return plan
        rollout = progress_status(plan.state, plan.waiting)
        self.status = {"rollout": rollout, "revision": {"stable": list(plan.state.history)}}
        assert recorded(self.status) == plan.state, "what is written is what is read"
        self.effects = {effect.id: effect for effect in plan.effects}
        self.results = {id_: result for id_, result in self.results.items() if id_ in self.effects}
        return plan

    def _carry_out(self, action: Any, view: View, plan: Plan) -> None:
        match action:
            case Create(name):
                assert name == self.desired
                self.revisions[name] = Observed(plan.replicas[name])
            case Flip(name):
                seen, before = view.revisions[name], view.revisions.get(view.serving or "")
                assert seen.ready >= 1, "never to unready pods"
                assert seen.reporting >= seen.ready, "never to pods that do not report"
                assert before is None or seen.ready >= min(before.ready, before.replicas), "never to fewer"
                assert recorded(self.status).phase in {Phase.PROMOTING, Phase.ABORTING}, "recorded before"
                self.serving = name
                self.flips += 1
            case Delete(name):
                assert name not in {view.serving, self.serving}, "never what serves"
                del self.revisions[name]

    def crash(self) -> None:
        self.effects, self.results = {}, {}

    def pods_get_ready(self) -> None:
        for name, seen in self.revisions.items():
            self.revisions[name] = Observed(seen.replicas, seen.replicas, seen.replicas)


def answer(effect: Any, kind: int) -> Any:
    """Something that may come of an effect; 0 is good."""
    bad = Trouble("no answer (simulated)")
    match effect:
        case RunTests():
            return [TestOutcome(True, ""), TestOutcome(False, "GET /: 500"), bad][kind % 3]
        case AskGate():
            verdicts = [GateVerdict.PASSED, GateVerdict.REFUSED, GateVerdict.AGAIN]
            return bad if kind % 4 == 3 else GateAnswer(verdicts[kind % 4], "so")
        case Measure(metrics=names, compare=compare):
            value = [1.0, 0.0, float("nan"), None][kind % 4]
            reading = Reading(value, 100 if kind < 6 else 1, 1.0 if kind != 5 else None, 100)
            if kind % 5 == 4:
                reading = Reading(error="down")
            return bad if kind == 7 else Measurement(dict.fromkeys((*names, *compare), reading))
        case _:
            return Delivered() if kind % 2 == 0 else bad


NAMES = st.sampled_from("abc")
EVENTS = st.one_of(
    st.tuples(st.just("desire"), st.one_of(NAMES, st.none())),
    st.tuples(st.just("scale"), st.integers(1, 4)),
    st.tuples(st.just("pods"), NAMES, st.integers(0, 5), st.integers(0, 5)),
    st.tuples(st.just("ready"), st.just(0)),
    st.tuples(st.just("delete"), NAMES),
    st.tuples(st.just("part"), st.sampled_from(sorted(PARTS))),
    st.tuples(
        st.just("command"), st.sampled_from(["promote", "abort", "retry"]), st.one_of(NAMES, st.none())
    ),
    st.tuples(st.just("answer"), st.integers(0, 8)),
    st.tuples(st.just("wait"), st.sampled_from([1, 6, 61, 601])),
    st.tuples(st.just("crash"), st.integers(0, 2)),
    st.tuples(st.just("step"), st.just(0)),
    st.tuples(st.just("step"), st.just(0)),
)


def happen(world: World, event: tuple) -> None:  # noqa: C901, PLR0912 — one case for each event
    match event:
        case ("desire", name):
            world.desired = name
            world.generation += 1
        case ("scale", count):
            world.replicas = count
        case ("pods", name, ready, reporting) if name in world.revisions:
            seen = world.revisions[name]
            world.revisions[name] = Observed(seen.replicas, ready, min(ready, reporting), "something")
        case ("ready", _):
            world.pods_get_ready()
        case ("delete", name) if name != world.serving:
            world.revisions.pop(name, None)
        case ("part", name):
            written = world.settings.model_dump(mode="json", by_alias=True, exclude_unset=True)
            if name in written:
                del written[name]
            else:
                written[name] = PARTS[name]
            world.settings = Rollout.model_validate(written)
            world.generation += 1
        case ("command", name, revision):
            world.settings = world.settings.model_copy(update={name: revision})
            world.generation += 1
        case ("answer", kind):
            for id_, effect in world.effects.items():
                world.results.setdefault(id_, answer(effect, kind))
        case ("wait", seconds):
            world.now += timedelta(seconds=seconds)
        case ("crash", upto):
            world.step(upto)
        case ("step", _):
            world.step()


def ended(plan: Plan) -> bool:
    return not plan.actions and not plan.in_progress


@settings(max_examples=SEQUENCES, deadline=None)
@given(st.lists(EVENTS, max_size=50), NAMES, st.integers(0, 8))
def test_whatever_happens_it_harms_nothing_and_comes_to_an_end(
    events: list[tuple], last: str, kind: int
) -> None:
    world = World()
    for event in events:
        happen(world, event)
    world.desired = last
    world.generation += 1
    world.settings = world.settings.model_copy(update={"paused": False})
    for _ in range(80):
        world.pods_get_ready()
        plan = world.step()
        if ended(plan) and not world.effects:
            break
        for id_, effect in world.effects.items():
            world.results.setdefault(id_, answer(effect, kind))
        world.now += timedelta(seconds=20)
    assert ended(plan), plan
    match plan.phase:
        case Phase.STABLE:
            assert world.serving == last
            assert world.revisions[last].replicas == world.replicas
        case Phase.FAILED:
            assert plan.state.failed is not None
            assert plan.state.failed.revision == last
            assert plan.stalled
        case _:
            assert plan.paused in {Stage.PROMOTION, Stage.INCONCLUSIVE}
    world.now += timedelta(days=2)
    world.step()
    left = {world.serving, plan.state.target, plan.state.rollback_to} - {None}
    assert set(world.revisions) <= left, "no revision is left over"


@settings(max_examples=max(100, SEQUENCES // 10), deadline=None)
@given(st.lists(EVENTS, max_size=40))
def test_nothing_flips_while_no_pod_ever_gets_ready(events: list[tuple]) -> None:
    world = World(serving="a", revisions={"a": Observed(2, 2, 2)})
    for event in events:
        if event[0] not in {"pods", "ready"}:
            happen(world, event)
    assert world.serving == "a"
    assert world.flips == 0


@settings(max_examples=max(100, SEQUENCES // 10), deadline=None)
@given(st.lists(st.integers(0, 3), max_size=60))
def test_a_change_flips_once_however_often_the_operator_dies(crashes: list[int]) -> None:
    world = World(serving="a", revisions={"a": Observed(2, 2, 2)}, desired="b")
    world.settings = Rollout.model_validate({name: PARTS[name] for name in ("testing", "gates", "analysis")})
    for upto in crashes:
        world.pods_get_ready()
        world.step(upto if upto < 3 else 99)
        for id_, effect in world.effects.items():
            world.results.setdefault(id_, answer(effect, 0))
    for _ in range(40):
        world.pods_get_ready()
        plan = world.step()
        for id_, effect in world.effects.items():
            world.results.setdefault(id_, answer(effect, 0))
        world.now += timedelta(seconds=20)
    assert (plan.phase, world.serving, world.flips) == (Phase.STABLE, "b", 1)
    assert set(world.revisions) == {"b"}
