"""The HorizontalPodAutoscaler's published rules, one test or table each.

Source: https://kubernetes.io/docs/tasks/run-application/horizontal-pod-autoscale/, quoted by its headings.
"""

import math
from datetime import UTC, datetime, timedelta

import pytest

from moltbot_operator.api import Autoscaling
from moltbot_operator.autoscale import Reason, Samples, State, WorkerSample, decide

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
INSTANT = {"scaleDown": {"stabilizationWindow": "0s"}}
FREE = {"policies": [{"type": "Pods", "value": 1000, "period": "1s"}], "stabilizationWindow": "0s"}
STOPPED = {"selectPolicy": "Disabled", "stabilizationWindow": "0s"}
UNBOUND = {"scaleUp": FREE, "scaleDown": FREE}


def scaling(*, least=1, most=100, target=10, behavior=None, metrics=None, kind="InFlight"):
    return Autoscaling.model_validate(
        {
            "minReplicas": least,
            "maxReplicas": most,
            "metrics": metrics or [{"name": "load", "type": kind, "target": target}],
            "behavior": behavior or {},
        }
    )


def look(values, *, replicas=None, starting=0, silent=0, **more):
    """Ready workers with these values of `load`, `silent` ready ones without and `starting` ones."""
    workers = [WorkerSample(f"w{at}", True, {"load": value}) for at, value in enumerate(values)]
    workers += [WorkerSample(f"silent{at}", True) for at in range(silent)]
    workers += [WorkerSample(f"starting{at}", False, {"load": 1000}) for at in range(starting)]
    return Samples(len(workers) if replicas is None else replicas, tuple(workers), **more)


def replicas(policy, samples, state=None, now=NOW):
    return decide(policy, state or State(), samples, now).replicas


def run(policy, series, *, state=None, every=timedelta(seconds=15), now=NOW):
    """The number after each look; the workers follow at once, and each has the look's value."""
    current, state, numbers = series[0][0], state or State(), []
    for _, value in series:
        decision = decide(policy, state, look([value] * current), now)
        current, state, now = decision.replicas, decision.state, now + every
        numbers.append(current)
    return numbers


@pytest.mark.parametrize(
    ("values", "target", "expected"),
    [
        ([20], 10, 2),  # "if the current metric value is 200m, and the desired value is 100m, doubled"
        ([5, 5], 10, 1),  # "if the current value is instead 50m, halved"
        ([10, 10, 10], 10, 3),
        ([12, 12], 10, 3),  # ceil(2 * 1.2)
        ([30, 10], 10, 4),  # the mean counts
        ([0.1, 0.1], 0.1, 2),
        ([20 / 3] * 3, 10, 2),  # two thirds of 3, though 0.666666667 * 3 is above 2
    ],
)
def test_algorithm_details_desired_is_the_ceiling_of_ratio_times_current(values, target, expected):
    assert replicas(scaling(target=target, behavior=UNBOUND), look(values), settled()) == expected


def settled():
    """A memory in which nothing holds anything back."""
    return decide(scaling(behavior=UNBOUND), State(), look([10]), NOW - timedelta(hours=2)).state


@pytest.mark.parametrize(("value", "expected"), [(11, 10), (9, 10), (11.01, 12), (8.99, 9), (10.5, 10)])
def test_algorithm_details_within_the_tolerance_of_a_tenth_nothing_changes(value, expected):
    assert replicas(scaling(behavior=UNBOUND), look([value] * 10), settled()) == expected


def test_algorithm_details_silent_pods_count_as_all_of_the_target_going_down():
    # 2 of 4 tell 2: (2 + 2 + 10 + 10) / 40 = 0.6, and 0.6 * 4 = 2.4
    assert replicas(scaling(behavior=UNBOUND), look([2, 2], silent=2), settled()) == 3
    assert replicas(scaling(behavior=UNBOUND), look([2, 2, 2, 2]), settled()) == 1


def test_algorithm_details_silent_pods_count_as_nothing_going_up():
    # (30 + 30 + 0 + 0) / 40 = 1.5, and 1.5 * 4 = 6, not the 6 + 6 of a mean over two
    assert replicas(scaling(behavior=UNBOUND), look([30, 30], silent=2), settled()) == 6


@pytest.mark.parametrize("silent", [1, 2, 8])
def test_algorithm_details_silent_pods_count_for_nothing_at_the_target(silent):
    # Counted as idle they would ask for as many as tell: 2, with all of these busy
    assert replicas(scaling(behavior=UNBOUND), look([10, 10], silent=silent), settled()) == 2 + silent


def test_algorithm_details_silent_pods_count_as_all_of_their_requested_cpu_going_down():
    # (10 + 100) / 2 / 50 = 1.1: within the tolerance, and turned round: nothing
    policy = scaling(target=50, kind="CPU", behavior=UNBOUND)
    assert replicas(policy, look([10], silent=1), settled()) == 2


def test_algorithm_details_pods_that_are_not_ready_count_as_nothing_going_up():
    # (30 + 0 + 0) / 30 = 1: within the tolerance; without them it would be 3 for the one that is ready
    assert replicas(scaling(behavior=UNBOUND), look([30], starting=2), settled()) == 3


def test_algorithm_details_pods_that_are_not_ready_are_left_out_going_down():
    assert replicas(scaling(behavior=UNBOUND), look([5, 5], starting=2), settled()) == 1


@pytest.mark.parametrize("samples", [look([12], silent=9), look([12], starting=9)])
def test_algorithm_details_what_is_unknown_never_turns_the_direction_round(samples):
    assert replicas(scaling(behavior=UNBOUND), samples, settled()) == 10


def test_several_metrics_the_largest_proposal_counts():
    two = [
        {"name": "load", "type": "InFlight", "target": 10},
        {"name": "queue", "type": "QueueDepth", "target": 5},
    ]
    samples = look([1, 1], totals={"queue": 33})
    assert replicas(scaling(metrics=two, behavior=UNBOUND), samples, settled()) == 7


def test_several_metrics_an_error_of_any_forbids_going_down_and_not_up():
    two = [
        {"name": "load", "type": "InFlight", "target": 10},
        {"name": "queue", "type": "QueueDepth", "target": 5},
    ]
    policy = scaling(metrics=two, behavior=UNBOUND)
    down = decide(policy, settled(), look([1, 1], errors={"queue": "the store is away"}), NOW)
    assert (down.replicas, down.reason) == (2, Reason.NO_DATA)
    assert "the store is away" in down.message
    assert replicas(policy, look([40, 40], errors={"queue": "the store is away"}), settled()) == 8


@pytest.mark.parametrize(
    "samples",
    [
        look([]),
        look([], silent=3),
        look([], starting=3),
        look([math.nan] * 3),
        look([math.inf, -1, 1e300]),
        look([3] * 3, errors={"load": "no pod answers"}),
        Samples(3, totals={"load": math.nan}),
    ],
)
def test_no_data_means_hold(samples):
    decision = decide(scaling(behavior=UNBOUND), settled(), Samples(**{**vars(samples), "replicas": 3}), NOW)
    assert (decision.replicas, decision.reason) == (3, Reason.NO_DATA)


def test_a_pod_that_lies_counts_as_one_that_says_nothing():
    # (10 + 10 + 0) / 30 = 0.67 would ask for fewer although nobody measured less
    assert replicas(scaling(behavior=UNBOUND), look([10, 10, math.nan]), settled()) == 3
    assert replicas(scaling(behavior=UNBOUND), look([10, 10, math.inf, -1]), settled()) == 4


def test_after_an_outage_of_metrics_nothing_goes_before_a_window_is_over():
    policy = scaling()
    state, now = settled(), NOW
    state = decide(policy, state, look([], silent=8), now).state
    for _ in range(19):
        now += timedelta(seconds=15)
        decision = decide(policy, state, look([1] * 8), now)
        state = decision.state
        assert decision.replicas == 8
    assert decide(policy, state, look([1] * 8), now + timedelta(seconds=16)).replicas == 1


def test_stabilization_window_down_is_five_minutes_by_default_and_takes_the_largest_recommendation():
    """scaleDown: stabilizationWindowSeconds: 300."""
    quiet = run(scaling(behavior={"scaleUp": FREE}), [(10, 1)] * 25)
    assert quiet[:20] == [10] * 20
    assert quiet[20:] == [1] * 5
    dip = [(10, 1)] * 10 + [(0, 8)] + [(0, 1)] * 19
    assert run(scaling(behavior={"scaleUp": FREE}), dip)[20:] == [8] * 10


def test_stabilization_window_up_is_none_by_default_and_takes_the_least_recommendation_if_given():
    """scaleUp: stabilizationWindowSeconds: 0."""
    assert run(scaling(), [(2, 20)]) == [4]
    slow = {"scaleUp": {**FREE, "stabilizationWindow": "1m"}, "scaleDown": FREE}
    assert run(scaling(behavior=slow), [(2, 20)] * 5) == [2, 2, 2, 2, 4]


@pytest.mark.parametrize(
    ("rules", "current", "expected"),
    [
        ({}, 1, [5, 10, 20, 40]),  # default: the larger of 4 pods and 100 percent in 15 s
        ({}, 10, [20, 40, 80, 100]),
        ({"policies": [{"type": "Pods", "value": 3, "period": "15s"}]}, 2, [5, 8, 11, 14]),
        ({"policies": [{"type": "Percent", "value": 10, "period": "15s"}]}, 10, [11, 13, 15, 17]),
        ({"policies": [{"type": "Percent", "value": 50, "period": "15s"}]}, 1, [2, 3, 5, 8]),
        ({"policies": [{"type": "Pods", "value": 3, "period": "30s"}]}, 2, [5, 5, 8, 8]),
        (
            {
                "selectPolicy": "Min",
                "policies": [
                    {"type": "Pods", "value": 4, "period": "15s"},
                    {"type": "Percent", "value": 10, "period": "15s"},
                ],
            },
            10,
            [11, 13, 15, 17],
        ),
        ({"selectPolicy": "Disabled"}, 4, [4, 4, 4, 4]),
    ],
)
def test_scaling_policies_bound_what_is_added_in_a_period(rules, current, expected):
    assert run(scaling(behavior={"scaleUp": rules}), [(current, 1000)] * 4) == expected


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ({}, [1, 1, 1, 1]),  # default: 100 percent in 15 s
        ({"policies": [{"type": "Pods", "value": 4, "period": "60s"}]}, [76, 76, 76, 76]),
        (
            {
                # the documentation's example: 80 → 72 by 10 percent, then 5 pods once 10 percent are fewer
                "policies": [
                    {"type": "Pods", "value": 4, "period": "15s"},
                    {"type": "Percent", "value": 10, "period": "15s"},
                ]
            },
            [72, 64, 57, 51],
        ),
        (
            {
                "selectPolicy": "Min",
                "policies": [
                    {"type": "Pods", "value": 4, "period": "15s"},
                    {"type": "Percent", "value": 10, "period": "15s"},
                ],
            },
            [76, 72, 68, 64],
        ),
        ({"selectPolicy": "Disabled"}, [80, 80, 80, 80]),
    ],
)
def test_scaling_policies_bound_what_is_removed_in_a_period(rules, expected):
    behavior = {"scaleDown": {**rules, "stabilizationWindow": "0s"}}
    assert run(scaling(behavior=behavior), [(80, 0.01)] * 4, state=settled()) == expected


def test_min_and_max_hold_always():
    policy = scaling(least=3, most=6, behavior=UNBOUND)
    assert replicas(policy, look([1000] * 5), settled()) == 6
    assert replicas(policy, look([0] * 5), settled()) == 3
    assert replicas(policy, look([], silent=9), settled()) == 6
    assert replicas(policy, look([], silent=1), settled()) == 3


def test_no_load_leaves_one_worker_since_none_would_measure_nothing():
    assert replicas(scaling(least=0, behavior=UNBOUND), look([0, 0]), settled()) == 1


def test_somebody_who_sets_zero_switches_scaling_off():
    decision = decide(scaling(behavior=UNBOUND), settled(), Samples(0, totals={"load": 1000}), NOW)
    assert (decision.replicas, decision.reason) == (0, Reason.OFF)


def test_a_rollout_holds_what_would_go_and_nothing_else():
    held = {"held": "a rollout is under way"}
    down = decide(scaling(behavior=UNBOUND), settled(), look([1, 1], **held), NOW)
    assert (down.replicas, down.reason) == (2, Reason.HELD)
    assert "a rollout is under way" in down.message
    assert replicas(scaling(behavior=UNBOUND), look([20, 20], **held), settled()) == 4


def test_after_a_restart_nothing_goes_for_a_window():
    numbers = run(scaling(behavior={"scaleDown": {"stabilizationWindow": "1m"}}), [(9, 0)] * 6)
    assert numbers == [9, 9, 9, 9, 1, 1]


@pytest.mark.parametrize(
    ("samples", "policy", "reason", "said"),
    [
        (look([30]), {}, Reason.SCALED_UP, "from 1 to 3 (3 wanted): load is 30 a worker over 1, target 10"),
        (look([1, 1]), {"behavior": UNBOUND}, Reason.SCALED_DOWN, "from 2 to 1 (1 wanted)"),
        (look([10]), {}, Reason.STEADY, "stays at 1 (1 wanted)"),
        (look([40] * 4), {"most": 4}, Reason.BOUND, "stays at 4 (16 wanted)"),
        (look([1] * 4), {"behavior": {"scaleDown": STOPPED}}, Reason.LIMITED, "stays at 4 (1 wanted)"),
    ],
)  # fmt: skip
def test_the_reason_tells_the_figures(samples, policy, reason, said):
    decision = decide(scaling(**policy), settled(), samples, NOW)
    assert decision.reason is reason
    assert decision.message.startswith(said)


def test_a_number_that_waits_for_its_window_says_so():
    assert decide(scaling(), State(), look([1] * 4), NOW).reason is Reason.WINDOW


def test_without_metrics_requests_in_flight_count():
    policy = Autoscaling.model_validate({"maxReplicas": 9})
    samples = Samples(2, tuple(WorkerSample(n, True, {"in-flight": 100}) for n in "ab"))
    assert decide(policy, settled(), samples, NOW).replicas == 4
