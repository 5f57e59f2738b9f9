"""What holds for the scaler whatever the load."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from moltbot_operator.api import Autoscaling
from moltbot_operator.autoscale import Samples, State, WorkerSample, decide

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
EVERY = timedelta(seconds=15)
QUICK = settings(max_examples=150, deadline=None)

values = st.one_of(
    st.floats(0, 1e6, allow_nan=False), st.just(float("nan")), st.just(-1.0), st.just(float("inf"))
)
workers = st.lists(st.tuples(st.booleans(), st.one_of(st.none(), values)), max_size=12)
directions = st.fixed_dictionaries(
    {
        "selectPolicy": st.sampled_from(["Max", "Min", "Disabled"]),
        "stabilizationWindow": st.sampled_from(["0s", "15s", "1m", "5m"]),
        "policies": st.lists(
            st.fixed_dictionaries(
                {
                    "type": st.sampled_from(["Pods", "Percent"]),
                    "value": st.integers(1, 200),
                    "period": st.sampled_from(["15s", "1m"]),
                }
            ),
            max_size=2,
        ),
    }
)


@st.composite
def policies(draw):
    least = draw(st.integers(0, 10))
    return Autoscaling.model_validate(
        {
            "minReplicas": least,
            "maxReplicas": draw(st.integers(max(1, least), 40)),
            "metrics": [{"name": "load", "type": "InFlight", "target": draw(st.floats(0.5, 100))}],
            "behavior": {"scaleUp": draw(directions), "scaleDown": draw(directions)},
        }
    )


def samples(replicas, pods):
    return Samples(
        replicas,
        tuple(
            WorkerSample(str(at), ready, {} if value is None else {"load": value})
            for at, (ready, value) in enumerate(pods)
        ),
    )


@QUICK
@given(policies(), st.integers(1, 60), st.lists(workers, min_size=1, max_size=6))
def test_the_number_stays_within_its_bounds_and_never_becomes_zero(policy, replicas, looks):
    state, now = State(), NOW
    for pods in looks:
        decision = decide(policy, state, samples(replicas, pods), now)
        assert max(1, policy.min_replicas) <= decision.replicas <= policy.max_replicas
        replicas, state, now = decision.replicas, decision.state, now + EVERY


@QUICK
@given(policies(), st.integers(1, 12), st.floats(0, 1e5), st.floats(0, 1e5))
def test_more_load_never_asks_for_fewer_workers(policy, replicas, one, other):
    less, more = sorted((one, other))
    few, many = (
        decide(policy, State(), samples(replicas, [(True, value)] * replicas), NOW).replicas
        for value in (less, more)
    )
    assert few <= many


@QUICK
@given(policies(), workers, st.integers(1, 40))
def test_the_same_look_gives_the_same_decision(policy, pods, replicas):
    assert decide(policy, State(), samples(replicas, pods), NOW) == decide(
        policy, State(), samples(replicas, pods), NOW
    )


@QUICK
@given(policies(), st.integers(1, 40), st.lists(workers, min_size=1, max_size=4))
def test_without_any_believable_value_the_number_stays_once_it_is_within_its_bounds(policy, replicas, looks):
    replicas = min(max(replicas, 1, policy.min_replicas), policy.max_replicas)
    state, now = State(), NOW
    for pods in looks:
        nothing = [(ready, None) for ready, _ in pods]
        decision = decide(policy, state, samples(replicas, nothing), now)
        assert decision.replicas == replicas
        state, now = decision.state, now + EVERY


@QUICK
@given(
    st.floats(1, 500),
    st.integers(1, 30),
    st.floats(-0.04, 0.04),
    st.lists(st.floats(-1, 1), min_size=30, max_size=30),
)
def test_a_load_that_hardly_varies_never_goes_down_and_up_again(load, start, drift, noise):
    """Constant load with noise of 4 percent: nothing is taken and then given again."""
    policy = Autoscaling.model_validate(
        {"maxReplicas": 60, "metrics": [{"name": "load", "type": "InFlight", "target": 10}]}
    )
    replicas, state, now, numbers = start, State(), NOW, []
    for each in noise * 3:
        value = load * (1 + drift + 0.04 * each) / replicas
        decision = decide(policy, state, samples(replicas, [(True, value)] * replicas), now)
        replicas, state, now = decision.replicas, decision.state, now + EVERY
        numbers.append(replicas)
    turns = [b - a for a, b in pairwise(numbers) if a != b]
    assert not any(one < 0 < other for one, other in pairwise(turns))


@QUICK
@given(policies(), st.integers(1, 20), st.lists(st.floats(0, 1e4), min_size=2, max_size=40))
def test_what_is_remembered_stays_bounded(policy, replicas, loads):
    state, now = State(), NOW
    for load in loads:
        decision = decide(policy, state, samples(replicas, [(True, load)]), now)
        replicas, state, now = decision.replicas, decision.state, now + EVERY
    assert len(state.recommendations) <= 300 // 15 + 2
    assert len(state.changes) <= 60 // 15 + 1
