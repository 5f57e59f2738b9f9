"""`retryOn: ContextLength`: a prompt that is too long for one model goes to the next backend."""

import contextlib
import gzip
import json

import pytest
from aiohttp import web
from gateway_bed import BODY, answering, backend, route, rule, serving
from moltbot_provider import Provider

QUICK = {"perTryTimeout": "20s", "backoff": {"base": "1ms", "max": "5ms"}}
LONG = {**QUICK, "retryOn": ["ContextLength"]}

ERRORS = {
    "OpenAI": (400, {"error": {"message": "too long", "code": "context_length_exceeded"}}),
    "vLLM": (400, {"object": "error", "message": "This model's maximum context length is 4096 tokens."}),
    "Anthropic": (
        400,
        {"type": "error", "error": {"type": "invalid_request_error", "message": "prompt is too long: 9 > 8"}},
    ),
    "Gemini": (
        400,
        {"error": {"message": "The input token count (9) exceeds the maximum number of tokens allowed (8)."}},
    ),
    "Qwen": (400, {"error": {"message": "<400> InternalError: Range of input length should be [1, 8]"}}),
    "Moonshot": (400, {"error": {"message": "Your request exceeded model token limit: 8192"}}),
    "Zhipu": (400, {"error": {"code": "1261", "message": "Prompt"}}),
}


@contextlib.asynccontextmanager
async def refusing(status, said):
    """A server that answers every request so, compressed where the client takes that."""
    asked = []

    async def answer(request):
        asked.append(request.headers.get("accept-encoding"))
        body = json.dumps(said).encode()
        headers = {"content-type": "application/json"}
        if "gzip" in (asked[-1] or ""):
            body, headers["content-encoding"] = gzip.compress(body), "gzip"
        return web.Response(status=status, body=body, headers=headers)

    async with answering(answer) as url:
        yield url, asked


@pytest.mark.parametrize("provider", ERRORS)
async def test_the_words_of_each_provider_lead_to_the_fallback(tmp_path, provider):
    async with refusing(*ERRORS[provider]) as (url, asked), Provider(name="long") as long:
        objects = [
            route(rule("all", ["short"], ["long"], failover=LONG)),
            *backend("short", url),
            *backend("long", long.url),
        ]
        async with serving(*objects, folder=tmp_path) as bed:
            answer = await bed.chat()
            assert answer.status_code == 200
            assert answer.headers["x-moltbot-backend"] == "long"
            assert answer.headers["x-moltbot-attempts"] == "2"
            assert not [name for name in answer.headers if name.startswith("x-mb-")]
            (record,) = await bed.records(1)
    assert asked == [None]
    assert [(each["backend"], each["status"], each["flags"]) for each in record["tries"][:1]] == [
        ("short", ERRORS[provider][0], "CL")
    ]


@pytest.mark.parametrize(
    ("failover", "status", "said"),
    [
        (LONG, 400, {"error": {"message": "messages is required", "code": "invalid_request_error"}}),
        (LONG, 500, ERRORS["OpenAI"][1]),
        (QUICK, *ERRORS["OpenAI"]),
        ({**LONG, "maxRetries": 0}, *ERRORS["OpenAI"]),
    ],
)
async def test_other_errors_and_other_rules_get_the_error_whole(tmp_path, failover, status, said):
    async with refusing(status, said) as (url, _), Provider(name="long") as long:
        if status == 500:
            failover = {**failover, "retryOn": ["ContextLength"]}
        objects = [
            route(rule("all", ["short"], ["long"], failover=failover)),
            *backend("short", url),
            *backend("long", long.url),
        ]
        async with serving(*objects, folder=tmp_path) as bed:
            answer = await bed.chat()
            assert (answer.status_code, answer.json()) == (status, said)
        assert not long.requests


async def test_every_backend_is_asked_in_turn_and_the_last_error_is_the_clients(tmp_path):
    async with (
        Provider(name="a") as a,
        Provider(name="b") as b,
        Provider(name="c") as c,
    ):
        for provider in (a, b, c):
            await provider.fault("context_length")
        objects = [
            route(rule("all", {"a": 1, "b": 1}, ["c"], failover=LONG)),
            *(each for p in (a, b, c) for each in backend(p.name, p.url, key=f"k-{p.name}", model=p.name)),
        ]
        async with serving(*objects, folder=tmp_path) as bed:
            for stream in (False, True):
                answer = await bed.chat(body={**BODY, "stream": stream})
                assert answer.status_code == 400
                assert answer.json()["error"]["code"] == "context_length_exceeded"
                assert answer.headers["x-moltbot-backend"] == "c"
        for provider in (a, b, c):
            assert len(provider.requests) == 2
            assert all(
                r.credentials == {"authorization": [f"Bearer k-{provider.name}"]} for r in provider.requests
            )
