import contextlib
import json

import aiohttp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from listener_bed import chat, serving, until
from redis_bed import RedisBed

from moltbot_worker.config import Rule
from moltbot_worker.exchange import Request
from moltbot_worker.kept import Kept
from moltbot_worker.keys import identity
from moltbot_worker.sse import is_whole

CACHE = {"cache": {"ttl": 600}}


@pytest.fixture
async def bed(tmp_path):
    async with serving(tmp_path, dict(CACHE)) as made:
        yield made


@pytest.mark.parametrize("stream", [False, True])
async def test_a_second_request_is_a_hit_and_byte_equal(bed, stream):
    _, first, one = await bed.ask(chat(stream=stream))
    _, second, two = await bed.ask(chat(stream=stream))
    assert (first["x-moltbot-cache"], second["x-moltbot-cache"]) == ("miss", "hit")
    assert one == two
    assert second["content-type"] == first["content-type"]
    assert second["x-moltbot-backend"] == "one"
    assert int(second["age"]) >= 0
    assert bed.calls() == 1


async def test_the_order_of_keys_and_white_space_make_no_other_request(bed):
    await bed.ask(b'{"model":"gpt","messages":[],"temperature":0}')
    _, headers, _ = await bed.ask(b'{ "temperature": 0, "messages": [ ], "model": "gpt" }')
    assert headers["x-moltbot-cache"] == "hit"


async def test_of_a_key_that_is_there_twice_both_sides_take_the_same(bed):
    await bed.ask(b'{"model":"gpt","temperature":0,"messages":["first"],"messages":["last"]}')
    assert json.loads(bed.listener.seen[0][1])["messages"] == ["last"]
    assert bed.listener.seen[0][1].count(b'"messages"') == 1


async def test_another_consumer_gets_an_answer_of_its_own(bed):
    await bed.ask(chat())
    _, headers, _ = await bed.ask(chat(), consumer="other")
    assert headers["x-moltbot-cache"] == "miss"
    assert bed.calls() == 2


async def test_consumers_share_where_the_rule_says_so(tmp_path):
    async with serving(tmp_path, {"cache": {"scope": "Route"}}) as bed:
        await bed.ask(chat())
        _, headers, _ = await bed.ask(chat(), consumer="other")
        assert headers["x-moltbot-cache"] == "hit"


@pytest.mark.parametrize(
    ("document", "headers", "told"),
    [
        ({"temperature": 0.7}, {}, "bypass;reason=not-deterministic"),
        ({"temperature": 0.7, "seed": 3}, {}, "miss"),
        ({"temperature": 0.7}, {"x-moltbot-cache": "allow"}, "miss"),
        ({}, {"cache-control": "no-store"}, "bypass;reason=asked"),
        ({}, {"x-moltbot-cache": "bypass"}, "bypass;reason=asked"),
        ({}, {"cache-control": "max-age=0, no-cache"}, "miss"),
        ({}, {"x-moltbot-cache": "refresh"}, "miss"),
    ],
)
async def test_what_may_be_kept_is_the_requests_and_the_clients_choice(bed, document, headers, told):
    asked = chat(**document)
    for _ in range(2):
        _, answered, _ = await bed.ask(asked, **headers)
    expected = (
        "hit" if told == "miss" and not {"refresh", "max-age=0, no-cache"} & set(headers.values()) else told
    )
    assert answered["x-moltbot-cache"] == expected
    assert bed.calls() == (1 if expected == "hit" else 2)


async def test_a_refreshed_answer_is_the_one_that_is_kept(bed):
    await bed.ask(chat())
    await bed.ask(chat(), x_moltbot_cache="refresh")
    _, headers, _ = await bed.ask(chat())
    assert headers["x-moltbot-cache"] == "hit"
    assert bed.calls() == 2


async def test_embeddings_are_kept_and_stored_objects_are_not(bed):
    for _ in range(2):
        _, headers, _ = await bed.ask({"model": "m", "input": "a"}, path="/v1/embeddings")
    assert headers["x-moltbot-cache"] == "hit"
    for _ in range(2):
        _, headers, _ = await bed.ask({"model": "m", "input": "a", "temperature": 0}, path="/v1/responses")
    assert headers["x-moltbot-cache"] == "bypass;reason=operation"


@pytest.mark.parametrize("fault", ["status", "malformed_json", "stream_cut", "no_done", "context_length"])
@pytest.mark.parametrize("stream", [False, True])
async def test_no_error_and_no_part_of_an_answer_is_kept(bed, fault, stream):
    for provider in bed.providers.values():
        await provider.fault(fault)
    with contextlib.suppress(aiohttp.ClientPayloadError):
        await bed.ask(chat(stream=stream))
    for provider in bed.providers.values():
        await provider.clear()
    status, headers, body = await bed.ask(chat(stream=stream))
    kept = fault == "no_done" and not stream  # this fault is one of streams only
    assert (status, headers["x-moltbot-cache"]) == (200, "hit" if kept else "miss")
    assert is_whole(body, stream=stream)


async def test_a_client_that_leaves_leaves_nothing_kept(bed):
    await bed.providers["one"].fault("stream_stall", after=2)
    async with bed.post(chat(stream=True)) as response:
        await response.content.readany()
    await until(lambda: bed.worker.app.in_flight == 0, "the end of the request")
    await bed.providers["one"].clear()
    _, headers, body = await bed.ask(chat(stream=True))
    assert headers["x-moltbot-cache"] == "miss"
    assert body.endswith(b"data: [DONE]\n\n")


async def test_an_answer_past_its_time_is_given_once_more_and_got_anew(tmp_path):
    async with serving(tmp_path, {"cache": {"ttl": 0.05, "stale": 600}}) as bed:
        await bed.ask(chat())

        async def stale():
            return (await bed.ask(chat()))[1]["x-moltbot-cache"] == "stale"

        await until(stale, "a stale answer")
        await until(lambda: bed.calls() >= 2, "a new call behind it")


async def test_a_longer_answer_than_is_kept_is_not(tmp_path):
    async with serving(tmp_path, {"cache": {"max_answer_bytes": 50}}) as bed:
        for _ in range(2):
            _, headers, _ = await bed.ask(chat())
        assert headers["x-moltbot-cache"] == "miss"


async def test_without_its_store_the_cache_is_left_out_and_comes_back(tmp_path):
    redis = RedisBed(tmp_path).start()
    store = {"type": "Redis", "url": redis.url, "password": str(redis.password_file)}
    try:
        async with serving(tmp_path, dict(CACHE), store=store) as bed:
            await bed.ask(chat())
            assert (await bed.ask(chat()))[1]["x-moltbot-cache"] == "hit"
            redis.kill()
            status, headers, _ = await bed.ask(chat())
            assert (status, headers["x-moltbot-cache"]) == (200, "bypass;reason=store")
            assert bed.worker.problems()
            redis.start()

            async def hit():
                return (await bed.ask(chat()))[1]["x-moltbot-cache"] == "hit"

            await until(hit, "a hit again")
            assert not bed.worker.problems()
    finally:
        redis.kill()


def request(document, *, consumer="web", path="/v1/chat/completions", rule="chat", headers=(), asked=None):
    settings = {"name": rule, "choices": [{"route": "r", "chain": ["a"]}], "backends": {"a": {}}}
    return Request(
        "POST",
        path,
        list(headers),
        json.dumps(document).encode(),
        Rule.model_validate(settings),
        consumer,
        asked_model=asked,
    )


NAMES = st.text("ab=\0/", max_size=4)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.floats(-2, 2) | st.text('ab\0"{', max_size=4),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text("ab", max_size=2), inner, max_size=2),
    max_leaves=4,
)
REQUESTS = st.fixed_dictionaries(
    {
        "document": st.dictionaries(st.sampled_from(["messages", "seed", "n"]), VALUES, max_size=3),
        "consumer": NAMES,
        "path": st.sampled_from(["/v1/chat/completions", "/v1/completions", "/v1/completions?a=b"]),
        "rule": st.sampled_from(["chat", "tech"]),
        "headers": st.lists(
            st.tuples(st.just(b"openai-beta"), st.sampled_from([b"", b"a", b"b"])), max_size=1
        ),
        "asked": st.none() | st.sampled_from(["gpt", "auto"]),
    }
)


def meaning(given):
    model = given["asked"] if given["asked"] is not None else None
    # 0 and false, 1 and 1.0 are equal in Python and not in JSON
    written = json.dumps(given["document"] | ({"model": model} if model else {}), sort_keys=True)
    beta = b"".join(value for _, value in given["headers"])
    return written, given["path"], given["rule"], beta


@settings(max_examples=300, deadline=None)
@given(REQUESTS, REQUESTS)
def test_two_requests_have_one_key_only_if_they_are_the_same_of_the_same_consumer(one, other):
    first, second = (identity(request(**each), "Consumer") for each in (one, other))
    same = meaning(one) == meaning(other) and one["consumer"] == other["consumer"]
    assert (first == second) == same


@settings(max_examples=200, deadline=None)
@given(REQUESTS, NAMES)
def test_no_other_consumer_ever_has_the_same_key(one, consumer):
    other = {**one, "consumer": consumer}
    first, second = (identity(request(**each), "Consumer") for each in (one, other))
    assert (first == second) == (one["consumer"] == consumer)
    # nor one that is shared by the route
    assert first != identity(request(**other), "Route")


@given(st.binary(max_size=200))
def test_what_others_wrote_into_the_store_is_no_answer(value):
    Kept.unpacked(value)
    assert Kept.unpacked(b'{"status": 200}\n' + value) is None
