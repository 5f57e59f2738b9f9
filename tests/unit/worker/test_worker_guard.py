"""Every way in which a stream breaks, against every way to recover, read by the official SDKs."""

import asyncio
import json

import anthropic
import httpx
import openai
import pytest
from listener_bed import chat, serving, until
from moltbot_provider import Fault

FAULTS = {
    "late": Fault("slow_first_byte", seconds=60),
    "silent": Fault("hang"),
    "stall": Fault("stream_stall", after=3),
    "cut": Fault("stream_cut", after=3),
    "broken": Fault("malformed_json", after=3),
    "no end": Fault("no_done", after=3),
    "at once": Fault("stream_cut", after=0),
}
BEFORE_TOKEN = {"late", "silent", "at once"}
QUICK = {"first_token": 2.0, "stall": 2.0}


def fault(name, sdk="openai"):
    """Two tokens come before what breaks later: of Anthropic's events the first three are none."""
    made = FAULTS[name]
    later = 2 if sdk == "anthropic" and made.after else 0
    return Fault(made.kind, seconds=made.seconds, after=made.after + later)


def guarded(recover, **more):
    return {"stream": {**QUICK, "recover": recover}, **more}


async def by_openai(bed, **more):
    """Text, finish reason, and the error that the SDK raised."""
    client = openai.AsyncOpenAI(
        base_url=bed.url + "/v1", api_key="x", default_headers=bed.headers(), max_retries=0
    )
    text, finish, models = "", None, set()
    try:
        stream = await client.chat.completions.create(
            model="gpt", messages=[{"role": "user", "content": "hi"}], stream=True, **more
        )
        async for chunk in stream:
            models.add(chunk.model)
            for choice in chunk.choices:
                text += choice.delta.content or ""
                finish = choice.finish_reason or finish
    except openai.APIError as error:
        return text, finish, error
    finally:
        await client.close()
    return text, finish, None


async def by_anthropic(bed):
    client = anthropic.AsyncAnthropic(
        base_url=bed.url, api_key="x", default_headers=bed.headers(), max_retries=0
    )
    text, reason = "", None
    try:
        async with client.messages.stream(
            model="m", max_tokens=5, messages=[{"role": "user", "content": "hi"}]
        ) as stream:
            async for piece in stream.text_stream:
                text += piece
            reason = (await stream.get_final_message()).stop_reason
    except (anthropic.APIError, httpx.HTTPError) as error:
        return text, reason, error
    finally:
        await client.close()
    return text, reason, None


SDKS = {"openai": by_openai, "anthropic": by_anthropic}
FINISHED = {"openai": "stop", "anthropic": "end_turn"}


def whole(label):
    """The answer of one backend, which names the model that it was asked for."""
    return f"server={label} model={label}-model word3 word4 word5"


async def in_every_mode(folder, check):
    """The modes beside each other, each with a bed of its own, since most of the time is waiting."""
    beds = {recover: folder / recover for recover in ("Error", "Continue", "Hold")}
    for own in beds.values():
        own.mkdir()
    await asyncio.gather(*(check(recover, own) for recover, own in beds.items()))


@pytest.mark.parametrize("sdk", SDKS)
@pytest.mark.parametrize("name", FAULTS)
async def test_a_broken_stream_is_rescued_or_told(tmp_path, name, sdk):
    async def check(recover, folder):
        async with serving(folder, guarded(recover, prefill={"two": "Assistant"})) as bed:
            await bed.providers["one"].set_faults([fault(name, sdk)])
            text, finish, error = await SDKS[sdk](bed)
            if name in BEFORE_TOKEN or recover == "Hold":
                assert (text, finish, error) == (whole("two"), FINISHED[sdk], None)
            elif recover == "Continue":
                assert (finish, error) == (FINISHED[sdk], None)
                assert text.startswith("server=one")
                assert text.endswith(whole("two"))
            else:
                assert error is not None
                assert finish is None
                assert text in whole("one")
            await bed.providers["one"].clear()
            assert await SDKS[sdk](bed) == (whole("one"), FINISHED[sdk], None)
            await until(lambda: bed.worker.app.in_flight == 0, "an idle worker")
            await until(lambda: not any(p.requests.in_flight for p in bed.providers.values()), "no call")

    await in_every_mode(tmp_path, check)


@pytest.mark.parametrize("sdk", SDKS)
@pytest.mark.parametrize("name", FAULTS)
async def test_with_every_backend_broken_the_client_is_told(tmp_path, name, sdk):
    async def check(recover, folder):
        async with serving(folder, guarded(recover, prefill={"two": "Assistant"})) as bed:
            for provider in bed.providers.values():
                await provider.set_faults([fault(name, sdk)])
            _, finish, error = await SDKS[sdk](bed)
            assert error is not None
            assert finish is None
            assert bed.providers["one"].requests.total == 1

    await in_every_mode(tmp_path, check)


@pytest.mark.parametrize("sdk", SDKS)
async def test_a_backend_that_refuses_to_go_on_leads_to_the_next_one(tmp_path, sdk):
    labels = ("one", "two", "three")
    prefill = {"two": "Assistant", "three": "Prefix"}
    async with serving(tmp_path, guarded("Continue", prefill=prefill), labels=labels) as bed:
        await bed.providers["one"].set_faults([fault("cut", sdk)])
        await bed.providers["two"].fault("status", status=400)
        text, finish, error = await SDKS[sdk](bed)
        assert (error, finish) == (None, FINISHED[sdk])
        assert text.endswith(whole("three"))
        assert await bed.metric('moltbot_worker_stream_failures_total{kind="refused",rule="chat"}') == 1
        assert await bed.metric('moltbot_worker_stream_rescued_total{rule="chat"}') == 1


@pytest.mark.parametrize("sdk", SDKS)
async def test_without_a_backend_that_can_go_on_the_client_is_told(tmp_path, sdk):
    async with serving(tmp_path, guarded("Continue")) as bed:
        await bed.providers["one"].set_faults([fault("cut", sdk)])
        _, finish, error = await SDKS[sdk](bed)
        assert error is not None
        assert finish is None
        assert bed.providers["two"].requests.total == 0


@pytest.mark.parametrize(
    ("form", "message", "more"),
    [
        ("Assistant", {"content": "server=one model=one-model"}, {}),
        ("Prefix", {"content": "server=one model=one-model", "prefix": True}, {}),
        (
            "ContinueFinalMessage",
            {"content": "server=one model=one-model"},
            {"continue_final_message": True, "add_generation_prompt": False},
        ),
    ],
)
async def test_what_was_said_is_given_in_the_backends_form(tmp_path, form, message, more):
    async with serving(tmp_path, guarded("Continue", prefill={"two": form})) as bed:
        await bed.providers["one"].set_faults([fault("cut")])
        await by_openai(bed)
        headers, body = bed.listener.seen[-1]
        asked = json.loads(body)
        assert headers["x-mb-backend"] == "two"
        assert asked["model"] == "two-model"
        assert asked["messages"][-1] == {"role": "assistant", **message}
        assert {name: asked[name] for name in more} == more


async def test_a_tool_call_that_breaks_does_not_go_on(tmp_path):
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
    async with serving(tmp_path, guarded("Continue", prefill={"two": "Assistant"})) as bed:
        await bed.providers["one"].fault("stream_cut", after=3)
        _, finish, error = await by_openai(bed, tools=[tool], tool_choice="required")
        assert error is not None
        assert finish is None


async def test_a_continued_answer_has_one_identity(tmp_path):
    async with serving(tmp_path, guarded("Continue", prefill={"two": "Prefix"})) as bed:
        await bed.providers["one"].set_faults([fault("cut")])
        _, _, body = await bed.ask(chat(stream=True))
        events = [json.loads(line[6:]) for line in body.split(b"\n") if line.startswith(b"data: {")]
        assert len({event["id"] for event in events}) == 1
        assert body.count(b'"role"') == 1
        assert body.endswith(b"data: [DONE]\n\n")


async def test_who_broke_before_the_first_token_is_in_a_header(tmp_path):
    async with serving(tmp_path, guarded("Error")) as bed:
        await bed.providers["one"].set_faults([fault("late")])
        _, headers, _ = await bed.ask(chat(stream=True))
        assert headers["x-moltbot-recovered"] == "one"
        assert headers["x-moltbot-backend"] == "two"


async def test_an_answer_that_is_no_stream_passes_as_it_is(tmp_path):
    async with serving(tmp_path, guarded("Continue")) as bed:
        for provider in bed.providers.values():
            await provider.fault("context_length")
        status, _, body = await bed.ask(chat(stream=True))
        assert status == 400
        assert json.loads(body)["error"]["code"] == "context_length_exceeded"
        assert (await bed.ask(chat()))[0] == 400


async def test_a_finished_answer_without_its_end_gets_one(tmp_path):
    async with serving(tmp_path, guarded("Error")) as bed:
        count = 7  # role, five words, finish
        await bed.providers["one"].fault("no_done", after=count)
        text, finish, error = await by_openai(bed)
        assert (text, finish, error) == (whole("one"), "stop", None)
        assert (await bed.ask(chat(stream=True)))[2].endswith(b"data: [DONE]\n\n")


async def test_a_client_that_leaves_a_guarded_stream_ends_the_call(tmp_path):
    async with serving(tmp_path, {"stream": {"first_token": 20, "stall": 60}}) as bed:
        await bed.providers["one"].fault("stream_stall", after=3)
        async with bed.post(chat(stream=True)) as response:
            await response.content.readany()
        await until(lambda: bed.providers["one"].requests.in_flight == 0, "the end of the call")
        await until(lambda: bed.worker.app.in_flight == 0, "the end of the request")


async def test_the_gateways_worker_listener_being_away_is_marked(tmp_path):
    async with serving(tmp_path, guarded("Hold")) as bed:
        await bed.listener.stop()
        status, headers, _ = await bed.ask(chat(stream=True))
        assert (status, headers["x-mb-fault"]) == (503, "worker")
