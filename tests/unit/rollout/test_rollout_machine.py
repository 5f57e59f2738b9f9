"""The rollout machine by examples: each arrow of its drawing, and each way a revision can be broken."""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from moltbot_operator.api import Rollout
from moltbot_operator.rollout import (
    AskGate,
    Create,
    Delete,
    Delivered,
    Effect,
    Flip,
    Measure,
    Measurement,
    Notify,
    Observed,
    Phase,
    Plan,
    Reading,
    Result,
    RunTests,
    Stage,
    State,
    Trouble,
    View,
    decide,
    progress_status,
    recorded,
)
from moltbot_operator.rollout.ports import GateAnswer, GateVerdict, TestOutcome

NOW = datetime(2026, 1, 1, tzinfo=UTC)
GOOD = Observed(replicas=2, ready=2, reporting=2)
ANALYSIS = {"count": 2, "metrics": [{"name": "ok", "query": "SuccessRate", "successCondition": ">= 0.99"}]}
PROMETHEUS = {
    "count": 1,
    "metrics": [
        {"name": "slo", "source": "Prometheus", "url": "http://p", "query": "q", "successCondition": ">= 1"}
    ],
}


@dataclass
class Route:
    """A route whose revision `a` serves and is stable, and whose spec asks for `b`."""

    desired: str | None = "b"
    serving: str | None = "a"
    replicas: int = 2
    revisions: dict[str, Observed] = field(default_factory=lambda: {"a": GOOD})
    settings: dict[str, Any] = field(default_factory=dict)
    generation: int = 2
    now: datetime = NOW
    state: State = field(default_factory=State)
    plan: Plan = field(default_factory=lambda: Plan(Phase.STABLE, None, None))

    def step(self, results: dict[str, Result] | None = None) -> Plan:
        view = View(
            self.desired,
            self.serving,
            self.replicas,
            dict(self.revisions),
            Rollout.model_validate(self.settings),
            self.generation,
            results or {},
        )
        self.plan = decide(self.state, view, self.now)
        for name, count in self.plan.replicas.items():
            if name in self.revisions:
                self.revisions[name] = replace(self.revisions[name], replicas=count)
        for action in self.plan.actions:
            match action:
                case Create(name):
                    self.revisions[name] = Observed(self.plan.replicas[name])
                case Flip(name):
                    self.serving = name
                case Delete(name):
                    del self.revisions[name]
        self.state = self.plan.state
        return self.plan

    def until(self, phase: Phase, *, ready: bool = True, answer: Any = None) -> Plan:
        """Steps until the phase is reached; effects get `answer`, or the good one."""
        for _ in range(30):
            if ready:
                self.ready()
            results = {effect.id: self.answer(effect, answer) for effect in self.plan.effects}
            self.now += timedelta(seconds=1)
            if self.step(results).phase is phase:
                return self.plan
        raise AssertionError(f"{self.plan.phase} and not {phase}: {self.plan}")

    def answer(self, effect: Effect, answer: Any) -> Any:
        if answer is not None:
            return answer
        match effect:
            case RunTests():
                return TestOutcome(True, "")
            case AskGate():
                return GateAnswer(GateVerdict.PASSED)
            case Measure(metrics=names, compare=compare):
                return measured(1.0, *names, *compare)
            case _:
                return Delivered()

    def edit(self, **settings: Any) -> None:
        self.settings = {**self.settings, **settings}
        self.generation += 1

    def ready(self) -> None:
        for name, seen in self.revisions.items():
            self.revisions[name] = Observed(seen.replicas, seen.replicas, seen.replicas)


def measured(value: float | None, *names: str, samples: int | None = 100, error: str = "") -> Measurement:
    return Measurement(dict.fromkeys(names, Reading(value, samples, 1.0, samples, error)))


# -- the way forward


def test_the_first_revision_is_created_waited_for_and_switched_to() -> None:
    route = Route("a", None, revisions={})
    plan = route.step()
    assert plan.actions == (Create("a"),)
    assert (plan.phase, plan.active, plan.preview, plan.replicas) == (Phase.PREPARING, None, "a", {"a": 2})
    route.revisions["a"] = Observed(2, ready=1, trouble="pod x: ErrImagePull")
    plan = route.step()
    assert plan.actions == ()
    assert plan.waiting == "revision a: 1 of 2 pods are ready, 0 report the revision; pod x: ErrImagePull"
    plan = route.until(Phase.STABLE)
    assert route.serving == "a"
    assert plan.state.history == ()


def test_a_proven_revision_is_recorded_as_coming_and_flipped_to_in_a_later_call() -> None:
    route = Route()
    route.step()
    route.ready()
    plan = route.step()
    assert (plan.phase, plan.actions, plan.active) == (Phase.PROMOTING, (), "a")
    plan = route.step()
    assert (plan.phase, plan.actions, plan.active) == (Phase.PROMOTING, (Flip("b"),), "b")
    plan = route.step()
    assert (plan.phase, plan.actions) == (Phase.STABLE, ())
    assert plan.state.history == ("a",)
    assert [old.revision for old in plan.state.old] == ["a"], "kept for a rollback"


def test_the_old_revision_goes_when_its_own_deadline_is_over() -> None:
    route = Route(settings={"scaleDownDelay": "60s"})
    flipped = route.until(Phase.STABLE)
    assert flipped.again == flipped.state.old[0].until
    route.now += timedelta(seconds=58)
    assert route.step().actions == ()
    assert route.plan.replicas == {"a": 2, "b": 2}
    route.now += timedelta(seconds=3)
    assert route.step().actions == (Delete("a"),)
    assert route.plan.again is None


@pytest.mark.parametrize("preview", [replace(GOOD, reporting=1), replace(GOOD, ready=1, reporting=1)])
def test_pods_that_are_not_ready_or_do_not_report_are_not_flipped_to(preview: Observed) -> None:
    route = Route()
    route.step()
    route.revisions["b"] = preview
    for _ in range(4):
        assert route.step().phase is Phase.PREPARING
    assert route.serving == "a"


def test_pods_that_stop_being_ready_just_before_the_flip_prove_themselves_anew() -> None:
    route = Route()
    route.until(Phase.PROMOTING)
    route.revisions["b"] = replace(GOOD, ready=1)
    assert route.step().phase is Phase.PREPARING
    assert route.serving == "a"
    route.until(Phase.STABLE)
    assert route.serving == "b"


def test_the_preview_is_as_large_as_the_active_revision_before_the_flip() -> None:
    route = Route(revisions={"a": Observed(5, 5, 5), "b": GOOD})
    plan = route.step()
    assert (plan.phase, plan.replicas) == (Phase.PREPARING, {"a": 5, "b": 5})
    plan = route.until(Phase.STABLE)
    assert plan.replicas["b"] == 2, "afterwards it is as large as the spec asks"


def test_everything_before_the_switch_comes_in_its_order() -> None:
    route = Route(
        settings={
            "testing": {"requests": [{"path": "/v1/models"}]},
            "analysis": ANALYSIS,
            "gates": [{"url": "http://one"}, {"url": "http://two"}],
        }
    )
    asked: list[str] = []
    while route.serving == "a":
        route.ready()
        results = {effect.id: route.answer(effect, None) for effect in route.plan.effects}
        asked += [type(effect).__name__ for effect in route.plan.effects]
        route.step(results)
    assert asked == ["RunTests", "Measure", "Measure", "AskGate", "AskGate"]
    assert route.until(Phase.STABLE).state.history == ("a",)


# -- people and their commands


def test_without_auto_promote_it_waits_for_promote_to_name_the_revision() -> None:
    route = Route(settings={"autoPromote": False})
    plan = route.until(Phase.PAUSED)
    assert plan.paused is Stage.PROMOTION
    assert "promote to b" in plan.waiting
    assert not plan.in_progress
    route.edit(promote="c")
    plan = route.step()
    assert plan.phase is Phase.PAUSED
    assert "promote names c, which is not under way (b is)" in plan.remarks[0]
    route.edit(promote="b")
    route.until(Phase.STABLE)
    assert (route.serving, route.plan.remarks) == ("b", ())


def test_paused_stops_before_the_next_step_and_goes_on_where_it_was() -> None:
    route = Route(settings={"paused": True})
    plan = route.step()
    assert (plan.phase, plan.paused, plan.actions) == (Phase.PAUSED, Stage.HELD, ())
    assert "b" not in plan.replicas, "not even pods are made"
    route.edit(paused=False)
    route.until(Phase.PROMOTING)
    route.edit(paused=True)
    assert route.step().phase is Phase.PAUSED
    route.now += timedelta(days=1)
    assert route.step().phase is Phase.PAUSED, "no deadline runs meanwhile"
    route.edit(paused=False)
    route.until(Phase.STABLE)
    assert route.serving == "b"


def test_promote_skips_what_is_left_but_never_readiness() -> None:
    route = Route(settings={"gates": [{"url": "http://gate"}], "promote": "b"})
    route.until(Phase.PREPARING, ready=False)
    assert route.step().phase is Phase.PREPARING
    route.until(Phase.STABLE, answer=GateAnswer(GateVerdict.REFUSED))
    assert route.serving == "b"


@pytest.mark.parametrize("phase", [Phase.PREPARING, Phase.TESTING, Phase.PAUSED])
def test_abort_before_the_switch_gives_the_preview_up(phase: Phase) -> None:
    settings = {Phase.PREPARING: {}, Phase.TESTING: {"gates": [{"url": "http://g"}]}}
    route = Route(settings=settings.get(phase, {"autoPromote": False}))
    route.until(phase, ready=phase is not Phase.PREPARING)
    route.edit(abort="b")
    plan = route.until(Phase.FAILED)
    assert (route.serving, set(route.revisions)) == ("a", {"a"})
    assert plan.state.failed is not None
    assert plan.state.failed.reason == "Aborted"
    assert "RolloutAborted" in [note.reason for note in plan.notes]


def test_a_failed_revision_is_not_tried_again_until_retry_names_it_or_the_spec_changes() -> None:
    route = Route(settings={"gates": [{"url": "http://g"}]})
    route.until(Phase.FAILED, answer=GateAnswer(GateVerdict.REFUSED, "not on Fridays"))
    assert "not on Fridays" in route.plan.waiting
    for _ in range(3):
        assert route.step().actions == ()
    route.edit(retry="z")
    assert route.step().phase is Phase.FAILED
    assert "retry names z, which was not given up (b was given up)" in route.plan.remarks[0]
    route.edit(retry="b")
    assert route.step().actions == (Create("b"),)
    route.until(Phase.FAILED, answer=GateAnswer(GateVerdict.REFUSED))
    assert route.step().phase is Phase.FAILED, "the same retry is not obeyed twice"
    route.desired = "c"
    assert route.step().actions == (Create("c"),)
    assert route.plan.state.failed is None


def test_the_old_spec_again_ends_the_failure() -> None:
    route = Route(settings={"gates": [{"url": "http://g"}]})
    route.until(Phase.FAILED, answer=GateAnswer(GateVerdict.REFUSED))
    route.desired = "a"
    plan = route.step()
    assert (plan.phase, plan.state.failed, plan.stalled) == (Phase.STABLE, None, "")


# -- superseding and going back


def test_a_newer_spec_supersedes_a_half_built_revision() -> None:
    route = Route()
    route.step()
    route.desired = "c"
    assert route.step().actions == (Delete("b"), Create("c"))
    route.desired = "a"
    plan = route.step()
    assert (plan.phase, plan.actions) == (Phase.STABLE, (Delete("c"),))


def test_the_spec_from_before_is_an_instant_rollback_without_new_pods_tests_or_analysis() -> None:
    route = Route(
        settings={"analysis": ANALYSIS, "testing": {"requests": [{"path": "/"}]}, "autoPromote": True}
    )
    route.until(Phase.STABLE)
    route.edit(autoPromote=False)
    route.desired = "a"
    created = []
    for _ in range(3):
        created += [action for action in route.step().actions if isinstance(action, Create)]
        assert route.plan.effects == ()
    assert (route.serving, created, route.plan.phase) == ("a", [], Phase.STABLE)


def test_a_newer_spec_while_the_last_is_verified_keeps_the_last_stable_one_to_go_back_to() -> None:
    route = Route(settings={"analysis": PROMETHEUS})
    route.until(Phase.VERIFYING)
    route.desired = "c"
    route.step()
    assert route.state.rollback_to == "a"
    route.until(Phase.VERIFYING)
    assert route.serving == "c"
    assert set(route.revisions) == {"a", "c"}, "the one that never completed is gone"
    route.until(Phase.FAILED, answer=measured(0.0, "slo"))
    assert (route.serving, set(route.revisions)) == ("a", {"a"})


def test_a_refused_spec_keeps_what_serves_and_drops_what_was_half_built() -> None:
    route = Route(revisions={"a": GOOD, "b": Observed(2)})
    route.desired = None
    plan = route.step()
    assert (plan.phase, plan.active, plan.actions) == (Phase.STABLE, "a", (Delete("b"),))
    plan = Route(None, None, revisions={}).step()
    assert (plan.phase, plan.active, plan.actions) == (Phase.FAILED, None, ())


def test_the_serving_revision_is_made_anew_when_somebody_deleted_it() -> None:
    route = Route("a", revisions={})
    assert route.step().actions == (Create("a"),)
    assert route.plan.active == "a"
    route = Route(revisions={"b": Observed(2)})
    assert route.step().replicas == {"a": 2, "b": 2}, "also while another is under way"


# -- broken in each way


def test_a_revision_that_never_gets_ready_is_given_up_at_its_deadline() -> None:
    route = Route(settings={"progressDeadline": "60s"})
    route.step()
    route.revisions["b"] = Observed(2, 0, 0, "pod b-1: container envoy: CrashLoopBackOff")
    plan = route.step()
    assert plan.again == NOW + timedelta(seconds=60)
    route.now += timedelta(seconds=60)
    plan = route.until(Phase.FAILED, ready=False)
    assert plan.state.failed is not None
    assert plan.state.failed.reason == "ProgressDeadlineExceeded"
    assert "CrashLoopBackOff" in plan.stalled
    assert set(route.revisions) == {"a"}


def test_the_first_revision_is_not_given_up_for_being_late() -> None:
    route = Route("a", None, revisions={})
    route.step()
    route.now += timedelta(days=1)
    plan = route.step()
    assert plan.phase is Phase.PREPARING
    assert "progress deadline" in plan.stalled
    route.until(Phase.STABLE)
    assert route.serving == "a"


def test_a_failed_test_gives_the_revision_up_and_says_which() -> None:
    route = Route(settings={"testing": {"faultDrill": True}})
    route.until(Phase.FAILED, answer=TestOutcome(False, "rule tech: its fallback answered 500"))
    assert route.serving == "a"
    assert "rule tech: its fallback answered 500" in route.plan.stalled


def test_a_gate_that_hangs_is_asked_again_until_the_progress_deadline() -> None:
    route = Route(settings={"gates": [{"url": "http://g"}], "progressDeadline": "60s"})
    route.until(Phase.TESTING)
    asked, questions = set(), set()
    for _ in range(80):
        for effect in route.plan.effects:
            assert isinstance(effect, AskGate)
            asked.add(effect.id)
            questions.add(effect.question)
        results = {effect.id: GateAnswer(GateVerdict.AGAIN, "no answer") for effect in route.plan.effects}
        route.now += timedelta(seconds=1)
        if route.step(results).phase is Phase.FAILED:
            break
    assert 8 <= len(asked) <= 13
    assert len(questions) == 1, "a gate that asks a person asks once"
    assert route.plan.state.failed is not None
    assert route.plan.state.failed.reason == "GateTimedOut"
    assert "no answer" in route.plan.stalled


def test_a_gate_without_any_answer_ends_by_the_deadline_too() -> None:
    route = Route(settings={"gates": [{"url": "http://g", "timeout": "90s"}], "progressDeadline": "60s"})
    route.until(Phase.TESTING)
    route.now += timedelta(seconds=88)
    assert route.step().phase is Phase.TESTING, "one answer may take as long as its timeout"
    route.now += timedelta(seconds=3)
    assert route.step().phase is Phase.ABORTING
    assert route.step().stalled.endswith("set spec.rollout.retry to b.")


def test_a_failed_analysis_before_the_switch_touches_no_user() -> None:
    route = Route(settings={"analysis": PROMETHEUS})
    route.until(Phase.FAILED, answer=measured(0.5, "slo"))
    assert (route.serving, set(route.revisions)) == ("a", {"a"})
    assert "slo 0.5, not >= 1" in route.plan.stalled
    assert "RolloutFailed" in [note.reason for note in route.plan.notes]


def test_a_failed_analysis_after_the_switch_goes_back() -> None:
    route = Route(settings={"analysis": ANALYSIS})
    route.until(Phase.VERIFYING)
    assert route.serving == "b"
    route.until(Phase.FAILED, answer=measured(0.5, "ok"))
    assert (route.serving, set(route.revisions)) == ("a", {"a"})
    assert "RolledBack" in [note.reason for note in route.plan.notes]


def test_failures_up_to_the_limit_are_borne() -> None:
    route = Route(settings={"analysis": {**ANALYSIS, "failureLimit": 1}})
    route.until(Phase.VERIFYING)
    (effect,) = route.step().effects
    route.step({effect.id: measured(0.5, "ok")})
    assert route.plan.phase is Phase.VERIFYING
    route.until(Phase.STABLE)
    assert route.serving == "b"


@pytest.mark.parametrize("nothing", [measured(1.0, "ok", samples=3), measured(None, "ok"), Measurement({})])
def test_no_traffic_after_the_switch_is_neither_success_nor_failure(nothing: Measurement) -> None:
    route = Route(settings={"analysis": ANALYSIS})
    route.until(Phase.VERIFYING)
    plan = route.until(Phase.PAUSED, answer=nothing)
    assert plan.paused is Stage.INCONCLUSIVE
    assert (route.serving, set(route.revisions)) == ("b", {"a", "b"}), "the one before is kept"
    route.now += timedelta(days=2)
    assert route.step().phase is Phase.PAUSED
    accept = replace_route(route)
    accept.edit(promote="b")
    assert accept.until(Phase.STABLE).state.history == ("a",)
    route.edit(abort="b")
    route.until(Phase.FAILED)
    assert (route.serving, set(route.revisions)) == ("a", {"a"})


def test_the_message_of_a_paused_analysis_tells_of_the_measurement_without_a_verdict() -> None:
    route = Route(settings={"analysis": ANALYSIS})
    route.until(Phase.VERIFYING)
    few, enough = measured(1.0, "ok", samples=3), measured(1.0, "ok")
    found = [few, *[enough] * 5]
    while route.plan.phase is Phase.VERIFYING:
        asked = [each for each in route.plan.effects if isinstance(each, Measure)]
        route.now += timedelta(seconds=1)
        route.step({each.id: found.pop(0) for each in asked})
    assert route.plan.paused is Stage.INCONCLUSIVE
    assert "3 requests, fewer than" in route.plan.waiting
    assert recorded({"rollout": progress_status(route.state, "")}).run == route.state.run


def test_a_promote_that_led_to_the_switch_does_not_accept_what_comes_after_it() -> None:
    route = Route(settings={"analysis": ANALYSIS, "autoPromote": False})
    route.until(Phase.PAUSED)
    route.edit(promote="b")
    route.until(Phase.VERIFYING)
    route.until(Phase.PAUSED, answer=measured(None, "ok"))
    assert route.step().phase is Phase.PAUSED
    route.edit(promote="b")
    route.until(Phase.STABLE)


@pytest.mark.parametrize(
    ("after", "serving"), [(False, "a"), (True, "a")], ids=["before the flip", "after the flip"]
)
def test_a_source_that_is_down_ends_it_after_five_errors_in_a_row(after: bool, serving: str) -> None:
    route = Route(settings={"analysis": PROMETHEUS})
    if after:
        route.until(Phase.VERIFYING)
    down = measured(None, "slo", error="prometheus: connection refused")
    asked = 0
    while route.plan.phase is not Phase.FAILED:
        route.ready()
        results: dict[str, Result] = {}
        for effect in route.plan.effects:
            results[effect.id] = down
            asked += 1
        route.now += timedelta(seconds=2)
        route.step(results)
    assert asked == 5
    assert route.serving == serving
    assert route.plan.state.failed is not None
    assert route.plan.state.failed.reason == "AnalysisSourceDown"
    assert "connection refused" in route.plan.stalled


def test_errors_in_between_are_forgotten_with_the_next_answer() -> None:
    route = Route(settings={"analysis": {**PROMETHEUS, "count": 3}})
    answers = [Trouble("x"), Trouble("x"), Trouble("x"), Trouble("x"), measured(1.0, "slo")] * 3
    route.until(Phase.TESTING)
    while route.plan.phase is Phase.TESTING:
        results = {effect.id: answers.pop(0) for effect in route.plan.effects}
        route.now += timedelta(seconds=6)
        route.step(results)
    assert (route.plan.phase, answers) == (Phase.PROMOTING, [])


def test_gateway_metrics_of_a_preview_are_measured_by_test_requests_alone() -> None:
    route = Route(settings={"analysis": ANALYSIS})
    route.until(Phase.PROMOTING)
    assert route.serving == "a", "without requests nothing is measured before the switch"
    route = Route(settings={"analysis": ANALYSIS, "testing": {"requests": [{"path": "/"}]}})
    route.until(Phase.TESTING)
    (tests,) = route.plan.effects
    (effect,) = route.step({tests.id: TestOutcome(True, "")}).effects
    assert isinstance(effect, Measure)
    assert (effect.probe, effect.metrics, effect.compare) == (True, ("ok",), ())


def test_a_comparison_with_the_active_revision_is_measured_before_the_switch_and_kept() -> None:
    relative = {"name": "p95", "query": "LatencyP95", "successCondition": "<= 1.2 * active"}
    route = Route(settings={"analysis": {"count": 1, "metrics": [relative]}})
    route.until(Phase.TESTING)
    (effect,) = route.plan.effects
    assert isinstance(effect, Measure)
    assert (effect.metrics, effect.compare, effect.active) == ((), ("p95",), "a")
    route.step({effect.id: Measurement({"p95": Reading(active=0.2, active_samples=100)})})
    route.until(Phase.VERIFYING)
    slow = replace_route(route)
    slow.until(Phase.FAILED, answer=Measurement({"p95": Reading(0.3, 100)}))
    assert "p95 0.3, not <= 1.2 * active (active: 0.2)" in slow.plan.stalled
    route.until(Phase.STABLE, answer=Measurement({"p95": Reading(0.23, 100)}))


def test_a_new_revision_that_loses_all_its_pods_goes_back() -> None:
    route = Route(settings={"analysis": ANALYSIS})
    route.until(Phase.VERIFYING)
    route.revisions["b"] = Observed(2, 0, 0, "pod b-1: container envoy: OOMKilled")
    plan = route.until(Phase.FAILED, ready=False)
    assert route.serving == "a"
    assert "OOMKilled" in plan.stalled


def test_it_does_not_go_back_to_pods_that_are_not_ready() -> None:
    route = Route(settings={"analysis": ANALYSIS})
    route.until(Phase.VERIFYING)
    route.revisions["a"] = Observed(2, 1, 1)
    route.edit(abort="b")
    for _ in range(3):
        assert route.step().phase is Phase.ABORTING
    assert route.serving == "b"
    route.until(Phase.FAILED)
    assert route.serving == "a"


def test_where_nothing_is_left_to_go_back_to_it_says_so_and_serves_on() -> None:
    route = Route(settings={"analysis": ANALYSIS})
    route.until(Phase.VERIFYING)
    del route.revisions["a"]
    route.edit(abort="b")
    route.step()
    route.now += timedelta(hours=1)
    plan = route.until(Phase.FAILED)
    assert (route.serving, set(route.revisions)) == ("b", {"b"})
    assert "nothing to go back to" in plan.stalled


# -- notifications


def test_notifications_are_kept_until_they_are_delivered_in_their_order() -> None:
    route = Route(
        settings={"notifications": [{"url": "http://all"}, {"url": "http://f", "events": ["Failed"]}]}
    )
    route.step()
    assert [pending.event for pending in route.state.pending] == ["Started"]
    for _ in range(4):
        route.ready()
        route.step()
    assert [pending.event for pending in route.state.pending] == ["Started", "Promoted", "Completed"]
    events = []
    while route.state.pending:
        (effect,) = route.plan.effects
        assert isinstance(effect, Notify)
        assert effect.index == 0
        events.append((effect.pending.event, effect.pending.revision, effect.pending.previous))
        route.step({effect.id: Delivered()})
    assert events == [("Started", "b", "a"), ("Promoted", "b", "a"), ("Completed", "b", "a")]


def test_a_notification_that_cannot_be_delivered_is_told_and_stops_nothing() -> None:
    route = Route(settings={"notifications": [{"url": "http://all"}]})
    (effect,) = route.step().effects
    plan = route.step({effect.id: Trouble("500 Internal Server Error")})
    assert [(note.type, note.reason) for note in plan.notes] == [("Warning", "NotificationFailed")]
    assert plan.state.pending == ()
    route.until(Phase.STABLE)


def test_a_spec_that_cannot_be_read_loses_no_notification() -> None:
    route = Route(settings={"notifications": [{"url": "http://all"}]})
    route.step()
    route.desired, written, route.settings = None, route.settings, {}
    assert len(route.step().state.pending) == 1
    route.desired, route.settings = "b", written
    assert len(route.step().effects) == 1


def replace_route(route: Route) -> Route:
    return replace(route, revisions=dict(route.revisions), settings=dict(route.settings))
