"""Each fault as a client meets it, the admin API, and the process."""

import asyncio
import json
import os
import signal
import sys
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from moltbot_provider import KINDS, Provider
from moltbot_provider.admin import admin_app

CHAT = "/v1/chat/completions"
BODY = {"model": "m", "messages": []}
STREAM = {**BODY, "stream": True}


@pytest.fixture
async def provider():
    async with Provider(name="p") as given:
        yield given


async def status(client, provider):
    async with client.post(provider.url + CHAT, json=BODY) as response:
        await response.read()
        return response.status


async def events(client, provider):
    """Texts of the events that came before the stream ended or broke, and how it ended."""
    texts = []
    try:
        timeout = aiohttp.ClientTimeout(sock_read=0.5)
        async with client.post(provider.url + CHAT, json=STREAM, timeout=timeout) as response:
            async for line in response.content:
                texts += [line[6:].strip().decode()] if line.startswith(b"data: ") else []
    except TimeoutError:
        return texts, "silent"
    except aiohttp.ClientError:
        return texts, "broken"
    return texts, "ended"


async def test_status_with_retry_after_and_count(provider, client):
    await provider.fault("status", status=429, retry_after="7", count=2)
    async with client.post(provider.url + CHAT, json=BODY) as response:
        assert response.status == 429
        assert response.headers["retry-after"] == "7"
        assert (await response.json())["error"]["type"] == "rate_limit_error"
    assert [await status(client, provider) for _ in range(3)] == [429, 200, 200]
    assert [record.fault for record in provider.requests] == ["status", "status", None, None]


async def test_every_second_request(provider, client):
    await provider.fault("status", status=500, every=2)
    assert [await status(client, provider) for _ in range(6)] == [200, 500, 200, 500, 200, 500]


async def test_refuse_closes_listener_and_connections_until_cleared(provider, client):
    assert await status(client, provider) == 200
    await provider.fault("refuse")
    with pytest.raises(aiohttp.ClientOSError):  # the pooled connection was reset, or already left the pool
        await status(client, provider)
    with pytest.raises(aiohttp.ClientConnectorError):
        await status(client, provider)
    port = provider.port
    await provider.clear()
    assert provider.port == port
    assert await status(client, provider) == 200


async def test_reset_before_headers(provider, client):
    await provider.fault("reset_before_headers", count=1)
    with pytest.raises((aiohttp.ClientOSError, aiohttp.ServerDisconnectedError)):
        await status(client, provider)
    assert provider.requests[0].outcome == "fault"
    assert provider.requests[0].status is None


@pytest.mark.parametrize("kind", ["reset_after_headers", "stream_cut"])
async def test_plain_answer_is_cut_after_headers(provider, client, kind):
    await provider.fault(kind, count=1)
    async with client.post(provider.url + CHAT, json=BODY) as response:
        assert response.status == 200
        with pytest.raises(aiohttp.ClientError):
            await response.read()


@pytest.mark.parametrize(("kind", "headers_late"), [("delay", True), ("slow_first_byte", False)])
async def test_late_answers(provider, client, kind, headers_late):
    await provider.fault(kind, seconds=0.4)
    loop = asyncio.get_running_loop()
    began = loop.time()
    async with client.post(provider.url + CHAT, json=BODY) as response:
        headers_at = loop.time() - began
        await response.read()
        body_at = loop.time() - began
    assert body_at >= 0.4
    assert (headers_at >= 0.4) is headers_late


async def test_hang_ends_with_the_client_only(provider, client):
    await provider.fault("hang", count=1)
    with pytest.raises(TimeoutError):
        await client.post(provider.url + CHAT, json=BODY, timeout=aiohttp.ClientTimeout(total=0.3))
    assert await status(client, provider) == 200


async def test_malformed_json_plain_and_streamed(provider, client):
    await provider.fault("malformed_json")
    async with client.post(provider.url + CHAT, json=BODY) as response:
        assert response.status == 200
        with pytest.raises(ValueError):
            await response.json()
    texts, end = await events(client, provider)
    assert (end, texts[-1]) == ("ended", "[DONE]")
    with pytest.raises(ValueError):
        json.loads(texts[-2])


@pytest.mark.parametrize(
    ("kind", "expected_end"), [("stream_cut", "broken"), ("stream_stall", "silent"), ("no_done", "ended")]
)
async def test_streams_that_break(provider, client, kind, expected_end):
    await provider.fault(kind, after=3)
    texts, end = await events(client, provider)
    assert end == expected_end
    assert len(texts) == 3
    assert "[DONE]" not in texts


async def test_refusals_are_answers(provider, client):
    await provider.fault("content_filter")
    async with client.post(provider.url + CHAT, json=BODY) as response:
        assert (await response.json())["choices"][0]["finish_reason"] == "content_filter"
    await provider.fault("context_length")
    async with client.post(provider.url + CHAT, json=BODY) as response:
        assert response.status == 400
        assert (await response.json())["error"]["code"] == "context_length_exceeded"


async def test_unknown_fault_names_the_known_ones(provider):
    with pytest.raises(ValueError, match="reset_before_headers"):
        await provider.fault("explode")


@pytest.fixture
async def admin(provider):
    runner = web.AppRunner(admin_app(provider), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


async def test_admin_programs_faults_and_reads_records(provider, client, admin):
    async with client.put(
        admin + "/faults", json={"kind": "status", "status": 503, "retryAfter": 2, "count": 1}
    ):
        pass
    assert [await status(client, provider) for _ in range(2)] == [503, 200]
    async with client.get(admin + "/requests?after=1") as response:
        seen = await response.json()
    assert seen["total"] == 2
    assert [record["number"] for record in seen["requests"]] == [2]
    assert json.loads(seen["requests"][0]["body"]) == BODY
    async with client.put(admin + "/expect", json={"X-Api-Key": "k"}):
        pass
    assert await status(client, provider) == 401
    async with client.delete(admin + "/requests"):
        pass
    assert len(provider.requests) == 0
    async with client.get(admin + "/faults") as response:
        assert set((await response.json())["kinds"]) == set(KINDS)


@pytest.mark.parametrize(
    "body", [b"{", b'{"kind": "x"}', b'{"kind": "hang", "count": 0}', b"[3]", b'{"a": 1}']
)
async def test_admin_refuses_what_is_no_fault(client, admin, body):
    async with client.put(admin + "/faults", data=body) as response:
        assert response.status == 400
        assert "error" in await response.json()


async def test_process_serves_and_ends_on_sigterm(client):
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "moltbot_provider", "--name", "q", "--host", "127.0.0.1", "--port", "0"),
        *("--admin-host", "127.0.0.1", "--admin-port", "0", "--expect-header", "authorization=Bearer x"),
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)},
    )
    async with asyncio.timeout(20):
        line = (await process.stdout.readline()).decode()
        port = int(line.split("port ")[1].split(",")[0])
        async with client.get(f"http://127.0.0.1:{port}/v1/models") as response:
            assert response.status == 401
        async with client.get(
            f"http://127.0.0.1:{port}/v1/models", headers={"authorization": "Bearer x"}
        ) as response:
            assert response.status == 200
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0
