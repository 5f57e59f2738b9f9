"""The rollout machine: examples to read, and properties over everything that may happen in between."""

from dataclasses import dataclass, field, replace

from hypothesis import given, settings
from hypothesis import strategies as st

from moltbot_operator.rollout import Create, Delete, Flip, Observed, Phase, Plan, View, decide

GOOD = Observed(replicas=2, ready=2, reporting=2)


def test_the_first_revision_is_created_and_waited_for() -> None:
    plan = decide(View("a", None, 2))
    assert plan.actions == (Create("a"),)
    assert (plan.phase, plan.active, plan.preview) == (Phase.PREPARING, None, "a")
    assert plan.replicas == {"a": 2}

    plan = decide(View("a", None, 2, {"a": Observed(2, ready=1, trouble="pod x: ErrImagePull")}))
    assert plan.actions == ()
    assert "1 of 2 pods are ready, 0 report" in plan.waiting
    assert plan.waiting.endswith("; pod x: ErrImagePull")
    assert plan.in_progress


def test_a_proven_revision_is_flipped_to_and_the_old_one_goes_a_step_later() -> None:
    both = {"a": GOOD, "b": GOOD}
    plan = decide(View("b", "a", 2, both))
    assert plan.actions == (Flip("b"),)
    assert (plan.phase, plan.active, plan.preview) == (Phase.PROMOTING, "b", None)
    plan = decide(View("b", "b", 2, both))
    assert plan.actions == (Delete("a"),)
    assert plan.in_progress
    plan = decide(View("b", "b", 2, {"b": GOOD}))
    assert plan == Plan(Phase.STABLE, "b", None, (), {"b": 2})
    assert not plan.in_progress


def test_ready_pods_that_do_not_report_are_not_flipped_to() -> None:
    silent = replace(GOOD, reporting=1)
    assert decide(View("b", "a", 2, {"a": GOOD, "b": silent})).actions == ()


def test_the_preview_is_as_large_as_the_active_revision_before_the_flip() -> None:
    large = Observed(5, 5, 5)
    plan = decide(View("b", "a", 2, {"a": large, "b": GOOD}))
    assert plan.actions == ()
    assert plan.replicas == {"a": 5, "b": 5}
    assert decide(View("b", "b", 2, {"b": large})).replicas == {"b": 2}


def test_a_newer_spec_supersedes_a_half_built_revision() -> None:
    plan = decide(View("c", "a", 2, {"a": GOOD, "b": Observed(2)}))
    assert plan.actions == (Delete("b"), Create("c"))
    plan = decide(View("a", "a", 2, {"a": GOOD, "b": Observed(2)}))
    assert plan.actions == (Delete("b"),)


def test_a_refused_spec_keeps_what_serves_and_drops_what_was_half_built() -> None:
    plan = decide(View(None, "a", 0, {"a": GOOD, "b": Observed(2)}))
    assert (plan.phase, plan.active, plan.actions) == (Phase.STABLE, "a", (Delete("b"),))
    assert plan.replicas == {"a": 2}
    plan = decide(View(None, None, 0, {}))
    assert (plan.phase, plan.active, plan.actions) == (Phase.FAILED, None, ())


def test_the_serving_revision_is_made_anew_when_somebody_deleted_it() -> None:
    plan = decide(View("a", "a", 2, {}))
    assert plan.actions == (Create("a"),)
    assert plan.active == "a"


def test_the_serving_revision_keeps_its_place_and_size_when_its_deployment_vanishes() -> None:
    plan = decide(View("b", "a", 3, {"b": Observed(3)}))
    assert (plan.active, plan.preview, plan.actions) == ("a", "b", ())
    assert plan.replicas == {"a": 3, "b": 3}
    plan = decide(View(None, "a", 3, {}))
    assert (plan.phase, plan.active, plan.replicas) == (Phase.STABLE, "a", {"a": 3})


def test_a_serving_revision_scaled_to_nothing_gets_its_pods_back() -> None:
    nothing = Observed(0)
    assert decide(View("b", "a", 2, {"a": nothing, "b": Observed(2)})).replicas == {"a": 2, "b": 2}
    assert decide(View(None, "a", 2, {"a": nothing})).replicas == {"a": 2}


@dataclass
class World:
    """A cluster as the machine sees it, in which anything may happen between two steps."""

    desired: str | None = "a"
    serving: str | None = None
    replicas: int = 2
    revisions: dict[str, Observed] = field(default_factory=dict)

    def step(self) -> Plan:
        view = View(self.desired, self.serving, self.replicas, dict(self.revisions))
        plan = decide(view)
        assert decide(view) == plan, "the same view gives the same plan"
        for name, count in plan.replicas.items():
            if name in self.revisions:
                self.revisions[name] = replace(self.revisions[name], replicas=count)
        flipped = False
        for action in plan.actions:
            match action:
                case Create(name):
                    assert name == self.desired
                    self.revisions[name] = Observed(plan.replicas[name])
                case Flip(name):
                    seen = view.revisions[name]
                    active = view.revisions.get(view.serving or "")
                    assert name == view.desired
                    assert seen.ready >= 1
                    assert seen.reporting >= seen.ready, "never to pods that do not report"
                    assert seen.ready >= view.replicas
                    assert active is None or seen.ready >= active.replicas, "never to fewer than serve"
                    self.serving, flipped = name, True
                case Delete(name):
                    assert name not in {view.serving, view.desired}, "never what serves"
                    assert name != self.serving
                    del self.revisions[name]
        if flipped:
            assert view.serving not in {a.revision for a in plan.actions if isinstance(a, Delete)}
        assert plan.active == self.serving
        return plan

    def pods_get_ready(self) -> None:
        for name, seen in self.revisions.items():
            self.revisions[name] = Observed(seen.replicas, seen.replicas, seen.replicas)


NAMES = st.sampled_from("abc")
EVENTS = st.one_of(
    st.tuples(st.just("desire"), st.one_of(NAMES, st.none())),
    st.tuples(st.just("scale"), st.integers(1, 4)),
    st.tuples(st.just("pods"), NAMES, st.integers(0, 5), st.integers(0, 5)),
    st.tuples(st.just("delete"), NAMES),
    st.tuples(st.just("forget"), st.just(0)),
    st.tuples(st.just("step"), st.just(0)),
)


def happen(world: World, event: tuple) -> None:
    match event:
        case ("desire", name):
            world.desired = name
        case ("scale", count):
            world.replicas = count
        case ("pods", name, ready, reporting) if name in world.revisions:
            world.revisions[name] = Observed(
                world.revisions[name].replicas, ready, min(ready, reporting), "something"
            )
        case ("delete", name):
            world.revisions.pop(name, None)
        case ("forget", _):
            world.serving = None
        case ("step", _):
            world.step()


@settings(max_examples=400)
@given(st.lists(EVENTS, max_size=40), st.one_of(NAMES, st.none()))
def test_whatever_happens_it_ends_with_the_desired_revision_alone(
    events: list[tuple], last: str | None
) -> None:
    world = World()
    for event in events:
        happen(world, event)
    served = world.serving
    world.desired = last
    for _ in range(6):
        world.pods_get_ready()
        plan = world.step()
    assert plan.actions == ()
    assert not plan.in_progress
    if last is None:
        assert world.serving == served
        assert set(world.revisions) <= {served}
    else:
        assert world.serving == last
        assert set(world.revisions) == {last}
        assert world.revisions[last].replicas == world.replicas
        assert plan.phase is Phase.STABLE


@settings(max_examples=200)
@given(st.lists(EVENTS, max_size=30))
def test_nothing_flips_while_no_pod_ever_gets_ready(events: list[tuple]) -> None:
    world = World(serving="a", revisions={"a": GOOD})
    for event in events:
        if event[0] in {"desire", "scale", "step"}:
            happen(world, event)
    assert world.serving == "a"
    assert "a" in world.revisions
