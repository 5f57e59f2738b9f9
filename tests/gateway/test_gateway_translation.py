"""Clients of either API at backends of the other one: official SDKs, a real gateway, a real worker."""

import json

import anthropic
import openai
import pytest
from gateway_bed import backend, route, rule
from moltbot_provider import Fault, Provider
from worker_bed import serving

ASK = {"model": "auto", "messages": [{"role": "user", "content": "hello"}]}
TOWN = {"type": "object", "properties": {"town": {"type": "string"}}, "required": ["town"]}
FUNCTION = {"type": "function", "function": {"name": "weather", "parameters": TOWN}}
TOOL = {"name": "weather", "input_schema": TOWN}


@pytest.fixture
async def bed(tmp_path):
    """`/claude/` has Anthropic's API only, `/gpt/` OpenAI's only, `/both/` the one and then the other."""
    async with (
        Provider(name="claude", expect={"x-api-key": "claude-key"}) as claude,
        Provider(name="gpt", expect={"authorization": "Bearer gpt-key"}) as gpt,
    ):
        quick = {"backoff": {"base": "1ms", "max": "2ms"}}
        key = {"header": "x-api-key"}
        objects = [
            route(
                rule("claude", ["claude"], path="^/claude/", failover=quick),
                rule("gpt", ["gpt"], path="^/gpt/", failover={**quick, "maxRetries": 0}),
                rule("both", ["gpt"], ["claude"], path="^/both/", failover=quick),
                worker={},
            ),
            *backend(
                "claude", claude.url, key="claude-key", model="claude-v1", schema="Anthropic", apiKey=key
            ),
            *backend("gpt", gpt.url, key="gpt-key", model="gpt-v1", schema="OpenAI"),
        ]
        async with serving(*objects, folder=tmp_path) as made:
            made.claude, made.gpt = claude, gpt
            yield made


def by_openai(bed, rule):
    return openai.AsyncOpenAI(base_url=f"{bed.url}/{rule}/v1", api_key="x", max_retries=0)


def by_anthropic(bed, rule):
    return anthropic.AsyncAnthropic(base_url=f"{bed.url}/{rule}", api_key="x", max_retries=0)


async def test_openais_sdk_at_a_backend_of_anthropics(bed):
    async with by_openai(bed, "claude") as client:
        create = client.chat.completions.create
        raw = await client.chat.completions.with_raw_response.create(**ASK, seed=1, max_tokens=5)
        plain = raw.parse()
        assert plain.choices[0].message.content == "server=claude model=claude-v1 word3 word4 word5"
        assert (plain.choices[0].finish_reason, plain.usage.completion_tokens) == ("stop", 5)
        assert raw.headers["x-moltbot-translated"] == "Anthropic;without=seed"
        assert raw.headers["x-moltbot-backend"] == "claude"
        text, usage = "", None
        options = {"include_usage": True}
        async for chunk in await create(**ASK, stream=True, stream_options=options, max_tokens=5):
            usage = chunk.usage or usage
            text += "".join(choice.delta.content or "" for choice in chunk.choices)
        assert (text, usage.completion_tokens) == (plain.choices[0].message.content, 5)
        called = await create(**ASK, tools=[FUNCTION])
        [call] = called.choices[0].message.tool_calls
        assert (call.function.name, json.loads(call.function.arguments)) == ("weather", {"town": "claude"})
        result = {"role": "tool", "tool_call_id": call.id, "content": "sunny"}
        said = called.choices[0].message.model_dump(exclude_none=True)
        messages = [*ASK["messages"], said, result]
        last = await create(model="auto", messages=messages, tools=[FUNCTION])
        assert last.choices[0].finish_reason == "stop"
        with pytest.raises(openai.BadRequestError) as refused:
            await create(**ASK, n=2)
        assert (refused.value.param, refused.value.code) == ("n", "untranslatable")
        await bed.claude.fault("status", status=429, retry_after="60")
        with pytest.raises(openai.RateLimitError, match="simulated fault"):
            await create(**ASK)
    record = bed.claude.requests[0]
    assert record.path == "/v1/messages"
    assert record.header("anthropic-version") == "2023-06-01"
    assert json.loads(record.body)["model"] == "claude-v1"
    records = await bed.records(6)
    assert {each["backend"] for each in records if each["status"] == 200} == {"claude"}
    assert records[0]["completion_tokens"] == 5


async def test_anthropics_sdk_at_a_backend_of_openais(bed):
    ask = {**ASK, "max_tokens": 5}
    async with by_anthropic(bed, "gpt") as client:
        plain = await client.messages.create(**ask)
        assert plain.content[0].text == "server=gpt model=gpt-v1 word3 word4 word5"
        assert (plain.stop_reason, plain.usage.output_tokens) == ("end_turn", 5)
        async with client.messages.stream(**ask) as stream:
            final = await stream.get_final_message()
        assert final.content[0].text == plain.content[0].text
        assert final.usage.output_tokens == 5
        async with client.messages.stream(**ask, tools=[TOOL]) as stream:
            called = await stream.get_final_message()
        [use] = called.content
        assert (use.name, use.input, called.stop_reason) == ("weather", {"town": "gpt"}, "tool_use")
        result = {"type": "tool_result", "tool_use_id": use.id, "content": "sunny"}
        messages = [
            *ASK["messages"],
            {"role": "assistant", "content": called.content},
            {"role": "user", "content": [result]},
        ]
        last = await client.messages.create(model="auto", max_tokens=5, messages=messages, tools=[TOOL])
        assert last.stop_reason == "end_turn"
        with pytest.raises(anthropic.BadRequestError, match="top_k"):
            await client.messages.create(**ask, extra_body={"top_k": 3})
        await bed.gpt.fault("status", status=401)
        with pytest.raises(anthropic.AuthenticationError, match="simulated fault"):
            await client.messages.create(**ask)
    assert bed.gpt.requests[0].path == "/v1/chat/completions"


async def test_a_stream_that_breaks_is_an_error_in_the_clients_api(bed):
    await bed.claude.set_faults([Fault("stream_cut", after=5)])
    async with by_openai(bed, "claude") as client:
        with pytest.raises(openai.APIError, match="before its end"):
            async for _ in await client.chat.completions.create(**ASK, stream=True):
                pass
    await bed.gpt.set_faults([Fault("no_done", after=3)])
    async with by_anthropic(bed, "gpt") as client:
        with pytest.raises(anthropic.APIError, match="before its end"):
            async with client.messages.stream(**ASK, max_tokens=5) as stream:
                await stream.get_final_message()


async def test_failover_goes_from_one_api_to_the_other(bed):
    async with by_openai(bed, "both") as chat, by_anthropic(bed, "both") as messages:
        first = await chat.chat.completions.create(**ASK)
        assert first.choices[0].message.content.startswith("server=gpt")
        await bed.gpt.fault("status", status=503)
        second = await chat.chat.completions.create(**ASK)
        assert second.choices[0].message.content.startswith("server=claude model=claude-v1")
        third = await messages.messages.create(**ASK, max_tokens=5)
        assert third.content[0].text.startswith("server=claude model=claude-v1")
        await bed.gpt.clear()
        fourth = await messages.messages.create(**ASK, max_tokens=5)
        assert fourth.content[0].text.startswith("server=gpt")


async def test_without_workers_only_backends_of_the_clients_api_serve(bed):
    await bed.kill(0)
    ask = {**ASK, "max_tokens": 5}
    async with by_openai(bed, "both") as chat, by_anthropic(bed, "both") as messages:
        served = await chat.chat.completions.create(**ASK)
        assert served.choices[0].message.content.startswith("server=gpt model=gpt-v1")
        said = await messages.messages.create(**ask)
        assert said.content[0].text.startswith("server=claude model=claude-v1")
    async with by_openai(bed, "claude") as chat, by_anthropic(bed, "claude") as messages:
        with pytest.raises(openai.InternalServerError) as refused:
            await chat.chat.completions.create(**ASK)
        assert refused.value.code == "translation_unavailable"
        assert (await messages.messages.create(**ask)).content
    assert {record.path for record in bed.claude.requests} == {"/v1/messages"}
    assert {record.path for record in bed.gpt.requests} == {"/v1/chat/completions"}
