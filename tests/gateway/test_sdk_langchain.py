"""LangChain's OpenAI classes, which applications use in place of the SDK itself."""

import openai
import pydantic
import pytest
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from sdk_bed import KEY, served

__all__ = ["served"]

pytestmark = pytest.mark.asyncio(loop_scope="module")


@tool
def weather(town: str, days: int) -> str:
    """Tells the weather of a town."""
    return f"{days} sunny days in {town}"


@pytest.fixture
def chat(served):
    return ChatOpenAI(base_url=f"{served[0].running.url}/v1", api_key=KEY, model="gpt-4o", timeout=30)


async def test_invoke(chat):
    answer = await chat.ainvoke("hello")
    assert answer.content.startswith("server=")
    assert answer.usage_metadata["total_tokens"] > 0
    assert answer.response_metadata["model_name"] in {"one-model", "two-model"}


async def test_stream(chat):
    parts = [part async for part in chat.astream("hello")]
    assert len(parts) > 3
    assert "".join(part.content for part in parts).startswith("server=")


async def test_tools_and_their_results(chat):
    able = chat.bind_tools([weather])
    question = HumanMessage("how is it?")
    first = await able.ainvoke([question])
    (call,) = first.tool_calls
    assert (call["name"], call["args"]["days"]) == ("weather", 7)
    result = ToolMessage(weather.invoke(call["args"]), tool_call_id=call["id"])
    second = await able.ainvoke([question, first, result])
    assert second.content.startswith("server=")
    streamed = None
    async for part in able.astream([question]):
        streamed = part if streamed is None else streamed + part
    [again] = streamed.tool_calls  # the town is the name of the provider that was drawn
    assert (again["name"], again["args"]["days"]) == ("weather", 7)
    assert {again["args"]["town"], call["args"]["town"]} <= {"one", "two"}


class Town(pydantic.BaseModel):
    """A town."""

    name: str
    people: int


async def test_structured_output(chat):
    answer = await chat.with_structured_output(Town).ainvoke("which town?")
    assert answer.people == 7


async def test_responses_api(chat):
    answer = await chat.model_copy(update={"use_responses_api": True}).ainvoke("hello")
    assert answer.text.startswith("server=one")


async def test_batch(chat):
    answers = await chat.abatch(["a", "b", "c"])
    assert len(answers) == 3


async def test_embeddings(served):
    made = OpenAIEmbeddings(
        base_url=f"{served[0].running.url}/v1",
        api_key=KEY,
        model="any",
        check_embedding_ctx_length=False,
    )
    assert [len(vector) for vector in await made.aembed_documents(["a", "b"])] == [8, 8]


async def test_a_wrong_key_is_the_sdks_own_exception(served, chat):
    stranger = ChatOpenAI(base_url=f"{served[0].running.url}/v1", api_key="wrong", model="m", max_retries=0)
    with pytest.raises(openai.AuthenticationError):
        await stranger.ainvoke("hello")
    assert (await chat.ainvoke("hello")).content
