"""Tokens of answers in the audit record, where the body is read anyway."""

import asyncio
import contextlib
import json

import pytest
from gateway_bed import BODY, backend, route, rule, serving
from moltbot_provider import Provider

TOKENS = ("prompt_tokens", "completion_tokens", "total_tokens")
OPENAI = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7, "prompt_tokens_details": {"x": 9}}
CUNNING = '"usage": {"prompt_tokens": 999}'


def tokens(record):
    return tuple(record[name] for name in TOKENS)


@contextlib.asynccontextmanager
async def answering(*chunks, kind="application/json", length=True, status=200, headers=""):
    """A provider that answers each request with these bytes; yields its URL."""
    body = b"".join(chunks)

    async def serve(reader, writer):
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                size = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
                await reader.readexactly(int(size[0].split(b":")[1]) if size else 0)
                framing = f"content-length: {len(body)}" if length else "transfer-encoding: chunked"
                text = f"HTTP/1.1 {status} x\r\ncontent-type: {kind}\r\n{headers}{framing}\r\n\r\n"
                writer.write(text.encode())
                for chunk in chunks:
                    writer.write(chunk if length else b"%x\r\n%s\r\n" % (len(chunk), chunk))
                    await writer.drain()
                writer.write(b"" if length else b"0\r\n\r\n")
                await writer.drain()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def record_of(folder, url, **stream):
    (folder / "access.log").unlink(missing_ok=True)
    objects = backend("a", url, model="a-v1")
    async with serving(route(rule("all", ["a"])), objects, folder=folder) as bed:
        answer = await bed.chat(body={**BODY, **stream})
        record = (await bed.records(1))[-1]
    return answer, record


def dumped(**document):
    return json.dumps(document).encode()


def event(**document):
    return b"data: " + dumped(**document) + b"\n\n"


ANSWERS = {
    "OpenAI": ([dumped(choices=[], usage=OPENAI)], (3, 4, 7)),
    "then more keys": ([dumped(usage=OPENAI, service_tier="default")], (3, 4, 7)),
    "Anthropic": (
        [dumped(usage={"input_tokens": 5, "output_tokens": 6, "cache_read_input_tokens": 99})],
        (5, 6, None),
    ),
    "embeddings": ([dumped(data=[], usage={"prompt_tokens": 8, "total_tokens": 8})], (8, None, 8)),
    "none": ([dumped(choices=[])], (None,) * 3),
    "null": ([dumped(usage=None)], (None,) * 3),
    "content that pretends": ([dumped(content=CUNNING, usage=OPENAI, more=CUNNING)], (3, 4, 7)),
    "content that pretends, and none": ([dumped(content=CUNNING, x="usage")], (None,) * 3),
    "spaces": ([b'{ "usage" : { "prompt_tokens" : 3 } }'], (3, None, None)),
    "broken": ([b'{"usage": {"prompt_tokens": '], (None,) * 3),
    "empty": ([b""], (None,) * 3),
    "long": ([dumped(data="x" * 3_000_000, usage=OPENAI)], (3, 4, 7)),
    "longer than its end": ([dumped(usage=OPENAI, data="x" * 3_000_000)], (None,) * 3),
}


@pytest.mark.parametrize("length", [True, False])
@pytest.mark.parametrize("name", ANSWERS)
async def test_plain_answers(tmp_path, name, length):
    chunks, found = ANSWERS[name]
    if not length and not chunks[0]:
        chunks = []
    async with answering(*chunks, length=length) as url:
        answer, record = await record_of(tmp_path, url)
    assert answer.content == b"".join(chunks)
    assert tokens(record) == found


async def test_an_answer_longer_than_any_buffer_passes(tmp_path):
    body = dumped(data="x" * 20_000_000, usage=OPENAI)
    parts = [body[at : at + 1_000_000] for at in range(0, len(body), 1_000_000)]
    async with answering(*parts, length=False) as url:
        answer, record = await record_of(tmp_path, url)
    assert answer.content == body
    assert tokens(record) == (3, 4, 7)


EVENTS = {
    "OpenAI": (
        [event(choices=[{}], usage=None), event(choices=[], usage=OPENAI), b"data: [DONE]\n\n"],
        (3, 4, 7),
    ),
    "not asked for": ([event(choices=[{}]), b"data: [DONE]\n\n"], (None,) * 3),
    "Anthropic": (
        [
            b"event: message_start\n" + event(message={"usage": {"input_tokens": 5, "output_tokens": 1}}),
            b"event: message_delta\n" + event(usage={"output_tokens": 6}),
        ],
        (5, 6, None),
    ),
    "responses": (
        [event(response={"usage": {"input_tokens": 5, "output_tokens": 6, "total_tokens": 11}})],
        (5, 6, 11),
    ),
    "a broken event": ([b"data: {oops\n\n", event(choices=[], usage=OPENAI)], (3, 4, 7)),
    "content that pretends": ([event(choices=[{"delta": {"content": CUNNING}}])], (None,) * 3),
}


@pytest.mark.parametrize("name", EVENTS)
async def test_answers_in_events(tmp_path, name):
    chunks, found = EVENTS[name]
    async with answering(*chunks, kind="text/event-stream; charset=utf-8", length=False) as url:
        answer, record = await record_of(tmp_path, url, stream=True)
    assert answer.content == b"".join(chunks)
    assert (tokens(record), record["stream"]) == (found, True)


async def test_errors_and_other_kinds_are_not_searched(tmp_path):
    usage = dumped(usage=OPENAI)
    async with answering(usage, status=400) as url:
        assert tokens((await record_of(tmp_path, url))[1]) == (None,) * 3
    async with answering(usage, kind="audio/mpeg") as url:
        assert tokens((await record_of(tmp_path, url))[1]) == (None,) * 3


async def test_where_no_body_is_read_no_answer_is(tmp_path):
    async with (
        answering(dumped(usage=OPENAI)) as url,
        serving(route(rule("all", ["a"])), backend("a", url), folder=tmp_path) as bed,
    ):
        await bed.chat()
        (record,) = await bed.records(1)
    assert tokens(record) == (None,) * 3


async def test_tokens_are_those_of_the_answer_that_the_client_got(tmp_path):
    async with Provider(name="b") as b, answering(dumped(usage=OPENAI), status=503) as url:
        given = route(rule("all", {"a": 1, "b": 0}, model=["gpt-4o"], failover={"maxRetries": 1}))
        async with serving(given, backend("a", url), backend("b", b.url), folder=tmp_path) as bed:
            answer = await bed.chat()
            (record,) = await bed.records(1)
    assert [record[name] for name in TOKENS] == [answer.json()["usage"][name] for name in TOKENS]


@pytest.mark.parametrize("stream", [False, True])
async def test_tokens_are_read_where_only_the_inner_tier_writes_the_model(tmp_path, stream):
    """A rate sends the first attempt by way of the inner tier."""
    async with Provider(name="a") as a, Provider(name="b") as b:
        objects = [
            route(rule("all", ["a"], ["b"])),
            *backend("a", a.url, model="a-v1", limits={"requestsPerSecond": 100}),
            *backend("b", b.url, model="b-v1"),
        ]
        async with serving(*objects, folder=tmp_path) as bed:
            options = {"stream": True, "stream_options": {"include_usage": True}} if stream else {}
            answer = await bed.chat(body={**BODY, **options})
            record = (await bed.records(1))[-1]
    assert answer.status_code == 200
    assert record["backend"] == "a"
    assert all(isinstance(each, int) and each > 0 for each in tokens(record))
