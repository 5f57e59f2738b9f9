"""The official anthropic SDK, passed through to a backend that speaks Anthropic's API."""

import anthropic
import pytest
import pytest_asyncio
from sdk_bed import KEY, served

__all__ = ["served"]

pytestmark = pytest.mark.asyncio(loop_scope="module")

ASK = {"model": "claude", "max_tokens": 6, "messages": [{"role": "user", "content": "hello"}]}
TOOL = {
    "name": "weather",
    "input_schema": {"type": "object", "properties": {"town": {"type": "string"}}, "required": ["town"]},
}


def made_for(bed, path="/anthropic", key=KEY, **more):
    return anthropic.AsyncAnthropic(
        base_url=f"{bed.running.url}{path}", api_key=key, **{"timeout": 30, "max_retries": 0, **more}
    )


@pytest.fixture
def claude(served):
    return served[1]["claude"]


@pytest_asyncio.fixture(loop_scope="module")
async def client(served):
    await served[1]["claude"].clear()
    served[1]["claude"].requests.clear()
    async with made_for(served[0]) as made:
        yield made


async def test_a_message_goes_through_with_the_backends_own_key(client, claude):
    answer = await client.messages.create(**ASK)
    assert answer.content[0].text == "server=claude model=claude word3 word4 word5 word6"
    assert (answer.stop_reason, answer.usage.output_tokens) == ("end_turn", 6)
    (record,) = claude.requests
    assert record.credentials == {"x-api-key": ["claude-key"]}
    assert record.header("anthropic-version")
    assert record.path == "/v1/messages"


async def test_streaming(client):
    async with client.messages.stream(**ASK) as stream:
        text = "".join([part async for part in stream.text_stream])
        final = await stream.get_final_message()
    assert text == final.content[0].text
    assert final.usage.output_tokens == 6


async def test_tools_plain_streamed_and_with_their_result(client):
    first = await client.messages.create(**ASK, tools=[TOOL])
    (call,) = first.content
    assert (first.stop_reason, call.name, call.input) == ("tool_use", "weather", {"town": "claude"})
    async with client.messages.stream(**ASK, tools=[TOOL]) as stream:
        assert (await stream.get_final_message()).content[0].input == {"town": "claude"}
    result = {"type": "tool_result", "tool_use_id": call.id, "content": "sunny"}
    messages = [
        *ASK["messages"],
        {"role": "assistant", "content": first.content},
        {"role": "user", "content": [result]},
    ]
    second = await client.messages.create(**{**ASK, "messages": messages}, tools=[TOOL])
    assert second.stop_reason == "end_turn"


async def test_tokens_are_counted(client):
    counted = await client.messages.count_tokens(model="claude", messages=ASK["messages"])
    assert counted.input_tokens > 0


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, anthropic.BadRequestError),
        (401, anthropic.AuthenticationError),
        (403, anthropic.PermissionDeniedError),
        (404, anthropic.NotFoundError),
        (429, anthropic.RateLimitError),
        (500, anthropic.InternalServerError),
        (529, anthropic.InternalServerError),
    ],
)
async def test_errors_of_the_backend_arrive_in_its_own_shape(client, claude, status, kind):
    await claude.fault("status", status=status)
    with pytest.raises(kind) as failed:
        await client.messages.create(**ASK)
    assert failed.value.status_code == status
    assert failed.value.body["type"] == "error"
    assert failed.value.body["error"]["message"] == "claude: simulated fault"


async def test_errors_of_the_gateway_are_the_right_exceptions_too(served, client, claude):
    async with made_for(served[0], key="wrong") as stranger:
        with pytest.raises(anthropic.AuthenticationError) as refused:
            await stranger.messages.create(**ASK)
    assert "No valid API key" in str(refused.value)
    async with made_for(served[0], "/anthropic/v2/nothing") as lost:
        with pytest.raises(anthropic.NotFoundError):
            await lost.models.retrieve("nothing")
    await claude.fault("refuse")
    with pytest.raises(anthropic.InternalServerError) as gone:
        await client.messages.create(**ASK)
    assert gone.value.status_code == 503
    with pytest.raises(anthropic.InternalServerError):
        async with client.messages.stream(**ASK) as stream:
            await stream.get_final_message()


async def test_the_sdk_retries_by_itself(client, claude):
    await claude.fault("status", status=529, count=1)
    answer = await client.with_options(max_retries=1).messages.create(**ASK)
    assert answer.content
    assert [record.status for record in claude.requests] == [529, 200]


async def test_a_stream_that_breaks_is_an_error(client, claude):
    await claude.fault("stream_cut", after=3)
    with pytest.raises(Exception, match=r"closed|incomplete|disconnect|Connection"):
        async with client.messages.stream(**ASK) as stream:
            await stream.get_final_message()


async def test_a_client_that_takes_long_has_its_own_exception(client, claude):
    await claude.fault("hang")
    with pytest.raises(anthropic.APITimeoutError):
        await client.with_options(timeout=0.3).messages.create(**ASK)
