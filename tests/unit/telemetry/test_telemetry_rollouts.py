"""Metrics of rollouts: steps are counted, phases read from status."""

from datetime import UTC, datetime, timedelta

from prometheus_client import CollectorRegistry, generate_latest

from moltbot_operator.kube.cache import Cache
from moltbot_operator.kube.kinds import MOLTBOT_ROUTE
from moltbot_operator.rollout import Phase, Plan, State
from moltbot_operator.telemetry.rollouts import PhasesCollector, RolloutMetrics

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def test_each_phase_that_is_entered_counts_and_the_end_has_its_duration() -> None:
    registry = CollectorRegistry()
    metrics = RolloutMetrics(registry)
    state = State(Phase.TESTING, "b", started_at=NOW)
    metrics.step(state, Plan(Phase.TESTING, "a", "b"), NOW)
    metrics.step(state, Plan(Phase.PROMOTING, "b", None), NOW)
    metrics.step(
        State(Phase.VERIFYING, "b", started_at=NOW), Plan(Phase.STABLE, "b", None), NOW + timedelta(seconds=8)
    )
    text = generate_latest(registry).decode()
    assert 'moltbot_rollout_transitions_total{phase="Promoting"} 1.0' in text
    assert 'moltbot_rollout_transitions_total{phase="Testing"} 0.0' in text
    assert 'moltbot_rollout_seconds_sum{result="completed"} 8.0' in text


def test_phases_are_those_of_the_status() -> None:
    cache, registry = Cache(), CollectorRegistry()
    for name, phase in (("one", "Stable"), ("two", "Paused"), ("three", "Stable")):
        cache.put(
            MOLTBOT_ROUTE,
            {
                "metadata": {"namespace": "n", "name": name, "uid": name},
                "status": {"rollout": {"phase": phase}},
            },
        )
    cache.put(MOLTBOT_ROUTE, {"metadata": {"namespace": "n", "name": "new", "uid": "new"}})
    registry.register(PhasesCollector(cache))
    text = generate_latest(registry).decode()
    assert 'moltbot_rollouts{phase="Stable"} 2.0' in text
    assert 'moltbot_rollouts{phase="Paused"} 1.0' in text
    assert 'moltbot_rollout_phase{phase="Paused",route="n/two"} 1.0' in text
    assert 'route="n/one"' not in text
