"""Rules by kind of task, and `auto` as the model."""

import json

import pytest
import pytest_asyncio
from gateway_bed import BODY, backend, route, rule, serving
from moltbot_provider import Provider

IMAGE = [{"type": "text", "text": "hi"}, {"type": "image_url", "image_url": {"url": "data:x"}}]
FENCE = "why?\n```python\nprint(1)\n```"


def task(name, kind, **more):
    return rule(name, [name], matches=[{"task": kind, **more}])


def says(content, **more):
    return {**BODY, "messages": [{"role": "user", "content": content}], **more}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bed(tmp_path_factory):
    async with Provider(name="p") as provider:
        objects = [
            route(
                rule("first", ["dialog"], path="^/first/"),
                rule("exact", ["dialog"], path="^/exact/", model=["m1"]),
                task("code", "Code"),
                task("multimodal", "Multimodal"),
                task("embedding", "Embedding"),
                rule("dialog", ["dialog"], matches=[{"task": "Dialog", "model": ["gpt-4o", "coder-*"]}]),
            ),
            *backend("code", provider.url, model="coder-v1", capabilities=["Code"]),
            *backend("multimodal", provider.url, capabilities=["Multimodal", "Dialog"]),
            *backend("embedding", provider.url, model="embed-v1", capabilities=["Embedding"]),
            *backend("dialog", provider.url, model="dialog-v1", capabilities=["Dialog"]),
        ]
        async with serving(*objects, folder=tmp_path_factory.mktemp("tasks")) as running:
            running.provider = provider
            yield running


pytestmark = pytest.mark.asyncio(loop_scope="module")

FOUND = [
    (says("hi"), "Dialog;reason=default"),
    (says(FENCE), "Code;reason=fence"),
    (says(IMAGE), "Multimodal;reason=parts"),
    (says([{"type": "input_audio", "input_audio": {}}]), "Multimodal;reason=parts"),
    (says([{"type": "text", "text": '"type":"image_url"'}]), "Dialog;reason=default"),
    (says('"type": "image_url" ``'), "Dialog;reason=default"),
    (says("hi", tools=[{"type": "code_interpreter", "name": "x"}]), "Code;reason=tools"),
    (says("hi", tools=[{"type": "bash_20250124", "name": "bash"}]), "Code;reason=tools"),
    (says("hi", tools=[{"type": "function", "function": {"name": "bash"}}]), "Dialog;reason=default"),
    (says("hi", tools=[{"type": "file", "name": "x"}]), "Dialog;reason=default"),
    (says("hi", metadata={"type": "image_url", "x": "```"}), "Dialog;reason=default"),
    (says("hi", model="coder-v1"), "Code;reason=model"),
    (says("hi", model="code"), "Code;reason=model"),
    (says("hi", model="coder-v2"), "Dialog;reason=default"),
    (says(IMAGE, model="code"), "Code;reason=model"),
    (says(FENCE + " " * 9000), "Dialog;reason=default"),
    (
        {"model": "gpt-4o", "input": [{"role": "user", "content": [{"type": "input_image"}]}]},
        "Multimodal;reason=parts",
    ),
    ({"model": "gpt-4o", "prompt": FENCE}, "Code;reason=fence"),
    ({"model": "gpt-4o", "m\\u0065ssages": "```"}, "Dialog;reason=default"),
]


@pytest.mark.parametrize(("body", "verdict"), FOUND)
async def test_the_task_is_found_in_the_body(bed, body, verdict):
    answer = await bed.chat(body=body)
    assert answer.headers.get("x-moltbot-task") == verdict, answer.text
    kind, reason = verdict.split(";reason=")
    assert (answer.status_code, answer.headers["x-moltbot-rule"]) == (200, kind.lower())
    record = await bed.record(answer)
    assert (record["task"], record["task_reason"]) == (kind, reason)


async def test_keys_written_with_escapes_are_seen_too(bed):
    body = b'{"model":"gpt-4o","m\\u0065ssages":[{"content":[{"type":"image_url"}]}]}'
    assert (await bed.chat(body=body)).headers["x-moltbot-task"] == "Multimodal;reason=parts"


@pytest.mark.parametrize(
    ("path", "verdict"),
    [
        ("/v1/embeddings", "Embedding;reason=path"),
        ("/v1/audio/speech", "Multimodal;reason=path"),
        ("/x/v1/images/generations?a=b", "Multimodal;reason=path"),
        ("/v1/chat/completions?x=/embeddings", "Dialog;reason=default"),
    ],
)
async def test_the_path_tells_the_task(bed, path, verdict):
    answer = await bed.chat(path, {"model": "gpt-4o", "input": "x", "messages": []})
    assert answer.headers.get("x-moltbot-task") == verdict, answer.text


@pytest.mark.parametrize("written", ["Code", "code", "CODE"])
async def test_the_header_wins_and_does_not_reach_the_provider(bed, written):
    answer = await bed.chat("/v1/embeddings", says(IMAGE), x_moltbot_task=written)
    assert answer.headers["x-moltbot-task"] == "Code;reason=header"
    assert answer.headers["x-moltbot-rule"] == "code"
    sent = dict(bed.provider.requests[-1].headers)
    assert not [name for name in sent if name.lower().startswith(("x-mb-", "x-moltbot-"))]


@pytest.mark.parametrize("written", ["Coding", "", "Code, Dialog", "code;x"])
async def test_an_unknown_task_is_refused(bed, written):
    answer = await bed.chat(x_moltbot_task=written)
    assert (answer.status_code, answer.json()["error"]["type"]) == (400, "invalid_request_error")
    assert "Dialog, Code, Multimodal or Embedding" in answer.json()["error"]["message"]


async def test_rules_before_that_ask_for_no_task_do_not_look(bed):
    answer = await bed.chat("/first/v1/chat/completions", says(IMAGE), x_moltbot_task="nonsense")
    assert answer.status_code == 200
    assert "x-moltbot-task" not in answer.headers
    assert (await bed.record(answer))["task"] is None


async def test_the_task_is_part_of_a_match(bed):
    answer = await bed.chat(body=says("hi", model="unknown"))
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "model_not_found")


async def test_a_spoofed_internal_header_changes_nothing(bed):
    answer = await bed.chat(body=says("hi"), x_mb_task="Code", x_mb_model="=gpt-4o")
    assert answer.headers["x-moltbot-rule"] == "dialog"


async def test_uploads_are_classified_without_being_read(bed):
    files = {"file": ("a.wav", b"RIFF", "audio/wav")}
    answer = await bed.client.post("/v1/audio/transcriptions", files=files, data={"model": "whisper"})
    assert (answer.status_code, answer.headers["x-moltbot-task"]) == (200, "Multimodal;reason=path")


async def test_a_long_body_is_classified_too(bed):
    noise = [{"type": "text", "text": 'a"\\' * 50_000}] * 20
    answer = await bed.chat(body=json.dumps(says([*noise, *IMAGE])).encode())
    assert answer.headers["x-moltbot-task"] == "Multimodal;reason=parts"


async def test_auto_takes_the_candidates_model(tmp_path):
    async with Provider(name="p") as provider:
        objects = [
            route(
                rule("named", ["own"], model=["auto", "x"]),
                rule("bare", ["bare"], path="^/bare/", model=["auto"]),
            ),
            *backend("own", provider.url, model="own-v1"),
            *backend("bare", provider.url),
        ]
        async with serving(*objects, folder=tmp_path) as bed:
            answer = await bed.chat(body={**BODY, "model": "auto"})
            assert (answer.status_code, answer.json()["model"]) == (200, "own-v1")
            (record,) = await bed.records(1)
            assert (record["model"], record["model_served"]) == ("auto", "own-v1")
            listed = [model["id"] for model in (await bed.client.get("/v1/models")).json()["data"]]
            assert "auto" in listed
    async with Provider(name="p") as provider:
        objects = [route(rule("bare", ["bare"], model=["auto", "x"])), *backend("bare", provider.url)]
        async with serving(*objects, folder=tmp_path) as bed:
            refused = await bed.chat(body={**BODY, "model": "auto"})
            assert (refused.status_code, refused.json()["error"]["param"]) == (400, "model")
            assert len(provider.requests) == 0
            assert (await bed.chat(body={**BODY, "model": "x"})).json()["model"] == "x"


async def test_auto_takes_the_model_of_a_candidate_that_has_a_rate(tmp_path):
    """Such a backend is asked by way of the inner tier, which writes the model."""
    async with Provider(name="own") as provider:
        limits = {"requestsPerSecond": 1000}
        objects = [
            route(rule("named", ["own"], model=["auto"])),
            *backend("own", provider.url, model="own-v1", limits=limits),
        ]
        async with serving(*objects, folder=tmp_path) as bed:
            answer = await bed.chat(body={**BODY, "model": "auto"})
    assert answer.status_code == 200, answer.text
    assert json.loads(provider.requests[-1].body)["model"] == "own-v1"
