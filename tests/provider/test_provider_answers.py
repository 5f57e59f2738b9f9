"""What a client of the simulated provider sees, and what the provider recorded of it."""

import asyncio
import hashlib
import json

import aiohttp
import pytest
from moltbot_provider import Provider

CHAT = "/v1/chat/completions"


@pytest.fixture
async def provider():
    async with Provider(name="dialog_pro") as given:
        yield given


async def test_chat_names_server_and_model(provider, client):
    async with client.post(provider.url + CHAT, json={"model": "m1", "messages": []}) as response:
        answer = await response.json()
    assert response.status == 200
    assert answer["choices"][0]["message"]["content"] == "server=dialog_pro model=m1 word3 word4 word5"
    assert answer["usage"]["completion_tokens"] == 5


async def test_equal_requests_get_equal_bytes(provider, client):
    seen = set()
    for _ in range(3):
        async with client.post(
            provider.url + CHAT, json={"model": "m1", "messages": [{"role": "user"}]}
        ) as got:
            seen.add(await got.read())
    assert len(seen) == 1


async def test_max_tokens_sets_the_length(provider, client):
    async with client.post(provider.url + CHAT, json={"model": "m", "max_tokens": 12}) as response:
        answer = await response.json()
    assert answer["choices"][0]["message"]["content"].endswith(" word12")


async def test_stream_sends_each_event_by_itself(client):
    async with Provider(name="p", event_gap=0.05) as provider:
        arrivals, texts = [], []
        body = {"model": "m", "stream": True, "stream_options": {"include_usage": True}}
        async with client.post(provider.url + CHAT, json=body) as response:
            assert response.content_type == "text/event-stream"
            async for line in response.content:
                if line.startswith(b"data: "):
                    arrivals.append(asyncio.get_running_loop().time())
                    texts.append(line[6:].strip())
        assert texts[-1] == b"[DONE]"
        events = [json.loads(text) for text in texts[:-1]]
        content = "".join(e["choices"][0]["delta"].get("content", "") for e in events if e["choices"])
        assert content == "server=p model=m word3 word4 word5"
        assert events[-1]["usage"]["completion_tokens"] == 5
        assert arrivals[-1] - arrivals[0] > 0.2


async def test_completions_stream_and_plain(provider, client):
    async with client.post(provider.url + "/v1/completions", json={"model": "m", "prompt": "x"}) as response:
        plain = (await response.json())["choices"][0]["text"]
    async with client.post(provider.url + "/v1/completions", json={"model": "m", "stream": True}) as response:
        lines = [line[6:] for line in (await response.text()).split("\n") if line.startswith("data: {")]
    assert "".join(json.loads(line)["choices"][0]["text"] for line in lines) == plain


async def test_embeddings_of_a_list_and_of_tokens(provider, client):
    async with client.post(
        provider.url + "/v1/embeddings", json={"model": "e", "input": ["a", "b"]}
    ) as response:
        answer = await response.json()
    assert [item["index"] for item in answer["data"]] == [0, 1]
    assert answer["data"][0]["embedding"] != answer["data"][1]["embedding"]
    async with client.post(provider.url + "/v1/embeddings", json={"model": "e", "input": [1, 2]}) as response:
        assert len((await response.json())["data"]) == 1


async def test_models(provider, client):
    async with client.get(provider.url + "/v1/models") as response:
        assert [item["id"] for item in (await response.json())["data"]] == ["dialog_pro"]


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", CHAT, b"{broken", 400),
        ("POST", CHAT, b"[1]", 400),
        ("GET", CHAT, b"", 404),
        ("POST", "/v1/unknown", b"{}", 404),
    ],
)
async def test_what_it_cannot_serve_is_an_openai_error(provider, client, method, path, body, status):  # noqa: PLR0917
    async with client.request(method, provider.url + path, data=body) as response:
        error = (await response.json())["error"]
    assert response.status == status
    assert set(error) == {"message", "type", "param", "code"}


async def test_record_keeps_order_case_path_and_bytes(provider):
    body = b'{ "model":"m" ,"messages" : [] }'
    head = (
        f"POST /a%2Fb/v1/chat/completions?x=1&y HTTP/1.1\r\nhost: h\r\nX-Zeta: 1\r\nx-ALPHA: 2\r\n"
        f"X-Zeta: 3\r\nauthorization: Bearer k\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
    )
    reader, writer = await asyncio.open_connection(provider.host, provider.port)
    writer.write(head.encode() + body)
    assert b" 200 " in await reader.readline()
    await reader.read()
    writer.close()
    record = provider.requests[0]
    assert record.path == "/a%2Fb/v1/chat/completions?x=1&y"
    assert [name for name, _ in record.headers][:5] == [
        "host",
        "X-Zeta",
        "x-ALPHA",
        "X-Zeta",
        "authorization",
    ]
    assert record.header("x-zeta") == "1"
    assert record.body == body
    assert record.sha256 == hashlib.sha256(body).hexdigest()
    assert record.credentials == {"authorization": ["Bearer k"]}
    assert (record.outcome, record.status) == ("answered", 200)


async def test_records_stay_bounded(client):
    async with Provider() as provider:
        provider.requests.limit = 5
        provider.requests.body_bytes = 1000
        provider.requests.one_body = 500
        for size in (10, 10, 10, 300, 300, 300, 600, 300):
            async with client.post(provider.url + "/v1/x", data=b"a" * size):
                pass
        kept = [(record.length, record.body is None) for record in provider.requests]
    assert kept == [(300, False), (300, False), (600, True), (300, False)]
    assert provider.requests.total == 8


async def test_expected_credential(client):
    async with Provider(expect={"Authorization": "Bearer x"}) as provider:
        async with client.post(provider.url + CHAT, json={}) as response:
            assert response.status == 401
        async with client.post(
            provider.url + CHAT, json={}, headers={"authorization": "Bearer y"}
        ) as response:
            assert response.status == 401
            assert "Bearer" not in await response.text()
        async with client.post(
            provider.url + CHAT, json={}, headers={"authorization": "Bearer x"}
        ) as response:
            assert response.status == 200
        assert [record.outcome for record in provider.requests] == ["refused credential"] * 2 + ["answered"]


async def test_a_client_that_leaves_is_seen(provider, client):
    await provider.fault("hang")
    with pytest.raises(TimeoutError):
        await client.post(provider.url + CHAT, json={}, timeout=aiohttp.ClientTimeout(total=0.3))
    async with asyncio.timeout(5):
        while provider.requests.in_flight:  # noqa: ASYNC110 -- a condition with a deadline
            await asyncio.sleep(0.01)
    assert provider.requests[0].outcome == "client left"
