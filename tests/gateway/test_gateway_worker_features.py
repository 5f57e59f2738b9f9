"""What workers do, seen by clients of a real gateway, with the records of it."""

import asyncio
import json

import openai
import pytest
from gateway_bed import CHAT, backend, keyed, route, rule, secret, until
from moltbot_provider import Fault, Provider
from worker_bed import serving

NAMES = ("one", "two", "three")


@pytest.fixture
async def providers():
    async with (
        Provider(name="one", expect={"authorization": "Bearer key-one"}) as one,
        Provider(name="two") as two,
        Provider(name="three") as three,
    ):
        yield {"one": one, "two": two, "three": three}


def objects(providers, fallback=("two", "three"), consumers=None, failover=None, **asks):
    """A rule with the candidate `one`; all three speak as vLLM does, which goes on with what was begun."""
    failover = {"backoff": {"base": "1ms"}, **(failover or {})}
    made = rule("chat", ["one"], list(fallback), failover=failover, **asks)
    given = [route(made, consumers=consumers, worker={})]
    for name, provider in providers.items():
        more = {"key": "key-one"} if name == "one" else {}
        given += backend(name, provider.url, model=f"{name}-v1", provider="VLLM", **more)
    return given


def asked(content="hello", **more):
    return {"model": "gpt", "messages": [{"role": "user", "content": content}], **more}


async def read(bed):
    """Text, finish reason and error, as the official SDK gives them."""
    client = openai.AsyncOpenAI(base_url=bed.url + "/v1", api_key="x", max_retries=0)
    text, finish = "", None
    async with client:
        try:
            async for chunk in await client.chat.completions.create(**asked(), stream=True):
                for choice in chunk.choices:
                    text += choice.delta.content or ""
                    finish = choice.finish_reason or finish
        except openai.APIError as error:
            return text, finish, error
    return text, finish, None


def whole(name):
    return f"server={name} model={name}-v1 word3 word4 word5"


BROKEN = {
    "late": Fault("slow_first_byte", seconds=60),
    "stall": Fault("stream_stall", after=3),
    "cut": Fault("stream_cut", after=3),
    "broken": Fault("malformed_json", after=3),
    "no end": Fault("no_done", after=3),
}


@pytest.mark.parametrize("recover", ["Error", "Continue", "Hold"])
async def test_a_stream_that_breaks_is_rescued_or_told_in_every_mode(providers, tmp_path, recover):
    guard = {"stream": {"firstToken": "2s", "stall": "2s", "recover": recover}}
    async with serving(*objects(providers, failover=guard), folder=tmp_path) as bed:
        for name, fault in BROKEN.items():
            await providers["one"].set_faults([fault])
            text, finish, error = await read(bed)
            if name == "late" or recover == "Hold":
                assert (text, finish, error) == (whole("two"), "stop", None), name
            elif recover == "Continue":
                assert (finish, error) == ("stop", None), name
                assert text.startswith("server=one"), name
                assert text.endswith(whole("two")), name
            else:
                assert (finish, error is not None) == (None, True), name
            await providers["one"].clear()
        assert await read(bed) == (whole("one"), "stop", None)
        records = await bed.records(len(BROKEN) + 1)
    assert {record["status"] for record in records} == {200}
    assert records[-1]["backend"] == "one"
    if recover != "Error":
        assert records[0]["backend"] == "two"


async def test_what_broke_before_is_in_a_header(providers, tmp_path):
    guard = {"stream": {"firstToken": "2s"}}
    async with serving(*objects(providers, failover=guard), folder=tmp_path) as bed:
        await providers["one"].set_faults([Fault("stream_cut", after=0)])
        answer = await bed.chat(body=asked(stream=True))
    assert answer.headers["x-moltbot-recovered"] == "one"
    assert answer.headers["x-moltbot-backend"] == "two"
    assert answer.text.endswith("data: [DONE]\n\n")


async def test_embeddings_share_a_call(providers, tmp_path):
    async with serving(*objects(providers, batch={"window": "500ms"}), folder=tmp_path) as bed:
        texts = [f"text {number}" for number in range(6)]
        body = {"model": "embed"}
        answers = await asyncio.gather(*(bed.chat("/v1/embeddings", {**body, "input": t}) for t in texts))
        records = await bed.records(6)
    assert {each.status_code for each in answers} == {200}
    assert {each.headers["x-moltbot-batch"] for each in answers} == {"6"}
    [call] = providers["one"].requests
    assert sorted(json.loads(call.body)["input"]) == texts
    assert all(len(each.json()["data"]) == 1 for each in answers)
    assert {record["backend"] for record in records} == {"one"}


@pytest.mark.parametrize(
    ("strategy", "told"),
    [
        ("FirstSuccess", "FirstSuccess;backend=two"),
        ("All", "All;answers=2/3"),
        ("Vote", "Vote;votes=1/3;backend=two"),
    ],
)
async def test_several_backends_make_one_answer(providers, tmp_path, strategy, told):
    aggregate = {"strategy": strategy, "backends": list(NAMES)}
    async with serving(*objects(providers, aggregate=aggregate), folder=tmp_path) as bed:
        await providers["one"].fault("status", status=500)
        await providers["three"].fault("delay", seconds=0.5)
        answer = await bed.chat(body=asked())
        [record] = await bed.records(1)
    assert answer.status_code == 200
    assert answer.headers["x-moltbot-aggregate"] == told
    assert "model=two-v1" in answer.json()["choices"][0]["message"]["content"]
    assert providers["one"].requests.total == 1
    assert record["status"] == 200
    if strategy == "All":
        assert [each["backend"] for each in answer.json()["moltbot"]["answers"]] == list(NAMES)


async def test_a_job_is_taken_fetched_deleted_and_nobody_elses(providers, tmp_path):
    consumers = [keyed("web", *NAMES), keyed("other", *NAMES)]
    keys = [secret(f"{each['name']}-keys", a=f"key-{each['name']}") for each in consumers]
    mine, theirs = ({"authorization": f"Bearer key-{name}"} for name in ("web", "other"))
    given = [*objects(providers, consumers=consumers, **{"async": {}}), *keys]
    async with serving(*given, folder=tmp_path) as bed:
        taken = await bed.chat(body=asked(), idempotency_key="k1", **mine)
        assert taken.status_code == 202
        where = taken.headers["location"]
        assert where == f"/v1/jobs/{taken.headers['x-moltbot-job']}"

        async def ended():
            job = await bed.client.get(where, headers=mine)
            assert job.status_code == 200
            return job.json()["status"] not in {"queued", "running"}

        await until(ended)
        job = (await bed.client.get(where, headers=mine)).json()
        assert job["status"] == "succeeded"
        assert "server=one" in job["response"]["body"]["choices"][0]["message"]["content"]
        [call] = providers["one"].requests
        assert dict(call.headers)["idempotency-key"] == job["id"]
        again = await bed.chat(body=asked(), idempotency_key="k1", **mine)
        assert again.json()["id"] == job["id"]
        for method in ("GET", "DELETE"):
            assert (await bed.client.request(method, where, headers=theirs)).status_code == 404
            assert (await bed.client.request(method, where)).status_code == 401
        assert (await bed.client.delete(where, headers=mine)).json()["deleted"] is True
        assert (await bed.client.get(where, headers=mine)).status_code == 404
        now = await bed.chat(body=asked(), x_moltbot_async="false", **mine)
        assert now.status_code == 200
        refused = await bed.chat(body=asked(stream=True), **mine)
        assert (refused.status_code, refused.json()["error"]["type"]) == (400, "invalid_request_error")
        hook = await bed.chat(body=asked(), x_moltbot_webhook="http://127.0.0.1:1/x", **mine)
        assert hook.status_code == 400
    assert providers["one"].requests.total == 2


async def test_without_workers_a_job_is_answered_at_once(providers, tmp_path):
    async with serving(*objects(providers, **{"async": {}}), folder=tmp_path) as bed:
        await bed.kill(0)
        answer = await bed.chat(body=asked())
        assert answer.status_code == 200
        assert "server=one" in answer.text


async def test_the_first_request_after_warm_up_is_a_hit(providers, tmp_path):
    given = objects(providers, cache={"warmUp": {"configMapRef": {"name": "templates"}}})
    given.append(
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "templates"},
            "data": {"templates.jsonl": ""},
        }
    )
    lines = "\n".join(json.dumps(asked(text, temperature=0)) for text in ("a", "b", "c"))
    async with serving(*given, folder=tmp_path, templates={"templates": lines}) as bed:
        assert providers["one"].requests.total == 3
        for text in ("a", "b", "c"):
            answer = await bed.chat(body=asked(text, temperature=0))
            assert answer.headers["x-moltbot-cache"] == "hit"
            assert answer.headers["x-moltbot-backend"] == "one"
            assert "model=one-v1" in answer.text
        cold = await bed.chat(body=asked("d", temperature=0))
    assert cold.headers["x-moltbot-cache"] == "miss"


async def test_a_refusal_of_the_worker_listener_names_no_backend(providers, tmp_path):
    """By this a worker tells it from a provider's own 401, and lets the gateway serve by itself."""
    async with serving(*objects(providers, coalesce=True), folder=tmp_path) as bed:
        sent = {"x-mb-worker-key": "wrong", "x-mb-rule": "chat"}
        refused = await bed.client.post(bed.calls_url + CHAT, json=asked(), headers=sent)
        await providers["one"].fault("status", status=401)
        given = await bed.client.post(
            bed.calls_url + CHAT,
            json=asked(),
            headers={**sent, "x-mb-worker-key": bed.key, "x-mb-backend": "one"},
        )
    assert (refused.status_code, refused.headers.get("x-moltbot-backend")) == (401, None)
    assert (given.status_code, given.headers.get("x-moltbot-backend")) == (401, "one")
