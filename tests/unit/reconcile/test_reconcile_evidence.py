"""Evidence over real HTTP, from a server on loopback that can misbehave."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
from aiohttp import web

from moltbot_operator.reconcile.evidence import EnvoyEvidence, Evidence, EvidenceUnavailable, flaw_of
from moltbot_operator.reconcile.evidence_http import HttpEvidence

POD = {"metadata": {"name": "p"}, "status": {"podIP": "127.0.0.1"}}
SAID = {
    "namespace": "n",
    "route": "r",
    "revision": "abc",
    "envoy": {"live": True, "revision": "abc", "version": "1.40.0"},
    "credentials": [{"backend": "n/b", "present": True, "fingerprint": "f"}],
    "inFlight": 3,
    "problems": [],
    "unknown": "to come",
}


@asynccontextmanager
async def agent(answer: Any) -> AsyncIterator[HttpEvidence]:
    """An agent that answers with `answer(request)`."""
    app = web.Application()
    app.router.add_get("/evidence", answer)
    app.router.add_put("/leaving", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    try:
        async with HttpEvidence(timeout=timedelta(seconds=0.5), port=port) as reader:
            yield reader
    finally:
        await runner.cleanup()


async def test_evidence_is_read_with_the_token() -> None:
    async def answer(request: web.Request) -> web.Response:
        assert request.headers["authorization"] == "Bearer t0ken"
        return web.json_response(SAID)

    async with agent(answer) as reader:
        found = await reader.read(POD, "t0ken")
    assert found.revision == found.envoy.revision == "abc"
    assert found.in_flight == 3
    assert found.credentials[0].present


@pytest.mark.parametrize(
    ("status", "text", "says"),
    [
        (401, "", "answers 401"),
        (200, "no json", "can't be read"),
        (200, json.dumps({"route": "r"}), "can't be read"),
    ],
)
async def test_a_bad_answer_is_told(status: int, text: str, says: str) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=status, text=text)

    async with agent(answer) as reader:
        with pytest.raises(EvidenceUnavailable, match=says):
            await reader.read(POD, "t")


async def test_one_lost_answer_is_asked_again() -> None:
    asked = 0

    async def answer(request: web.Request) -> web.Response:
        nonlocal asked
        asked += 1
        if asked == 1:
            assert request.transport is not None
            request.transport.close()
        return web.json_response(SAID)

    async with agent(answer) as reader:
        assert (await reader.read(POD, "t")).revision == "abc"
    assert asked == 2


async def test_a_silent_agent_costs_two_short_waits() -> None:
    async def answer(_: web.Request) -> web.Response:
        await asyncio.sleep(30)
        return web.Response()

    async with agent(answer) as reader:
        with pytest.raises(EvidenceUnavailable, match="does not answer"):
            await asyncio.wait_for(reader.read(POD, "t"), timeout=5)


async def test_a_pod_without_an_address_is_not_asked() -> None:
    async with HttpEvidence() as reader:
        with pytest.raises(EvidenceUnavailable, match="no address"):
            await reader.read({"metadata": {"name": "p"}, "status": {}}, "t")


@pytest.mark.parametrize("leaving", [True, False])
async def test_a_pod_is_told_whether_clients_shall_leave(leaving: bool) -> None:
    said = []

    async def answer(request: web.Request) -> web.Response:
        said.append((request.headers["authorization"], await request.json()))
        return web.json_response({})

    async with agent(answer) as reader:
        await reader.tell(POD, "t0ken", leaving=leaving)
    assert said == [("Bearer t0ken", leaving)]


@pytest.mark.parametrize(
    ("status", "reached"), [(400, True), (404, True), (405, True), (401, False), (503, False)]
)
async def test_a_pod_of_an_earlier_release_is_not_told_again_and_one_in_trouble_is(
    status: int, reached: bool
) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=status)

    async with agent(answer) as reader:
        if reached:
            await reader.tell(POD, "t", leaving=True)
        else:
            with pytest.raises(EvidenceUnavailable, match=f"answers {status}"):
                await reader.tell(POD, "t", leaving=True)


@pytest.mark.parametrize(
    ("revision", "envoy", "says"),
    [
        ("abc", EnvoyEvidence(live=True, revision="abc"), ""),
        ("old", EnvoyEvidence(live=True, revision="abc"), "its agent has revision old"),
        ("abc", EnvoyEvidence(live=False, revision="abc"), "not live"),
        ("abc", EnvoyEvidence(live=True, revision="old"), "its Envoy has revision old"),
        ("abc", EnvoyEvidence(live=True, revision=None), "its Envoy has revision None"),
    ],
)
def test_only_agent_and_envoy_together_prove_a_revision(
    revision: str, envoy: EnvoyEvidence, says: str
) -> None:
    found = flaw_of(Evidence(namespace="n", route="r", revision=revision, envoy=envoy), "abc")
    assert (says in found) if says else found == ""
