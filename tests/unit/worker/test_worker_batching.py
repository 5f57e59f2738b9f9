import asyncio
import json

import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st
from listener_bed import serving, until
from moltbot_provider import answers

from moltbot_worker.batching import shares

BATCH = {"batch": {"window": 0.3, "max_size": 8}}
PATH = "/v1/embeddings"


@pytest.fixture
async def bed(tmp_path):
    async with serving(tmp_path, BATCH) as made:
        yield made


def wanted(*inputs):
    """What the provider says to these inputs by themselves."""
    return [each["embedding"] for each in answers.embeddings("one", {"input": list(inputs)})["data"]]


async def embedded(bed, given, consumer="web", **more):
    status, headers, body = await bed.ask(
        {"model": "m", "input": given, **more}, path=PATH, consumer=consumer
    )
    return status, headers, json.loads(body)


async def test_requests_within_the_window_are_one_call_and_each_gets_its_vectors(bed):
    found = await asyncio.gather(embedded(bed, "a"), embedded(bed, ["b", "c"]), embedded(bed, ["d"]))
    assert bed.calls() == 1
    for inputs, (status, headers, document) in zip(("a", "bc", "d"), found, strict=True):
        assert status == 200
        assert headers["x-moltbot-batch"] == "3"
        assert [each["embedding"] for each in document["data"]] == wanted(*inputs)
        assert [each["index"] for each in document["data"]] == list(range(len(inputs)))
    whole = json.loads(bed.providers["one"].requests[0].body)["input"]
    assert sorted(whole) == ["a", "b", "c", "d"]
    assert await bed.metric('moltbot_worker_batched_total{rule="chat"}') == 3


async def test_the_tokens_of_a_call_are_shared_out_whole(bed):
    found = await asyncio.gather(embedded(bed, "a" * 90), embedded(bed, "b" * 10))
    used = [document["usage"]["prompt_tokens"] for _, _, document in found]
    assert used[0] > used[1]
    body = json.loads(bed.providers["one"].requests[0].body)
    assert sum(used) == answers.embeddings("one", body)["usage"]["prompt_tokens"]


async def test_the_largest_size_ends_the_wait(tmp_path):
    async with serving(tmp_path, {"batch": {"window": 1000, "max_size": 4}}) as bed:
        found = await asyncio.gather(*(embedded(bed, text) for text in "abcdefgh"))
        assert [status for status, _, _ in found] == [200] * 8
        assert bed.calls() == 2
        many = await embedded(bed, list("abcdef"))
        assert len(many[2]["data"]) == 6


@pytest.mark.parametrize(
    "other", [{"consumer": "other"}, {"encoding_format": "base64"}, {"dimensions": 4}, {"given": [[1, 2]]}]
)
async def test_what_differs_is_not_put_together(bed, other):
    given = other.pop("given", "b")
    await asyncio.gather(embedded(bed, "a"), embedded(bed, given, **other))
    assert bed.calls() == 2


async def test_a_list_of_tokens_is_one_input(bed):
    found = await asyncio.gather(embedded(bed, [1, 2, 3]), embedded(bed, [[4], [5, 6]]))
    assert bed.calls() == 1
    assert [len(document["data"]) for _, _, document in found] == [1, 2]
    assert found[0][2]["data"][0]["embedding"] == wanted([1, 2, 3])[0]


async def test_a_request_at_fault_is_told_and_the_others_are_served(bed):
    provider = bed.providers["one"]
    await provider.fault("context_length", count=2)  # the shared call, and the first one by itself
    found = await asyncio.gather(*(embedded(bed, text) for text in "abc"))
    assert sorted(status for status, _, _ in found) == [200, 200, 400]
    assert bed.calls() == 4


async def test_an_error_of_the_server_is_everybodys(bed):
    for provider in bed.providers.values():
        await provider.fault("status", status=503)
    found = await asyncio.gather(*(embedded(bed, text) for text in "ab"))
    assert [status for status, _, _ in found] == [503, 503]


async def test_a_client_that_leaves_takes_nobodys_answer_away(bed):
    bed.listener.gate.clear()
    first, second = (asyncio.create_task(embedded(bed, text)) for text in "ab")
    await until(lambda: len(bed.listener.seen) == 1, "the shared call")
    first.cancel()
    bed.listener.gate.set()
    assert (await second)[0] == 200


async def test_the_official_sdk_reads_its_own_part(bed):
    client = openai.AsyncOpenAI(base_url=bed.url + "/v1", api_key="x", default_headers=bed.headers())
    one, two = await asyncio.gather(
        client.embeddings.create(model="m", input="a"), client.embeddings.create(model="m", input=["b", "c"])
    )
    await client.close()
    assert [len(one.data), len(two.data)] == [1, 2]
    assert bed.calls() == 1


async def test_other_operations_are_left_alone(bed):
    status, headers, _ = await bed.ask({"model": "m", "messages": []})
    assert status == 200
    assert "x-moltbot-batch" not in headers


@given(st.integers(0, 10_000), st.lists(st.integers(0, 100), min_size=1, max_size=20))
def test_shares_add_up_and_follow_the_weights(total, weights):
    made = shares(total, weights)
    assert sum(made) == total
    assert all(each >= 0 for each in made)
    for one, other in zip(range(len(weights)), range(1, len(weights)), strict=False):
        if sum(weights) and weights[one] > weights[other]:
            assert made[one] >= made[other] - 1
