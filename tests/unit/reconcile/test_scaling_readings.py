"""What a worker says of itself, what that is as a measure, and what is unusable."""

from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest
from aiohttp import web
from hypothesis import given, settings
from hypothesis import strategies as st

from moltbot_operator.api import Autoscaling, ScaleMetric
from moltbot_operator.reconcile.scaling.http import HttpLoad, LoadUnavailable
from moltbot_operator.reconcile.scaling.look import look
from moltbot_operator.reconcile.scaling.readings import Reading, depth_of, read, value_of
from moltbot_worker.metrics import Metrics

START = datetime(2026, 1, 1, tzinfo=UTC)
LATER = START + timedelta(seconds=10)

TEXT = """\
moltbot_worker_in_flight 7
moltbot_worker_requests_total{rule="a",code="2xx"} 30
moltbot_worker_requests_total{rule="b",code="5xx"} 10
process_cpu_seconds_total 2.5
moltbot_worker_queue_depth{queue="default"} 4
moltbot_worker_queue_depth{queue="slow"} 5
moltbot_worker_request_duration_seconds_bucket{rule="a",le="0.1"} 90
moltbot_worker_request_duration_seconds_bucket{rule="a",le="1.0"} 100
moltbot_worker_request_duration_seconds_bucket{rule="a",le="+Inf"} 100
"""


def metric(kind, target=1.0, **more):
    return ScaleMetric.model_validate({"name": kind.lower(), "type": kind, "target": target, **more})


def test_rules_codes_and_queues_are_added_up():
    reading = read(TEXT, START)
    assert (reading.in_flight, reading.requests, reading.cpu_seconds, reading.depth) == (7, 40, 2.5, 9)
    assert reading.buckets == {0.1: 90, 1.0: 100, float("inf"): 100}


def test_the_names_are_those_that_workers_have():
    reading = read(Metrics("r1").exposition().decode(), START)
    assert (reading.in_flight, reading.requests) == (0, 0)
    assert reading.cpu_seconds is not None


@pytest.mark.parametrize(
    ("kind", "expected"),
    [("InFlight", 7), ("RequestsPerSecond", 4), ("CPU", 250), ("LatencyP95", 550)],
)
def test_measures_between_two_looks(kind, expected):
    before = Reading(START, in_flight=1, requests=0, cpu_seconds=0, buckets={})
    assert value_of(metric(kind), before, read(TEXT, LATER)) == pytest.approx(expected)


@pytest.mark.parametrize("kind", ["RequestsPerSecond", "CPU", "LatencyP95"])
def test_a_first_look_and_a_counter_that_went_back_say_nothing(kind):
    now = read(TEXT, LATER)
    began_anew = Reading(START, requests=900, cpu_seconds=900, buckets={0.1: 900.0})
    assert value_of(metric(kind), None, now) is None
    assert value_of(metric(kind), began_anew, now) is None


def test_the_queue_is_one_for_all_workers_and_unknown_where_none_knows_it():
    assert depth_of([Reading(START, depth=3), Reading(START), Reading(START, depth=5)]) == 5
    assert depth_of([Reading(START)]) is None


def test_a_worker_that_lies_about_the_queue_is_not_listened_to():
    lies = [Reading(START, depth=depth) for depth in (1e300, float("nan"), float("inf"), -1.0)]
    assert depth_of([*lies, Reading(START, depth=5), *lies]) == 5
    assert depth_of(lies) is None


PARTS = [
    *TEXT.splitlines(keepends=True),
    "#",
    "{",
    "}",
    '"',
    "\\",
    ",",
    "=",
    " ",
    "\n",
    "NaN",
    "-1",
    "1e999",
    "\0",
]


@settings(max_examples=300, deadline=None)
@given(before=st.lists(st.sampled_from(PARTS)), now=st.lists(st.sampled_from(PARTS)))
def test_whatever_a_worker_says_is_a_reading_or_no_text_of_metrics(before, now):
    try:
        readings = read("".join(before), START), read("".join(now), LATER)
    except ValueError:
        return
    for kind in ("InFlight", "RequestsPerSecond", "CPU", "LatencyP95"):
        value_of(metric(kind), *readings)


@pytest.mark.parametrize("line", ['m{, ="0.1"} 4', "moltbot_worker_request_duration_seconds_bucket 1"])
def test_what_the_parser_stumbles_over_is_no_text_of_metrics(line):
    with pytest.raises(ValueError, match="Error: "):
        read(f"{line}\n", START)


@asynccontextmanager
async def server(answer, status=200):
    async def handle(_request):
        return web.Response(text=answer, status=status)

    app = web.Application()
    app.router.add_get("/{path:.*}", handle)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


def pod(name="a", *, address="127.0.0.1", ready=True):
    status = {"conditions": [{"type": "Ready", "status": str(ready)}]}
    return {"metadata": {"uid": name, "name": name}, "status": {**status, "podIP": address}}


async def test_a_look_reads_real_answers_and_names_what_fails():
    scaling = Autoscaling.model_validate(
        {
            "maxReplicas": 9,
            "metrics": [
                {"name": "busy", "type": "InFlight", "target": 5},
                {"name": "jobs", "type": "QueueDepth", "target": 5},
            ],
        }
    )
    memory = {"gone": Reading(START)}
    async with server(TEXT) as port:
        load = HttpLoad(port)
        pods = [pod("a"), pod("b", address="", ready=False)]
        found = await look(load, scaling, pods, memory, replicas=2, now=START, held="")
        await load.close()
    assert set(memory) == {"a"}
    assert [each.values for each in found.workers] == [{"busy": 7}, {}]
    assert [each.ready for each in found.workers] == [True, False]
    assert (found.totals, found.errors) == ({"jobs": 9}, {})
    async with server("broken", 500) as port:
        load = HttpLoad(port)
        found = await look(load, scaling, [pod("a")], memory, replicas=1, now=LATER, held="")
        await load.close()
    assert found.totals == {}
    assert set(found.errors) == {"jobs"}
    assert [each.values for each in found.workers] == [{}]


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ('{"data":{"resultType":"scalar","result":[1,"4.5"]}}', 4.5),
        ('{"data":{"resultType":"vector","result":[{"value":[1,"3"]}]}}', 3),
    ],
)
async def test_prometheus_gives_one_number(answer, expected):
    async with server(answer) as port:
        load = HttpLoad()
        asked = metric("Prometheus", query="up", url=f"http://127.0.0.1:{port}/")
        assert await load.prometheus(asked) == expected
        await load.close()


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        ('{"data":{"resultType":"vector","result":[]}}', 200),
        ('{"data":{"resultType":"vector","result":[{"value":[1,"3"]},{"value":[1,"4"]}]}}', 200),
        ("no JSON", 200),
        ("[]", 200),
        ("", 503),
    ],
)
async def test_everything_else_is_no_figure(answer, status):
    async with server(answer, status) as port:
        load = HttpLoad()
        with pytest.raises(LoadUnavailable):
            await load.prometheus(metric("Prometheus", query="up", url=f"http://127.0.0.1:{port}"))
        await load.close()
