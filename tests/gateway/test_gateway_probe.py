"""Test requests of the operator: a listener and a key of their own, and nothing that a client could feign."""

import asyncio

import httpx
import pytest
from gateway_bed import backend, keyed, route, rule, secret, serving, until
from moltbot_provider import Provider

from moltbot_operator.compile.workloads import PROBE_KEY

QUICK = {"backoff": {"base": "1ms", "max": "5ms"}}
LIMITED = {**keyed("app", "a"), "limits": {"requestsPerSecond": 1, "burst": 1}}
CHAT = "/v1/chat/completions"
BODY = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}]}


def key_of(bed):
    return (bed.running.folder / "probe" / PROBE_KEY).read_text()


async def probe(bed, path=CHAT, key=None, **headers):
    sent = {"authorization": f"Bearer {key_of(bed) if key is None else key}", **headers}
    async with httpx.AsyncClient(base_url=bed.running.probe_url, timeout=30) as client:
        return await client.post(path, json=BODY, headers=sent)


@pytest.fixture
async def provider():
    async with Provider(name="a", expect={"authorization": "Bearer key-a"}) as provider:
        yield provider


def closed(provider, **more):
    """One rule, for one consumer with a key and a limit."""
    return [
        route(rule("all", ["a"], failover=QUICK), consumers=[LIMITED], **more),
        secret("app-keys", one="key-of-app"),
        *backend("a", provider.url, key="key-a"),
    ]


async def test_passes_without_a_consumers_key_and_is_marked_in_the_audit(provider, tmp_path):
    async with serving(*closed(provider), folder=tmp_path) as bed:
        answer = await probe(bed)
        assert (answer.status_code, answer.headers["x-moltbot-rule"]) == (200, "all")
        record = await bed.record(answer)
        assert (record["consumer"], record["rule"], record["status"]) == ("(probe)", "all", 200)
        assert provider.requests[0].credentials == {"authorization": ["Bearer key-a"]}
        log = tmp_path / "access.log"
        assert key_of(bed) not in log.read_text()


async def test_is_kept_out_of_consumers_limits_and_of_what_is_counted_of_clients(provider, tmp_path):
    async with serving(*closed(provider), folder=tmp_path) as bed:
        answers = await asyncio.gather(*(probe(bed) for _ in range(20)))
        assert {answer.status_code for answer in answers} == {200}
        mine = {"authorization": "Bearer key-of-app"}
        assert (await bed.chat(**mine)).status_code == 200
        assert (await bed.chat(**mine)).status_code == 429

        async def counted():
            text = (await bed.client.get(f"http://127.0.0.1:{bed.running.metrics_port}/metrics")).text
            lines = [line for line in text.splitlines() if line.startswith("moltbot_consumer_requests_total")]
            seen = {line.split("consumer=")[1].split('"')[1]: float(line.split()[-1]) for line in lines}
            assert set(seen) <= {"app"}
            return sum(float(line.split()[-1]) for line in lines) == 2

        await until(counted)


@pytest.mark.parametrize("key", ["none", "wrong", "key-of-app"])
async def test_nobody_passes_without_the_probes_key(provider, tmp_path, key):
    async with serving(*closed(provider), folder=tmp_path) as bed:
        answer = await probe(bed, key=key)
        assert answer.status_code == 401
        assert answer.json()["error"]["code"] == "invalid_api_key"
        assert not provider.requests


async def test_the_probes_key_opens_nothing_at_the_public_listener(provider, tmp_path):
    async with serving(*closed(provider), folder=tmp_path) as bed:
        answer = await bed.chat(authorization=f"Bearer {key_of(bed)}", x_moltbot_drill="all/a")
        assert answer.status_code == 401
        spoofed = await bed.chat(x_mb_consumer="(probe)", x_moltbot_consumer="(probe)")
        assert spoofed.status_code == 401
        assert not provider.requests


async def test_a_changed_key_is_picked_up_and_the_old_one_ends(provider, tmp_path):
    async with serving(*closed(provider), folder=tmp_path) as bed:
        old = key_of(bed)
        (bed.running.folder / "probe" / PROBE_KEY).write_text("another-key")

        async def changed():
            return (await probe(bed)).status_code == 200

        await until(changed)
        assert (await probe(bed, key=old)).status_code == 401
        (bed.running.folder / "probe" / PROBE_KEY).unlink()

        async def closed_again():
            return (await probe(bed, key="another-key")).status_code == 401

        await until(closed_again)


async def test_a_route_that_is_closed_to_everybody_can_be_tested(provider, tmp_path):
    objects = [route(rule("all", ["a"]), consumers=[]), *backend("a", provider.url, key="key-a")]
    async with serving(*objects, folder=tmp_path) as bed:
        assert (await bed.chat()).status_code >= 400
        assert (await probe(bed)).status_code == 200


async def test_a_client_can_not_have_a_backend_cut_off(provider, tmp_path):
    async with Provider(name="b") as other:
        objects = [
            route(rule("all", ["a"], ["b"], failover=QUICK), rollout={"testing": {"faultDrill": True}}),
            *backend("a", provider.url, key="key-a"),
            *backend("b", other.url),
        ]
        async with serving(*objects, folder=tmp_path) as bed:
            answer = await bed.chat(x_moltbot_drill="all/a")
            assert answer.headers["x-moltbot-backend"] == "a"
            assert "x-moltbot-drill" not in answer.headers
            assert "x-moltbot-drill" not in dict(provider.requests[0].headers)
            drilled = await probe(bed, **{"x-moltbot-drill": "all/a"})
            assert (drilled.status_code, drilled.headers["x-moltbot-backend"]) == (200, "b")
            assert drilled.headers["x-moltbot-drill"] == "all/a"
