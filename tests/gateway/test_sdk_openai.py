"""The official openai SDK, unmodified: nothing of it can tell the gateway from a provider."""

import asyncio
import io
import time

import httpx
import openai
import pydantic
import pytest
import pytest_asyncio
from moltbot_provider.media import png
from sdk_bed import KEY, REFUSED, served

__all__ = ["served"]

pytestmark = pytest.mark.asyncio(loop_scope="module")

HELLO = [{"role": "user", "content": "hello"}]
WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "of a town",
        "parameters": {
            "type": "object",
            "properties": {"town": {"type": "string"}, "days": {"type": "integer"}},
            "required": ["town", "days"],
            "additionalProperties": False,
        },
    },
}


def made_for(bed, path="", key=KEY, kind=openai.AsyncOpenAI, **more):
    return kind(base_url=f"{bed.running.url}{path}/v1", api_key=key, **{"timeout": 30, **more})


@pytest_asyncio.fixture(loop_scope="module", autouse=True)
async def fresh(served):
    for provider in served[1].values():
        await provider.clear()
        provider.requests.clear()


@pytest_asyncio.fixture(loop_scope="module")
async def client(served):
    async with made_for(served[0]) as made:
        yield made


@pytest_asyncio.fixture(loop_scope="module")
async def alone(served):
    """Of a rule with one backend and no retries of the gateway: what it says is what the SDK gets."""
    async with made_for(served[0], "/alone", max_retries=0) as made:
        yield made


async def test_chat_names_the_model_that_served_and_its_usage(client):
    answer = await client.chat.completions.create(model="gpt-4o", messages=HELLO)
    assert answer.model in {"one-model", "two-model"}
    assert answer.choices[0].message.content.startswith("server=")
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
    assert answer._request_id


async def test_the_synchronous_client(served):
    def call():
        with made_for(served[0], kind=openai.OpenAI) as sync:
            plain = sync.chat.completions.create(model="gpt-4o", messages=HELLO)
            stream = sync.chat.completions.create(model="gpt-4o", messages=HELLO, stream=True)
            return plain, [chunk.choices[0].delta.content or "" for chunk in stream]

    plain, streamed = await asyncio.to_thread(call)
    assert plain.choices[0].finish_reason == "stop"
    assert "".join(streamed).startswith("server=")


async def test_streaming_with_usage(client):
    options = {"include_usage": True}
    stream = await client.chat.completions.create(
        model="gpt-4o", messages=HELLO, stream=True, stream_options=options
    )
    chunks = [chunk async for chunk in stream]
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text.startswith("server=")
    assert chunks[-1].usage.completion_tokens == 5


async def test_completions_old_style(client):
    answer = await client.completions.create(model="gpt-4o", prompt="hello")
    assert answer.choices[0].text.startswith("server=")


async def test_tools_plain_then_with_their_result(client):
    ask = {"model": "gpt-4o", "tools": [WEATHER], "messages": HELLO}
    first = await client.chat.completions.create(**ask)
    (call,) = first.choices[0].message.tool_calls
    assert (first.choices[0].finish_reason, call.function.name) == ("tool_calls", "weather")
    result = {"role": "tool", "tool_call_id": call.id, "content": "sunny"}
    messages = [*HELLO, first.choices[0].message, result]
    second = await client.chat.completions.create(**{**ask, "messages": messages})
    assert second.choices[0].finish_reason == "stop"


async def test_tools_streamed_by_the_helper(client):
    async with client.chat.completions.stream(
        model="gpt-4o",
        tools=[{**WEATHER, "function": {**WEATHER["function"], "strict": True}}],
        messages=HELLO,
    ) as stream:
        done = [e async for e in stream if e.type == "tool_calls.function.arguments.done"]
        final = await stream.get_final_completion()
    assert [each.name for each in done] == ["weather"]
    assert final.choices[0].message.tool_calls[0].function.parsed_arguments["days"] == 7


class Town(pydantic.BaseModel):
    name: str
    people: int


async def test_structured_output_is_parsed(client):
    answer = await client.chat.completions.parse(model="gpt-4o", messages=HELLO, response_format=Town)
    assert answer.choices[0].message.parsed.people == 7


async def test_pictures_in_a_message_arrive_whole(client, served):
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 200_000}}
    content = [{"type": "text", "text": "what is this?"}, image]
    await client.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": content}])
    (record,) = [each for name in ("one", "two") for each in served[1][name].requests]
    assert record.length > 200_000


async def test_embeddings(client):
    answer = await client.embeddings.create(model="any", input=["a", "b"])
    assert [len(each.embedding) for each in answer.data] == [8, 8]
    assert all(isinstance(number, float) for number in answer.data[0].embedding)


async def test_images_and_edits(client):
    made = await client.images.generate(model="any", prompt="a cat", n=2)
    assert len(made.data) == 2
    edited = await client.images.edit(model="any", image=("cat.png", png(3), "image/png"), prompt="a dog")
    assert f"a dog bytes={len(png(3))}" in edited.data[0].revised_prompt


async def test_audio_both_ways(client):
    sound = bytes(range(256)) * 2000
    text = await client.audio.transcriptions.create(model="whisper-1", file=("a.wav", io.BytesIO(sound)))
    assert f"bytes={len(sound)}" in text.text
    assert "model=whisper-1" in text.text  # a form passes with the model that it names
    speech = await client.audio.speech.create(model="tts", voice="alloy", input="hi")
    assert speech.content.endswith(bytes(range(256)) * 64)
    async with client.audio.speech.with_streaming_response.create(
        model="tts", voice="alloy", input="hi"
    ) as streamed:
        assert b"".join([part async for part in streamed.iter_bytes()]).endswith(bytes(range(256)))


async def test_moderations(client):
    answer = await client.moderations.create(input=["good", "harm"])
    assert [each.flagged for each in answer.results] == [False, True]


async def test_files_and_batches_stay_with_one_backend(client, served):
    content = bytes(range(256)) * 20
    files = [
        await client.files.create(file=(f"{number}.jsonl", content), purpose="batch") for number in range(8)
    ]
    listed = [file async for file in client.files.list()]
    assert {file.id for file in files} == {file.id for file in listed}
    for file in files:
        assert (await client.files.retrieve(file.id)).bytes == len(content)
        assert (await client.files.content(file.id)).content == content
    batch = await client.batches.create(
        input_file_id=files[0].id, endpoint="/v1/chat/completions", completion_window="24h"
    )
    assert (await client.batches.retrieve(batch.id)).input_file_id == files[0].id
    assert (await client.batches.cancel(batch.id)).status == "cancelling"
    assert [each.id async for each in client.batches.list()] == [batch.id]
    assert (await client.files.delete(files[0].id)).deleted
    with pytest.raises(openai.NotFoundError):
        await client.files.retrieve(files[0].id)
    assert not served[1]["two"].requests
    assert not served[1]["spare"].requests


async def test_with_its_backend_gone_a_file_is_not_looked_for_elsewhere(client, served):
    await served[1]["one"].fault("refuse")
    with pytest.raises(openai.InternalServerError) as failed:
        await client.with_options(max_retries=0).files.list()
    assert failed.value.status_code == 503
    assert not served[1]["two"].requests


async def test_responses_and_their_follow_ups(client, served):
    first = await client.responses.create(model="gpt-4o", input="hello")
    assert first.output_text.startswith("server=one model=one-model")
    for _ in range(4):
        again = await client.responses.create(model="gpt-4o", input="and?", previous_response_id=first.id)
        assert again.previous_response_id == first.id
    assert (await client.responses.retrieve(first.id)).id == first.id
    assert (await client.responses.input_items.list(first.id)).data == []
    await client.responses.delete(first.id)
    with pytest.raises(openai.NotFoundError):
        await client.responses.retrieve(first.id)
    assert not served[1]["two"].requests


async def test_responses_streamed_and_with_tools(client):
    async with client.responses.stream(model="gpt-4o", input="hello") as stream:
        text = [event.delta async for event in stream if event.type == "response.output_text.delta"]
        assert (await stream.get_final_response()).output_text == "".join(text)
    tool = {"type": "function", **WEATHER["function"]}
    answer = await client.responses.create(model="gpt-4o", input="hello", tools=[tool])
    assert answer.output[0].name == "weather"


async def test_models_listed_and_retrieved(client, served):
    names = [model.id async for model in client.models.list()]
    assert "one-model" in names
    assert (await client.models.retrieve("one-model")).id == "one-model"
    with pytest.raises(openai.NotFoundError) as missing:
        await client.models.retrieve("none/such")
    assert (missing.value.code, missing.value.param) == ("model_not_found", "model")
    async with made_for(served[0], key=REFUSED) as narrow:
        with pytest.raises(openai.NotFoundError):
            await narrow.models.retrieve("one-model")


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, openai.BadRequestError),
        (401, openai.AuthenticationError),
        (403, openai.PermissionDeniedError),
        (404, openai.NotFoundError),
        (409, openai.ConflictError),
        (422, openai.UnprocessableEntityError),
        (429, openai.RateLimitError),
        (500, openai.InternalServerError),
        (503, openai.InternalServerError),
    ],
)
async def test_errors_of_a_provider_arrive_as_the_right_exception(alone, served, status, kind):
    await served[1]["spare"].fault("status", status=status)
    with pytest.raises(kind) as failed:
        await alone.chat.completions.create(model="gpt-4o", messages=HELLO)
    assert failed.value.status_code == status
    assert "spare: simulated fault" in failed.value.message
    assert failed.value.request_id


async def test_a_context_length_error_keeps_code_and_parameter(alone, served):
    await served[1]["spare"].fault("context_length")
    with pytest.raises(openai.BadRequestError) as failed:
        await alone.chat.completions.create(model="gpt-4o", messages=HELLO)
    assert (failed.value.code, failed.value.param) == ("context_length_exceeded", "messages")


async def test_errors_of_the_gateway_arrive_as_the_right_exception(served, client):
    chat = {"model": "gpt-4o", "messages": HELLO}
    async with made_for(served[0], key="wrong", max_retries=0) as stranger:
        with pytest.raises(openai.AuthenticationError) as failed:
            await stranger.chat.completions.create(**chat)
    assert (failed.value.code, failed.value.type) == ("invalid_api_key", "invalid_request_error")
    assert failed.value.request_id
    async with made_for(served[0], key=REFUSED, max_retries=0) as narrow:
        with pytest.raises(openai.PermissionDeniedError) as failed:
            await narrow.chat.completions.create(**chat)
    assert failed.value.code == "out_of_scope"
    with pytest.raises(openai.BadRequestError) as failed:
        await client.chat.completions.create(model=7, messages=HELLO)
    assert failed.value.param == "model"


async def test_a_backend_that_is_gone_is_a_503_with_retry_after(served, alone):
    await served[1]["spare"].fault("refuse")
    with pytest.raises(openai.InternalServerError) as failed:
        await alone.chat.completions.create(model="gpt-4o", messages=HELLO)
    assert (failed.value.status_code, failed.value.code) == (503, "backend_unavailable")
    assert int(failed.value.response.headers["retry-after"]) >= 1


async def test_the_sdk_retries_by_itself_and_waits_as_told(served, alone):
    await served[1]["spare"].fault("status", status=429, retry_after="1", count=1)
    started = time.monotonic()
    answer = await alone.with_options(max_retries=2).chat.completions.create(model="m", messages=HELLO)
    assert answer.choices
    assert time.monotonic() - started >= 1
    assert [record.status for record in served[1]["spare"].requests] == [429, 200]
    counted = [record.header("x-stainless-retry-count") for record in served[1]["spare"].requests]
    assert counted == ["0", "1"]


async def test_the_gateway_fails_over_before_the_sdk_notices(served, client):
    for name in ("one", "two"):
        await served[1][name].fault("status", status=503)
    answer = await client.with_options(max_retries=0).chat.completions.create(model="m", messages=HELLO)
    assert answer.model == "spare-model"


async def test_the_clients_timeout_is_its_own_exception(served, alone):
    await served[1]["spare"].fault("hang")
    with pytest.raises(openai.APITimeoutError):
        await alone.with_options(timeout=0.3).chat.completions.create(model="m", messages=HELLO)


@pytest.mark.parametrize("kind", ["stream_cut", "reset_after_headers"])
async def test_a_stream_that_breaks_is_an_error_and_never_a_whole_answer(served, alone, kind):
    await served[1]["spare"].fault(kind)
    stream = await alone.chat.completions.create(model="m", messages=HELLO, stream=True)
    with pytest.raises((openai.APIError, httpx.RemoteProtocolError)):
        async for _ in stream:
            pass


async def test_connections_are_reused(served):
    async def opened():
        admin = (
            f"http://127.0.0.1:{served[0].running.admin_port}/stats?filter=http.public.downstream_cx_total"
        )
        return int((await served[0].client.get(admin)).text.split()[-1])

    before = await opened()
    async with made_for(served[0]) as client:
        for _ in range(20):
            await client.chat.completions.create(model="m", messages=HELLO)
        with pytest.raises(openai.NotFoundError):
            await client.models.retrieve("none")
        await client.models.list()
    assert await opened() == before + 1


async def test_the_raw_answer_says_who_served(client):
    raw = await client.chat.completions.with_raw_response.create(model="m", messages=HELLO)
    assert raw.headers["x-moltbot-backend"] in {"one", "two"}
    assert raw.headers["x-request-id"] == raw.parse()._request_id


async def test_queries_and_extra_headers_pass(client, served):
    await client.chat.completions.create(
        model="m", messages=HELLO, extra_query={"api-version": "1"}, extra_headers={"x-mine": "a"}
    )
    (record,) = [each for name in ("one", "two") for each in served[1][name].requests]
    assert record.path == "/v1/chat/completions?api-version=1"
    assert record.header("x-mine") == "a"


async def test_preflight_and_head(served):
    client = served[0].client
    headers = {"authorization": f"Bearer {KEY}"}
    refused = await client.options("/v1/chat/completions", headers=headers)
    assert (refused.status_code, refused.headers["allow"]) == (405, "DELETE, GET, HEAD, POST")
    head = await client.head("/v1/models", headers=headers)
    assert (head.status_code, head.content) == (200, b"")
