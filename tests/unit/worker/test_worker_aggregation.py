import asyncio
import json

import openai
import pytest
from listener_bed import chat, serving, until

from moltbot_worker.aggregating import decided, opinion

THREE = ("a", "b", "c")


def rule(strategy):
    return {"aggregate": {"strategy": strategy, "backends": list(THREE)}}


async def asked(bed, **more):
    status, headers, body = await bed.ask(chat(**more))
    return status, headers.get("x-moltbot-aggregate"), json.loads(body)


def said(document):
    return document["choices"][0]["message"]["content"]


@pytest.mark.parametrize("stream", [False, True])
async def test_the_first_good_answer_wins_and_the_others_end(tmp_path, stream):
    async with serving(tmp_path, rule("FirstSuccess"), labels=THREE) as bed:
        await bed.providers["a"].fault("hang")
        await bed.providers["b"].fault("status", status=500)
        status, headers, body = await bed.ask(chat(stream=stream))
        assert status == 200
        assert headers["x-moltbot-aggregate"] == "FirstSuccess;backend=c"
        assert b"server=c" in body
        assert b"c-model" in body
        await until(lambda: not bed.providers["a"].requests.in_flight, "the end of the losers")
        await until(lambda: bed.worker.app.in_flight == 0, "an idle worker")


@pytest.mark.parametrize("fault", ["late", "cut", "broken"])
async def test_a_stream_without_a_token_does_not_win(tmp_path, fault):
    async with serving(tmp_path, rule("FirstSuccess"), labels=THREE) as bed:
        for label in "ab":
            if fault == "late":
                await bed.providers[label].fault("slow_first_byte", seconds=60)
            else:
                await bed.providers[label].fault(
                    "stream_cut" if fault == "cut" else "malformed_json", after=0
                )
        _, headers, body = await bed.ask(chat(stream=True))
        assert headers["x-moltbot-aggregate"] == "FirstSuccess;backend=c"
        assert body.endswith(b"data: [DONE]\n\n")


async def test_a_winner_that_breaks_is_told_by_an_error_event(tmp_path):
    async with serving(tmp_path, rule("FirstSuccess"), labels=THREE) as bed:
        for provider in bed.providers.values():
            await provider.fault("stream_cut", after=3)
        client = openai.AsyncOpenAI(
            base_url=bed.url + "/v1", api_key="x", default_headers=bed.headers(), max_retries=0
        )
        with pytest.raises(openai.APIError):
            async for _ in await client.chat.completions.create(model="m", messages=[], stream=True):
                pass
        await client.close()


@pytest.mark.parametrize("strategy", ["FirstSuccess", "All", "Vote"])
async def test_without_a_good_answer_the_request_fails_once(tmp_path, strategy):
    async with serving(tmp_path, rule(strategy), labels=THREE) as bed:
        for label in "ab":
            await bed.providers[label].fault("status", status=500)
        await bed.providers["c"].fault("context_length")
        status, _, document = await asked(bed)
        assert status == 400
        assert document["error"]["code"] == "context_length_exceeded"
        assert bed.calls() == 3


async def test_all_answers_come_together(tmp_path):
    async with serving(tmp_path, rule("All"), labels=THREE) as bed:
        await bed.providers["b"].fault("status", status=500)
        status, told, document = await asked(bed)
        assert (status, told) == (200, "All;answers=2/3")
        assert [each["index"] for each in document["choices"]] == [0, 1]
        texts = [each["message"]["content"] for each in document["choices"]]
        assert [text.split()[0] for text in texts] == ["server=a", "server=c"]
        assert document["usage"]["completion_tokens"] == 10
        assert [each["backend"] for each in document["moltbot"]["answers"]] == list(THREE)
        assert document["moltbot"]["answers"][1] == {"backend": "b", "status": 500, "choices": []}


async def test_the_official_sdk_reads_all_answers(tmp_path):
    async with serving(tmp_path, rule("All"), labels=THREE) as bed:
        client = openai.AsyncOpenAI(base_url=bed.url + "/v1", api_key="x", default_headers=bed.headers())
        answer = await client.chat.completions.create(model="m", messages=[])
        await client.close()
        assert len(answer.choices) == 3
        assert answer.usage.completion_tokens == 15


async def test_a_vote_takes_the_answer_of_most(tmp_path):
    async with serving(tmp_path, rule("Vote"), labels=THREE) as bed:
        # an answer is a function of server and model: a filtered one is the same of all
        for label in "bc":
            await bed.providers[label].fault("content_filter")
        status, told, document = await asked(bed)
        assert status == 200
        assert told == "Vote;votes=2/3;backend=b"
        assert document["choices"][0]["finish_reason"] == "content_filter"


async def test_a_vote_ends_when_it_is_decided(tmp_path):
    async with serving(tmp_path, rule("Vote"), labels=THREE) as bed:
        await bed.providers["a"].fault("hang")
        for label in "bc":
            await bed.providers[label].fault("content_filter")
        status, _, _ = await asked(bed)
        assert status == 200
        await until(lambda: not bed.providers["a"].requests.in_flight, "the end of the third call")


async def test_without_a_majority_the_first_in_order_is_taken(tmp_path):
    async with serving(tmp_path, rule("Vote"), labels=THREE) as bed:
        _, told, document = await asked(bed)
        assert told == "Vote;votes=1/3;backend=a"
        assert said(document).startswith("server=a")


@pytest.mark.parametrize("strategy", ["All", "Vote"])
async def test_a_stream_of_several_answers_is_refused(tmp_path, strategy):
    async with serving(tmp_path, rule(strategy), labels=THREE) as bed:
        status, _, document = await asked(bed, stream=True)
        assert status == 400
        assert "leave stream out" in document["error"]["message"]


async def test_what_can_not_be_put_together_goes_along_the_chain(tmp_path):
    async with serving(tmp_path, rule("Vote"), labels=THREE) as bed:
        status, headers, _ = await bed.ask({"model": "m", "input": "a"}, path="/v1/embeddings")
        assert status == 200
        assert "x-moltbot-aggregate" not in headers
        assert bed.calls() == 1


async def test_a_client_that_leaves_ends_all_calls(tmp_path):
    async with serving(tmp_path, rule("All"), labels=THREE) as bed:
        for provider in bed.providers.values():
            await provider.fault("hang")
        task = asyncio.create_task(bed.ask(chat()))
        await until(lambda: bed.calls() == 3, "three calls")
        task.cancel()
        await until(lambda: not any(p.requests.in_flight for p in bed.providers.values()), "no call left")


@pytest.mark.parametrize(
    ("opinions", "pending", "won"),
    [
        ([], 3, False),
        (["x"], 2, False),
        (["x", "x"], 1, True),
        (["x", "y"], 1, False),
        (["x", "x", "y"], 2, False),
        (["x", "x", "x", "y"], 1, True),
        (["x"], 0, True),
        (["x", "y"], 0, False),
    ],
)
def test_a_vote_is_decided_when_nothing_can_change_it(opinions, pending, won):
    assert decided(opinions, pending) is won


def test_white_space_and_case_make_no_other_opinion():
    def answer(text, **more):
        return json.dumps({"choices": [{"message": {"content": text, **more}}]}).encode()

    assert opinion(answer("Yes,  of\ncourse")) == opinion(answer(" yes, of course "))
    assert opinion(answer("yes")) != opinion(answer("no"))
    call = {"tool_calls": [{"id": "1", "function": {"name": "f", "arguments": "{}"}}]}
    other = {"tool_calls": [{"id": "2", "function": {"name": "f", "arguments": "{}"}}]}
    assert opinion(answer(None, **call)) == opinion(answer(None, **other))
