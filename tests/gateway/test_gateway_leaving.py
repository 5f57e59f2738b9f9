"""Clients are asked to leave a gateway that goes on serving: connections end, requests and streams do not."""

import asyncio
import contextlib
import json

import httpx
import pytest
from gateway_bed import BODY, CHAT, backend, route, rule, serving, until
from http2_client import GOAWAY, connected
from moltbot_provider import Provider

QUICK = {"backoff": {"base": "1ms", "max": "5ms"}, "perTryTimeout": "20s"}


@pytest.fixture
async def bed(tmp_path):
    async with Provider(name="pro", event_gap=0.02) as pro, Provider(name="spare", event_gap=0.02) as spare:
        objects = [*backend("pro", pro.url), *backend("spare", spare.url)]
        rules = rule("all", ["pro"], ["spare"], failover=QUICK)
        async with serving(route(rules), *objects, folder=tmp_path) as running:
            running.pro = pro
            yield running


async def say(bed, body, token=None):
    """PUT /leaving, as the operator does."""
    url = f"http://127.0.0.1:{bed.running.ports.evidence}/leaving"
    shown = {"authorization": f"Bearer {token or bed.running.evidence_token}"}
    return await bed.client.put(url, content=body, headers=shown)


async def leaves(bed):
    """Whether an answer asks its client to leave."""
    return (await bed.chat()).headers.get("connection") == "close"


async def stays(bed):
    return not await leaves(bed)


async def evidence(bed):
    url = f"http://127.0.0.1:{bed.running.ports.evidence}/evidence"
    shown = {"authorization": f"Bearer {bed.running.evidence_token}"}
    return (await bed.client.get(url, headers=shown)).json()


async def test_answers_end_their_connections_from_then_on_until_it_is_taken_back(bed):
    assert not (await evidence(bed))["leaving"]
    assert await stays(bed)
    for _ in range(2):
        assert (await say(bed, "true")).status_code == 200
        await until(lambda: leaves(bed))
        found = await evidence(bed)
        assert found["leaving"]
        assert found["envoy"]["live"], "it could serve again at once"
        ready = await bed.client.get(f"http://127.0.0.1:{bed.running.ports.ready}/ready")
        assert ready.status_code == 200
        assert (await say(bed, "false")).status_code == 200
        await until(lambda: stays(bed))
        assert not (await evidence(bed))["leaving"]


@pytest.mark.parametrize(("token", "body", "status"), [("wrong", "true", 401), (None, "maybe", 400)])
async def test_only_who_knows_the_token_can_say_so_and_only_yes_or_no(bed, token, body, status):
    assert (await say(bed, body, token)).status_code == status
    assert not (await evidence(bed))["leaving"]


async def test_no_request_fails_and_no_stream_is_cut_however_often_it_changes(bed):
    """Also of those that fail over, through the inner tier, whose connections end as well."""
    answers, done = [], asyncio.Event()

    async def client(stream):
        async with httpx.AsyncClient(base_url=bed.running.url, timeout=60) as own:
            while not done.is_set():
                answer = await own.post(CHAT, json={**BODY, "stream": stream})
                whole = answer.text.rstrip().endswith("data: [DONE]") if stream else True
                answers.append((answer.status_code, answer.headers["x-provider"], whole))

    clients = [asyncio.create_task(client(stream)) for stream in (False, True) * 4]
    for turn in range(6):
        if turn == 2:
            await bed.pro.fault("status", status=503)
        assert (await say(bed, "false" if turn % 2 else "true")).status_code == 200
        await until(lambda turn=turn: stays(bed) if turn % 2 else leaves(bed))
    done.set()
    await asyncio.gather(*clients)
    assert {(status, whole) for status, _, whole in answers} == {(200, True)}
    assert {provider for _, provider, _ in answers} == {"pro", "spare"}


async def test_http2_clients_are_told_by_goaway_and_their_streams_are_served_to_the_end(bed):
    async with asyncio.timeout(60), connected(bed.running.url) as kept:
        kept.post(1, CHAT, BODY)
        body, kinds = await kept.until_end(1)
        assert json.loads(body)["choices"]
        assert GOAWAY not in kinds
        await say(bed, "true")
        await until(lambda: leaves(bed))
        kept.post(3, CHAT, {**BODY, "stream": True})
        body, kinds = await kept.until_end(3)
        assert body.rstrip().endswith(b"data: [DONE]")
        with contextlib.suppress(asyncio.IncompleteReadError):
            while GOAWAY not in kinds:
                kinds.append((await kept.frame())[0])
        assert GOAWAY in kinds
        await kept.ended()
