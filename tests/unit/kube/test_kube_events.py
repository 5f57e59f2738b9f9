# ruff: noqa: ARG002 - stand-ins have the signatures of what they stand for

import pytest

from moltbot_operator.errors import ClusterError, NotFound
from moltbot_operator.kube.events import MAX_NOTE, WINDOW, EventRecorder, RateBound

ROUTE = {
    "apiVersion": "moltbot.io/v1alpha1",
    "kind": "MoltBotRoute",
    "metadata": {"name": "chat", "namespace": "team", "uid": "u1", "resourceVersion": "7"},
}
GONE_WRONG = {
    "type": "Warning",
    "reason": "Rejected",
    "action": "Compile",
    "message": "rule a: no candidates",
}


class Api:
    def __init__(self):
        self.created, self.merged = [], []
        self.error = None

    async def create(self, manifest):
        if self.error:
            raise self.error
        self.created.append(manifest)
        return manifest

    async def merge(self, kind, namespace, name, patch):
        if self.error:
            raise self.error
        self.merged.append((namespace, name, patch["series"]["count"]))
        return patch


class Bench:
    def __init__(self, bound=None):
        self.api, self.now = Api(), 0.0
        self.recorder = EventRecorder(self.api, instance="pod-1", bound=bound, clock=lambda: self.now)

    async def record(self, times=1, regarding=ROUTE, **changes):
        for _ in range(times):
            await self.recorder.record(regarding, **{**GONE_WRONG, **changes})


@pytest.fixture
def bench():
    return Bench()


async def test_an_event_has_what_the_api_demands(bench):
    await bench.record()
    (event,) = bench.api.created
    assert event["apiVersion"] == "events.k8s.io/v1"
    assert event["metadata"]["namespace"] == "team"
    assert event["metadata"]["name"].startswith("chat.")
    assert event["eventTime"].endswith("Z")
    assert event["reportingInstance"] == "pod-1"
    assert event["regarding"]["uid"] == "u1"
    assert (event["type"], event["reason"], event["action"]) == ("Warning", "Rejected", "Compile")
    assert event["note"] == "rule a: no candidates"


async def test_a_thousand_repeats_are_one_object_and_a_handful_of_writes(bench):
    await bench.record(times=1000)
    assert len(bench.api.created) == 1
    assert [count for _, _, count in bench.api.merged] == [2, 4, 8, 16, 32, 64, 128, 256, 512]
    assert {name for _, name, _ in bench.api.merged} == {bench.api.created[0]["metadata"]["name"]}


async def test_what_differs_is_an_event_of_its_own(bench):
    await bench.record()
    await bench.record(message="rule b: no candidates")
    await bench.record(reason="Other")
    await bench.record(regarding={**ROUTE, "metadata": {**ROUTE["metadata"], "uid": "u2"}})
    assert len(bench.api.created) == 4
    assert bench.api.merged == []


async def test_after_a_quiet_time_it_is_news_again(bench):
    await bench.record()
    bench.now += WINDOW.total_seconds() - 1
    await bench.record()
    bench.now += WINDOW.total_seconds() - 1
    await bench.record()
    assert len(bench.api.created) == 1, "it never was quiet for long"
    bench.now += WINDOW.total_seconds()
    await bench.record()
    assert len(bench.api.created) == 2


async def test_a_storm_is_bounded_and_counted():
    bench = Bench(RateBound(burst=10, per_second=1))
    for number in range(100):
        await bench.record(message=f"fault {number}")
    assert len(bench.api.created) == 10
    assert bench.recorder.dropped == 90
    bench.now += 5
    for number in range(100, 200):
        await bench.record(message=f"fault {number}")
    assert len(bench.api.created) == 15


async def test_a_refusal_is_counted_and_not_raised(bench):
    bench.api.error = ClusterError("403: forbidden", 403)
    await bench.record()
    assert bench.recorder.dropped == 1
    bench.api.error = None
    await bench.record()
    assert len(bench.api.created) == 1, "it is tried anew, not counted into an event that isn't there"


async def test_an_expired_event_starts_anew(bench):
    await bench.record()
    bench.api.error = NotFound("expired", 404)
    await bench.record()
    bench.api.error = None
    await bench.record()
    assert len(bench.api.created) == 2


async def test_long_texts_and_names_are_cut(bench):
    meta = {"name": "n" * 300, "namespace": "team"}
    await bench.record(regarding={**ROUTE, "metadata": meta}, message="m" * 5000)
    (event,) = bench.api.created
    assert len(event["note"]) == MAX_NOTE
    assert len(event["metadata"]["name"]) == 253


async def test_what_is_remembered_is_bounded():
    bench = Bench(RateBound(burst=1e9))
    for number in range(5000):
        await bench.record(message=f"fault {number}")
    assert len(bench.recorder._series) <= 2001


def test_the_rate_bound_earns_over_time():
    bound = RateBound(burst=2, per_second=0.5)
    taken = [bound.take(now) for now in (0, 0, 0, 1, 2, 2, 100, 100, 100)]
    assert taken == [True, True, False, False, True, False, True, True, False]
