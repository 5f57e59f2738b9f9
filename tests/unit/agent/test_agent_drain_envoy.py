"""Draining a real Envoy, with requests and streams in flight."""

import asyncio
import sys
import threading
import time
from datetime import timedelta

import aiohttp
import pytest
from moltbot_provider import Provider

from moltbot_agent.admin import Admin
from moltbot_agent.draining import DrainPlan, drain
from moltbot_agent.server import Address, Drainer, drain_app, serving

STREAM = {"model": "m", "messages": [], "stream": True, "max_tokens": 10}
FAST = DrainPlan(
    settle=timedelta(seconds=0.5),
    grace=timedelta(seconds=20),
    quiet=timedelta(seconds=0.3),
    poll=timedelta(seconds=0.02),
    lost=timedelta(seconds=1),
)


@pytest.fixture
async def one():
    async with Provider(name="one", event_gap=0.15) as given:
        yield given


@pytest.fixture
async def gateway(make_gateway, one):
    given = make_gateway({"one": one.port})
    given.deliveries().run_once()
    async with given.envoy():
        yield given


async def ready(client, gateway) -> int:
    async with client.get(f"http://127.0.0.1:{gateway.ready_port}/ready") as response:
        return response.status


async def test_stream_in_flight_ends_whole_before_draining_ends(gateway, client):
    drainer = Drainer(Admin(gateway.admin_port), "public", FAST)
    async with serving(drain_app(drainer), Address("127.0.0.1", 0)) as port:
        async with client.post(gateway.url(), json=STREAM) as stream:
            first = await stream.content.readline()
            drains = [asyncio.create_task(client.post(f"http://127.0.0.1:{port}/drain")) for _ in range(2)]
            rest = await stream.read()
            ended = time.monotonic()
            assert not any(task.done() for task in drains)
        outcomes = [await (await task).json() for task in drains]
        assert first.startswith(b"data: ")
        assert rest.endswith(b"data: [DONE]\n\n")
        assert outcomes[0] == outcomes[1]
        assert outcomes[0]["drained"] is True
        assert outcomes[0]["in_flight"] == 0
        print(f"drained {time.monotonic() - ended:.3f} s after the stream's end: {outcomes[0]}")


async def test_readiness_fails_first_and_requests_are_served_meanwhile(gateway, client, eventually):
    plan = DrainPlan(settle=timedelta(seconds=3), grace=timedelta(seconds=20), quiet=timedelta(seconds=0.3))
    drainer = Drainer(Admin(gateway.admin_port), "public", plan)
    draining = asyncio.create_task(drainer.drain())

    async def not_ready() -> bool:
        return await ready(client, gateway) == 503

    await eventually(not_ready, 3, "failing readiness")
    async with client.post(gateway.url(), json={"model": "m"}) as response:
        assert response.status == 200
        assert response.headers["connection"] == "close"
    assert not draining.done()
    outcome = await draining
    assert outcome.drained
    assert outcome.seconds >= 3


async def test_grace_period_ends_the_wait(gateway, one, client, eventually):
    await one.fault("hang")
    asking = asyncio.create_task(client.post(gateway.url(), json={"model": "m"}))
    await eventually(lambda: one.requests.in_flight == 1, 5, "the request")
    plan = DrainPlan(settle=timedelta(0), grace=timedelta(seconds=0.5), poll=timedelta(seconds=0.02))
    outcome = await asyncio.to_thread(drain, Admin(gateway.admin_port), "public", plan, threading.Event())
    assert not outcome.drained
    assert outcome.in_flight == 1
    assert "grace" in outcome.message
    assert 0.5 <= outcome.seconds < 2
    asking.cancel()


async def test_stop_ends_the_wait(gateway, one, client, eventually):
    await one.fault("hang")
    asking = asyncio.create_task(client.post(gateway.url(), json={"model": "m"}))
    await eventually(lambda: one.requests.in_flight == 1, 5, "the request")
    drainer = Drainer(Admin(gateway.admin_port), "public", FAST)
    draining = asyncio.create_task(drainer.drain())
    await asyncio.sleep(0)
    drainer.stop()
    assert not (await asyncio.wait_for(draining, 5)).drained
    asking.cancel()


async def test_envoy_gone_is_reported_and_does_not_take_the_whole_grace(make_gateway):
    gateway = make_gateway()
    outcome = await asyncio.to_thread(drain, Admin(gateway.admin_port), "public", FAST, threading.Event())
    assert not outcome.drained
    assert "does not answer" in outcome.message
    assert outcome.seconds < 3


async def prestop(gateway, environment, *arguments) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "moltbot_agent.drain", "--port", str(gateway.drain_port)),
        *("--admin-port", str(gateway.admin_port), "--settle-s", "0.1", *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment,
    )
    out, err = await process.communicate()
    assert err == b""
    return process.returncode, out.decode()


async def test_prestop_asks_the_agent(gateway, client, environment):
    async with gateway.agent("--drain-settle-s", "0.1") as agent:
        await gateway.healthy(client, agent)
        status, said = await prestop(gateway, environment)
    assert status == 0
    assert '"drained":true' in said
    assert await ready(client, gateway) == 503


async def test_prestop_drains_by_itself_without_an_agent(gateway, client, environment):
    async with client.post(gateway.url(), json=STREAM) as stream:
        await stream.content.readline()
        hook = asyncio.create_task(prestop(gateway, environment))
        assert (await stream.read()).endswith(b"[DONE]\n\n")
    status, said = await hook
    assert status == 0
    assert "drained=True" in said


async def test_prestop_exits_zero_with_nobody_there(make_gateway, environment):
    status, said = await prestop(make_gateway(), environment, "--grace-s", "0.5")
    assert status == 0
    assert "does not answer" in said


async def test_no_request_fails_while_a_gateway_drains_and_ends(make_gateway, one, client, eventually):
    """A load balancer that follows readiness sends new requests until it has seen it fail."""
    gateway = make_gateway({"one": one.port})
    gateway.deliveries().run_once()
    whole, in_service = [], asyncio.Event()

    async def follow_readiness() -> None:
        while await ready(client, gateway) == 200:  # noqa: ASYNC110 -- as a prober does
            await asyncio.sleep(0.2)
        in_service.clear()

    async def send() -> None:
        async with aiohttp.ClientSession() as session:
            while in_service.is_set():
                async with session.post(gateway.url(), json={**STREAM, "max_tokens": 3}) as response:
                    whole.append(response.status == 200 and (await response.read()).endswith(b"[DONE]\n\n"))

    async with gateway.envoy() as envoy:
        in_service.set()
        senders = [asyncio.create_task(send()) for _ in range(8)]
        following = asyncio.create_task(follow_readiness())
        await eventually(lambda: len(whole) > 20, 10, "load")
        before = len(whole)
        outcome = await Drainer(Admin(gateway.admin_port), "public", FAST).drain()
        envoy.terminate()
        await asyncio.gather(*senders, following)
        await envoy.wait()
    assert outcome.drained
    assert len(whole) > before
    assert all(whole)
