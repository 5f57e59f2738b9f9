"""Headers in order, path and body arrive as the client sent them, but for the model's name."""

import asyncio
import hashlib
import json

import pytest
from gateway_bed import backend, route, rule, serving
from moltbot_provider import Provider

OWN = {"x-request-id", "authorization"}
"""Headers that the gateway adds."""


class RawProvider:
    """Reads one request a connection byte by byte and answers 200."""

    def __init__(self):
        self.head = b""
        self.body = b""

    async def __aenter__(self):
        self.server = await asyncio.start_server(self._answer, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self.server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_):
        self.server.close()

    async def _answer(self, reader, writer):
        self.head = await reader.readuntil(b"\r\n\r\n")
        length = [line for line in self.head.split(b"\r\n") if line.lower().startswith(b"content-length:")]
        self.body = await reader.readexactly(int(length[0].split(b":")[1])) if length else b""
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}")
        await writer.drain()
        writer.close()


async def raw(bed, head, body):
    """Send these very bytes; the answer's status line."""
    host, port = bed.running.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(head.encode() + f"content-length: {len(body)}\r\n\r\n".encode() + body)
    async with asyncio.timeout(20):
        line = await reader.readline()
    writer.close()
    return line


BODIES = [
    b'{"model":"gpt-4o","messages":[]}',
    b' \n{ "b" : 1.0, "a":12345678901234567890123 ,\t"model" : "gpt-4o" , "z":{"model":"inner"} } \n',
    '{"text":"\\"model\\":\\"x\\" \\\\","ü":"😀\\ud83d","model":"gpt-4o","list":[{"model":1},"}]"]}'.encode(),
    b'{"mod\\u0065l":"gpt-4o","\\\\":"\\\\\\""}',
    b'{"model":"gpt-4o","model2":"gpt-4o","deep":' + b"[" * 2000 + b"]" * 2000 + b"}",
    b'{"no":"name"}',
    b"{}",
]


@pytest.mark.parametrize("number", range(len(BODIES)))
@pytest.mark.parametrize("attempts", [1, 2])
async def test_head_path_and_body_arrive_as_sent(tmp_path, number, attempts):
    body = BODIES[number]
    async with RawProvider() as provider, Provider(name="down") as down:
        await down.fault("refuse")
        candidates = {"raw": 1} if attempts == 1 else {"down": 1, "raw": 0}
        objects = [
            route(rule("all", candidates, failover={"backoff": {"base": "1ms", "max": "1ms"}})),
            *backend("raw", f"{provider.url}/p/v4", key="k", model='new-"name\\'),
            *backend("down", down.url, model="down"),
        ]
        head = (
            "POST /a/b/v1/chat/completions?q=%2Fv1%2F&k=1&k=2;x HTTP/1.1\r\nhost: gateway.example:8080\r\n"
            "x-zebra: 1\r\nuser-agent: test/1\r\nX-Apple: 2\r\n"
            "content-type: application/json; charset=utf-8\r\n"
            "x-zebra: 3\r\naccept: */*\r\nx-moltbot-own: stays\r\n"
        )
        async with serving(*objects, folder=tmp_path) as bed:
            assert b" 200 " in await raw(bed, head, body)
    lines = provider.head.decode().split("\r\n")
    assert lines[0] == "POST /p/v4/chat/completions?q=%2Fv1%2F&k=1&k=2;x HTTP/1.1"
    assert lines[1] == f"host: {provider.url.removeprefix('http://')}"
    kept = [line for line in lines[2:] if line and line.split(":")[0] not in OWN]
    expected = body.replace(b"gpt-4o", b'new-\\"name\\\\', 1)  # the model's own place comes first in each
    assert kept == [
        "x-zebra: 1",
        "user-agent: test/1",
        "x-apple: 2",
        "content-type: application/json; charset=utf-8",
        "x-zebra: 3",
        "accept: */*",
        "x-moltbot-own: stays",
        f"content-length: {len(expected)}",
    ]
    assert provider.body == expected


async def test_sixteen_mebibytes_pass_and_more_is_refused(tmp_path):
    filler = "x" * (16 * 1024 * 1024 - 60)
    body = json.dumps({"model": "gpt-4o", "messages": filler}).encode()
    assert 16 * 1024 * 1024 - 64 < len(body) <= 16 * 1024 * 1024
    async with Provider(name="a") as a, Provider(name="b") as b:
        objects = [
            route(rule("all", ["a"], ["b"])),
            *backend("a", a.url, model="m" * 6),
            *backend("b", b.url, model="n" * 6),
        ]
        async with serving(*objects, folder=tmp_path) as bed:
            assert (await bed.chat(body=body)).status_code == 200
            await a.fault("status", status=503)
            answer = await bed.chat(body=body)
            assert (answer.status_code, answer.headers["x-moltbot-backend"]) == (200, "b")
            refused = await bed.chat(body=body + b" " * 100_000)
    assert refused.status_code == 413
    assert refused.json()["error"]["code"] == "too_large"
    for provider, name in ((a, b"m"), (b, b"n")):
        expected = hashlib.sha256(body.replace(b"gpt-4o", name * 6)).hexdigest()
        assert provider.requests[0].sha256 == expected


async def test_uploads_are_not_read(tmp_path):
    """A multipart body may be longer than the buffer: it streams through."""
    part = b'--x\r\ncontent-disposition: form-data; name="file"; filename="a"\r\n\r\n'
    body = part + b"\0" * (20 * 1024 * 1024) + b"\r\n--x--\r\n"
    async with Provider(name="a") as a:
        objects = [route(rule("all", ["a"])), *backend("a", a.url, model="whisper")]
        async with serving(*objects, folder=tmp_path) as bed:
            answer = await bed.client.post(
                "/v1/files", content=body, headers={"content-type": "multipart/form-data; boundary=x"}
            )
    assert answer.headers["x-moltbot-backend"] == "a"
    assert a.requests[0].sha256 == hashlib.sha256(body).hexdigest()
