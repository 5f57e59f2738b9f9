"""`/metrics` from a real Envoy."""

import asyncio

import aiohttp
import orjson
import pytest
from moltbot_provider import Provider
from prometheus_client.parser import text_string_to_metric_families

from moltbot_agent.admin import Admin
from moltbot_agent.evidence import evidence
from moltbot_agent.metrics import Metrics
from moltbot_operator.reconcile.evidence import Evidence

BODY = {"model": "m", "messages": []}
BACKEND = {"route": "team/chat", "backend": "team/one"}


def samples(metrics: Metrics) -> dict:
    found = {}
    for family in text_string_to_metric_families(metrics.exposition().decode()):
        for sample in family.samples:
            found[sample.name, tuple(sorted(sample.labels.items()))] = sample.value
    return found


def value(found, name, **labels):
    return found.get((name, tuple(sorted(labels.items()))))


@pytest.fixture
async def one():
    async with Provider(name="one") as given:
        yield given


@pytest.fixture
async def gateway(make_gateway, one):
    given = make_gateway({"one": one.port})
    given.deliveries().run_once()
    async with given.envoy():
        yield given
    assert given.envoy_log == ""


@pytest.fixture
def metrics(gateway):
    deliveries = gateway.deliveries()
    deliveries.run_once()
    return Metrics(gateway.config, deliveries, Admin(gateway.admin_port))


async def ask(client, gateway) -> int:
    async with client.post(gateway.url(), json=BODY) as response:
        await response.read()
        return response.status


async def test_attempts_retries_ratio_and_latency(gateway, one, metrics, client, eventually):
    for _ in range(6):
        assert await ask(client, gateway) == 200
    await one.fault("status", status=503, count=1)
    assert await ask(client, gateway) == 200
    await one.fault("status", status=429, count=1)
    assert await ask(client, gateway) == 429
    await one.fault("reset_before_headers", count=2)
    assert await ask(client, gateway) == 503
    found = samples(metrics)
    counts = {
        code: value(found, "moltbot_attempts_total", **BACKEND, code=code)
        for code in ("1xx", "2xx", "3xx", "4xx", "5xx", "none")
    }
    assert counts == {"1xx": 0, "2xx": 7, "3xx": 0, "4xx": 1, "5xx": 1, "none": 2}
    assert value(found, "moltbot_request_success_ratio", **BACKEND) == pytest.approx(7 / 11)
    assert value(found, "moltbot_retries_total", route="team/chat") == 2
    assert value(found, "moltbot_requests_total", route="team/chat", code="2xx") == 7
    assert value(found, "moltbot_requests_total", route="team/chat", code="5xx") == 1
    assert value(found, "moltbot_agent_envoy_up", route="team/chat") == 1
    assert value(found, "moltbot_agent_credential_present", **BACKEND) == 1

    async def latency_is_merged():  # Envoy merges histograms now and then
        return value(samples(metrics), "moltbot_model_load_latency_seconds_count", **BACKEND) == 9

    await eventually(latency_is_merged, 15, "the latency histogram")
    await one.fault("delay", seconds=0.4, count=1)
    assert await ask(client, gateway) == 200

    async def slow_one_is_above_300_ms():
        found = samples(metrics)
        upto = value(found, "moltbot_model_load_latency_seconds_bucket", **BACKEND, le="0.3")
        return (upto, value(found, "moltbot_model_load_latency_seconds_count", **BACKEND)) == (9, 10)

    await eventually(slow_one_is_above_300_ms, 15, "the slow answer in its bucket")


async def test_evidence_counts_attempts_since_the_start_of_envoy(gateway, one, client, eventually):
    deliveries = gateway.deliveries()
    deliveries.run_once()

    def told():
        return evidence(gateway.config, deliveries, Admin(gateway.admin_port), b"token")

    assert told()["attempts"] == [], "a backend that was never tried is left out"
    for _ in range(3):
        assert await ask(client, gateway) == 200
    await one.fault("reset_before_headers", count=2)
    assert await ask(client, gateway) == 503
    await one.fault("delay", seconds=0.4, count=1)
    assert await ask(client, gateway) == 200

    async def latency_is_merged():
        (counted,) = told()["attempts"]
        return counted["buckets"] and counted["buckets"][-1] == [None, 4]

    await eventually(latency_is_merged, 15, "the latency histogram")
    said = told()
    (counted,) = said["attempts"]
    assert {name: counted[name] for name in ("backend", "ended", "well", "unanswered", "refused")} == {
        "backend": "team/one",
        "ended": 6,
        "well": 4,
        "unanswered": 2,
        "refused": 0,
    }
    assert [0.3, 3] in counted["buckets"]
    assert 0 <= said["envoy"]["uptimeS"] < 600
    read = Evidence.model_validate_json(orjson.dumps(said))
    assert (read.envoy.uptime_s, read.attempts[0].unanswered) == (said["envoy"]["uptimeS"], 2)
    assert read.attempts[0].buckets[-1] == (None, 4)


async def test_gauges_follow_a_request_in_flight(gateway, one, metrics, client, eventually):
    await one.fault("hang")
    with pytest.raises(TimeoutError):
        async with client.post(gateway.url(), json=BODY, timeout=aiohttp.ClientTimeout(total=1)):
            pytest.fail("a hanging provider answered")
    await one.clear()
    await one.fault("delay", seconds=5)
    asking = asyncio.create_task(ask(client, gateway))
    await eventually(lambda: one.requests.in_flight == 1, 5, "the request")
    found = samples(metrics)
    assert value(found, "moltbot_concurrent_requests", **BACKEND) == 1
    assert value(found, "moltbot_concurrent_connections", **BACKEND) >= 1
    assert value(found, "moltbot_requests_in_flight", route="team/chat") == 1
    asking.cancel()


async def test_refused_connections_are_attempts_without_an_answer(gateway, one, metrics, client):
    await one.fault("refuse")
    assert await ask(client, gateway) == 503
    found = samples(metrics)
    assert value(found, "moltbot_attempts_total", **BACKEND, code="none") == 2
    assert value(found, "moltbot_backend_connect_failures_total", **BACKEND) == 2
    assert value(found, "moltbot_request_success_ratio", **BACKEND) == 0


async def test_series_are_bounded_by_the_configuration(gateway, one, metrics, client, eventually):
    async def send(number: int) -> None:
        await one.fault("status", status=400 + number)
        async with client.get(
            gateway.url(f"/unknown/{number}"), headers={"x-model": f"m{number}"}
        ) as response:
            assert response.status == 400 + number

    await send(0)
    count = "moltbot_model_load_latency_seconds_count"
    await eventually(lambda: value(samples(metrics), count, **BACKEND) == 1, 10, "the latency histogram")
    before = samples(metrics).keys()
    for number in range(1, 20):
        await send(number)
    await eventually(lambda: value(samples(metrics), count, **BACKEND) == 20, 10, "the other requests")
    assert samples(metrics).keys() == before


async def test_without_envoy_the_agent_still_reports(make_gateway):
    gateway = make_gateway()
    deliveries = gateway.deliveries()
    deliveries.run_once()
    found = samples(Metrics(gateway.config, deliveries, Admin(gateway.admin_port)))
    assert value(found, "moltbot_agent_envoy_up", route="team/chat") == 0
    assert value(found, "moltbot_agent_info", route="team/chat", revision="abcdef0123") == 1
    assert not any(name.startswith("moltbot_attempts") for name, _ in found)
    assert any(name == "process_resident_memory_bytes" for name, _ in found)
