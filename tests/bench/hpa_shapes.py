"""Loads that both scalers get, and how each is to be scaled: what `make bench-autoscale` compares by.

A series is a recording: (second, value) in all, linear between two points. Windows and periods are no
multiples of the sync period, so that no look is exactly at the edge of one.
"""

import itertools
from bisect import bisect_right
from dataclasses import dataclass, field

from moltbot_operator.api import Autoscaling

SECONDS = 66
"""How long each load is."""

TARGET = 10
IN_FLIGHT = {"name": "in-flight", "type": "InFlight", "target": TARGET}
QUEUE = {"name": "queue", "type": "QueueDepth", "target": TARGET}


@dataclass(frozen=True)
class Shape:
    """One load."""

    name: str
    scaling: Autoscaling
    series: dict[str, tuple[tuple[float, float], ...]]
    """By the metric's name."""
    workers: int
    """At the beginning."""
    outages: dict[str, tuple[tuple[float, float], ...]] = field(default_factory=dict)
    """When a metric cannot be had, by its name."""
    silent: tuple[tuple[float, float, int], ...] = ()
    """(from, until, workers that run and tell nothing)."""
    start: float = 0
    """Seconds from a worker's creation until it runs."""
    holds: tuple[tuple[float, float], ...] = ()
    """When our scaler keeps more workers than the HPA on purpose (docs/scaling.md)."""

    def total(self, metric, at):
        """The metric over all workers at a second; None while it cannot be had."""
        if any(begin <= at < end for begin, end in self.outages.get(metric, ())):
            return None
        points = self.series[metric]
        after = bisect_right(points, at, key=lambda point: point[0])
        if after == 0 or after == len(points):
            return points[min(after, len(points) - 1)][1]
        (begin, low), (end, high) = points[after - 1], points[after]
        return low + (high - low) * (at - begin) / (end - begin)

    def told(self, metric, at, workers):
        """Name of each worker that runs and tells -> its value, to a thousandth; all bear the same."""
        quiet = sum(count for begin, end, count in self.silent if begin <= at < end)
        return {name: round(self.total(metric, at) / len(workers), 3) for name in sorted(workers)[quiet:]}


def scaling(metrics, up=(), down=(), *, window_up=0, window_down=5, least=1, most=24, select="Max"):
    def rules(policies, window):
        listed = [{"type": kind, "value": value, "period": f"{s}s"} for kind, value, s in policies]
        return {"policies": listed, "stabilizationWindow": f"{window}s", "selectPolicy": select}

    return Autoscaling.model_validate(
        {
            "minReplicas": least,
            "maxReplicas": most,
            "metrics": metrics,
            "behavior": {"scaleUp": rules(up, window_up), "scaleDown": rules(down, window_down)},
        }
    )


def levels(*pairs):
    """A series of levels, each from a second on."""
    held = [((at, value), (until, value)) for (at, value), (until, _) in itertools.pairwise(pairs)]
    return (*itertools.chain.from_iterable(held), pairs[-1])


FREE = (("Pods", 1000, 1),)
USUAL = (("Percent", 100, 8), ("Pods", 4, 8))
RECORDED = (
    101, 96, 104, 99, 92, 107, 95, 103, 98, 105, 93, 100, 106, 97, 102, 94,
    131, 78, 119, 88, 142, 97, 70, 125, 108, 64, 137, 91, 116, 83, 128, 102, 75,
)  # fmt: skip
"""Each two seconds: within the tolerance first, beyond it then."""

SHAPES = (
    Shape(
        "step",
        scaling([IN_FLIGHT], USUAL),
        {"in-flight": levels((0, 20), (10, 200), (44, 20))},
        2,
    ),
    Shape(
        "ramp",
        scaling([IN_FLIGHT], FREE, (("Percent", 50, 4),)),
        {"in-flight": ((0, 20), (6, 20), (36, 220), (50, 40), (60, 40))},
        2,
    ),
    Shape(
        "spike",
        scaling([IN_FLIGHT], FREE, window_down=10),
        {"in-flight": levels((0, 47), (14, 196), (17, 47), (40, 88), (42, 47))},
        5,
    ),
    Shape(
        "decay",
        scaling([IN_FLIGHT], USUAL, (("Percent", 20, 5), ("Pods", 2, 7)), window_down=4),
        {"in-flight": tuple((2 * at, 200 * 0.7**at) for at in range(33))},
        20,
    ),
    Shape(
        "noise",
        scaling([IN_FLIGHT], FREE, window_down=4),
        {"in-flight": tuple((2 * at, value) for at, value in enumerate(RECORDED))},
        10,
    ),
    Shape(
        "metric outage, more load after it",
        scaling([IN_FLIGHT], USUAL),
        {"in-flight": levels((0, 60), (16, 150), (48, 70))},
        6,
        outages={"in-flight": ((11, 26),)},
    ),
    Shape(
        "metric outage, less load after it",
        scaling([IN_FLIGHT], USUAL),
        {"in-flight": levels((0, 120), (16, 30))},
        12,
        outages={"in-flight": ((11, 26),)},
        holds=((26, 26 + 5 + 3),),
    ),
    Shape(
        "queue, its length in all",
        scaling([QUEUE], USUAL, (("Pods", 3, 4),)),
        {"queue": ((0, 10), (8, 10), (9, 180), (30, 150), (45, 0))},
        1,
    ),
    Shape(
        "two metrics, one out",
        scaling([IN_FLIGHT, QUEUE], FREE),
        {
            "in-flight": levels((0, 80), (14, 30), (30, 160), (46, 30)),
            "queue": levels((0, 60), (24, 110), (52, 20)),
        },
        8,
        outages={"queue": ((10, 34),)},
    ),
    Shape(
        "workers that start slowly",
        scaling([IN_FLIGHT], FREE, window_down=0),
        # Less already while most start: those that run have too much still, and none may go for that.
        {"in-flight": levels((0, 40), (10, 170), (13, 60), (40, 120), (55, 60))},
        4,
        start=7,
    ),
    Shape(
        "silent workers",
        scaling([IN_FLIGHT], FREE),
        {"in-flight": levels((0, 80), (16, 52), (28, 140), (40, 140), (52, 60))},
        8,
        silent=((8, 60, 3),),
    ),
    Shape(
        "bounds and the slowest policy",
        scaling(
            [IN_FLIGHT],
            (("Percent", 50, 7), ("Pods", 3, 4)),
            (("Percent", 30, 7), ("Pods", 3, 4)),
            least=3,
            most=15,
            select="Min",
        ),
        {"in-flight": levels((0, 30), (9, 210), (38, 5))},
        3,
    ),
)
