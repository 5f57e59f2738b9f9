"""What the agent's evidence tells of clients' calls, from a real Envoy."""

import asyncio

import httpx
import pytest
from gateway_bed import backend, keyed, route, rule, secret, serving, until
from moltbot_provider import Provider

from moltbot_agent.admin import Admin
from moltbot_agent.evidence import _requests
from moltbot_operator.compile.workloads import PROBE_KEY
from moltbot_operator.reconcile.evidence import RequestsEvidence

MINE = {"authorization": "Bearer key-of-app"}


async def told(bed):
    text = await asyncio.to_thread(Admin(bed.running.admin_port).prometheus, r"^moltbot\.")
    return RequestsEvidence.model_validate(_requests(text))


@pytest.fixture
async def bed(tmp_path):
    async with Provider(name="a") as a:
        objects = [
            route(
                rule("all", ["a"], failover={"maxRetries": 0}),
                consumers=[{**keyed("app", "a")}],
            ),
            secret("app-keys", one="key-of-app"),
            *backend("a", a.url),
        ]
        async with serving(*objects, folder=tmp_path) as running:
            running.provider = a
            yield running


async def test_calls_of_clients_are_counted_by_how_they_ended(bed):
    for _ in range(3):
        assert (await bed.chat(**MINE)).status_code == 200
    await bed.provider.fault("status", status=404)
    assert (await bed.chat(**MINE)).status_code == 404  # the backend's answer to the client's own fault
    for status in (500, 429, 401):
        await bed.provider.fault("status", status=status)
        assert (await bed.chat(**MINE)).status_code == status
    await bed.provider.fault("refuse")
    assert (await bed.chat(**MINE)).status_code == 503

    async def counted():
        found = await told(bed)
        return (found.ended, found.well) == (8, 4)

    await until(counted)


async def test_what_the_gateway_refuses_for_the_clients_fault_is_not_counted(bed):
    assert (await bed.chat()).status_code == 401
    assert (await bed.chat("/nothing", **MINE)).status_code == 404
    assert (await bed.chat(**MINE)).status_code == 200

    async def counted():
        found = await told(bed)
        return (found.ended, found.well) == (1, 1)

    await until(counted)


async def test_test_requests_are_not_counted(bed):
    key = (bed.running.folder / "probe" / PROBE_KEY).read_text()
    async with httpx.AsyncClient(base_url=bed.running.probe_url) as client:
        for _ in range(5):
            sent = {"authorization": f"Bearer {key}"}
            answer = await client.post("/v1/chat/completions", json={"model": "m"}, headers=sent)
            assert answer.status_code == 200
    await bed.chat(**MINE)

    async def counted():
        return (await told(bed)).ended > 0

    await until(counted)
    assert (await told(bed)).ended == 1


async def test_the_time_to_the_first_byte_is_told_for_good_answers(bed):
    await bed.provider.fault("slow_first_byte", seconds=0.4)
    assert (await bed.chat(**MINE)).status_code == 200
    await bed.provider.fault("refuse")
    assert (await bed.chat(**MINE)).status_code == 503

    async def counted():
        buckets = dict((await told(bed)).buckets)
        return buckets.get(None) == 1 and buckets[0.3] == 0

    await until(counted)


async def test_the_time_has_failed_attempts_in_it(tmp_path):
    async with Provider(name="a") as a, Provider(name="b") as b:
        objects = [
            route(rule("all", {"a": 1, "b": 0}, failover={"perTryTimeout": "600ms", "maxRetries": 1})),
            *backend("a", a.url),
            *backend("b", b.url),
        ]
        async with serving(*objects, folder=tmp_path) as bed:
            await a.fault("hang")
            assert (await bed.chat()).headers["x-moltbot-backend"] == "b"

            async def counted():
                buckets = dict((await told(bed)).buckets)
                return buckets.get(None) == 1 and buckets[0.5] == 0

            await until(counted)
            found = await told(bed)
            assert (found.ended, found.well) == (1, 1)
