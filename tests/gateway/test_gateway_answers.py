"""Matching, and the answers that the gateway makes itself."""

import json

import pytest
import pytest_asyncio
from gateway_bed import BODY, CHAT, backend, route, rule, serving
from moltbot_provider import Provider

BROKEN = [
    b"",
    b"{",
    b"[]",
    b'"model"',
    b"null",
    b'{"model":"a"}}',
    b'{"model":"a"} x',
    b'{"model":"a","x":[}',
    b'{"model":"a',
    b'{"model":"a"]',
    b'{"model":1}',
    b'{"model":null}',
    b'{"model":{"a":1}}',
    b'{"model":"a","model":"b"}',
    b'{"mod\\u0065l":"a","model":"b"}',
    b'{"model" "a"}',
    b"\xef\xbb\xbf{}",
    b'{"model":"a\nb"}',
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bed(tmp_path_factory):
    async with Provider(name="a") as a, Provider(name="b") as b, Provider(name="c") as c:
        objects = [
            route(
                rule(
                    "exact",
                    ["a"],
                    matches=[{"path": {"type": "Exact", "value": "/exact/v1/chat/completions"}}],
                ),
                rule("prefix", ["a"], matches=[{"path": {"type": "Prefix", "value": "/team"}}]),
                rule("inside", ["a"], path="(?i)mid+le"),
                rule("anchored", ["a"], path="^/end/.*/completions$"),
                rule(
                    "headers",
                    ["a"],
                    matches=[
                        {
                            "headers": [
                                {"name": "X-Team", "value": "blue"},
                                {"name": "x-level", "type": "Regex", "value": "[0-9]+"},
                            ]
                        }
                    ],
                ),
                rule("model", ["b"], model=["gpt-4o", "o*", 'strange"name\\', "gpt-4.1"]),
                rule("model-and-path", {"b": 1, "c": 1}, path="^/both/", model=["both"]),
                rule("broken", ["gone"], path="^/broken/"),
                rule("half", ["gone", "a"], path="^/half/"),
                rule("last", ["c"], path="^/last/"),
            ),
            *backend("a", a.url),
            *backend("b", b.url, model="b-v1"),
            *backend("c", c.url),
        ]
        async with serving(*objects, folder=tmp_path_factory.mktemp("answers")) as running:
            yield running


pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.mark.parametrize(
    ("path", "rule"),
    [
        ("/exact/v1/chat/completions", "exact"),
        ("/team/v1/chat/completions", "prefix"),
        ("/team/chat/completions", "prefix"),
        ("/x/midddle/y/v1/chat/completions", "inside"),
        ("/x/MIDLE/chat/completions?a=b", "inside"),
        ("/end/x/v1/chat/completions?x=y", "anchored"),
        ("/half/v1/chat/completions", "half"),
        ("/last/v1/embeddings", "last"),
    ],
)
async def test_paths(bed, path, rule):
    answer = await bed.chat(path, {"model": "unknown", "input": "x"})
    assert (answer.status_code, answer.headers.get("x-moltbot-rule")) == (200, rule), answer.text


@pytest.mark.parametrize(
    "path",
    [
        "/teams/v1/chat/completions",
        "/exact/v1/chat/completions/x",
        "/end/x/v1/completions/x",
        "/v1/chat/completions",
    ],
)
async def test_paths_of_no_rule(bed, path):
    answer = await bed.chat(path, {"messages": []})
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "no_matching_rule")


async def test_headers_must_all_match(bed):
    body = {"messages": []}
    answers = [
        await bed.chat(body=body, x_team="blue", x_level="17"),
        await bed.chat(body=body, x_team="blue", x_level="17b"),
        await bed.chat(body=body, x_team="bluer", x_level="17"),
    ]
    assert [answer.headers.get("x-moltbot-rule") for answer in answers] == ["headers", None, None]


@pytest.mark.parametrize("model", ["gpt-4o", "o", "o3-mini", 'strange"name\\', "gpt-4.1"])
async def test_models(bed, model):
    answer = await bed.chat(body={**BODY, "model": model})
    assert (answer.status_code, answer.headers["x-moltbot-rule"]) == (200, "model")
    assert answer.json()["model"] == "b-v1"


async def test_models_written_with_escapes(bed):
    answer = await bed.chat(body=b'{"model":"gp\\u0074-4o","messages":[]}')
    assert answer.headers["x-moltbot-rule"] == "model"


@pytest.mark.parametrize(
    "model", ["gpt-4", "gpt-4oo", "gpt-4x1", "GPT-4O", "", "=gpt-4o", "both", "gpt-4o|o", "x" * 9999]
)
async def test_unknown_models(bed, model):
    answer = await bed.chat(body={**BODY, "model": model})
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["param"]) == (404, "model_not_found", "model")


async def test_model_and_path_together(bed):
    taken = await bed.chat("/both/v1/chat/completions", {**BODY, "model": "both"})
    assert taken.headers["x-moltbot-rule"] == "model-and-path"
    other = await bed.chat("/both/v1/chat/completions", {**BODY, "model": "gpt-5"})
    assert other.json()["error"]["code"] == "model_not_found"


@pytest.mark.parametrize("body", BROKEN)
async def test_broken_bodies(bed, body):
    answer = await bed.chat(body=body)
    assert answer.headers["content-type"] == "application/json"
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert answer.status_code == (404 if body == b"" else 400)
    assert answer.headers["x-request-id"]


async def test_json_under_another_content_type_is_read_too(bed):
    answer = await bed.client.post(
        CHAT, content=json.dumps(BODY).encode(), headers={"content-type": "text/plain"}
    )
    assert answer.json()["model"] == "b-v1"


async def test_compressed_bodies_are_refused_where_they_must_be_read(bed):
    answer = await bed.chat(body=b"\x1f\x8b...", content_encoding="gzip")
    assert (answer.status_code, answer.json()["error"]["type"]) == (415, "invalid_request_error")


@pytest.mark.parametrize("path", ["/", "/foo", "/v1", "/v1/", "/chat", "/last/chat/completionsx", "/v2/chat"])
async def test_unknown_paths_say_what_base_url_must_be(bed, path):
    answer = await bed.chat(path)
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "unknown_url")
    assert "base_url" in answer.json()["error"]["message"]


async def test_a_rule_without_backends_is_refused_by_name(bed):
    answer = await bed.chat("/broken/v1/chat/completions", {"messages": []})
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "30")
    assert answer.headers["x-moltbot-rule"] == "broken"
    message = answer.json()["error"]["message"]
    assert "broken" in message
    assert "default/gone" in message


async def test_headers_of_the_gateways_own_are_not_taken_from_clients(bed):
    spoofed = {
        "x_mb_route": "model/0",
        "x_mb_model": "=gpt-4o",
        "x_mb_consumer": "root",
        "x_mb_inner": "a|/v1",
        "x_envoy_retry_on": "5xx",
        "x_envoy_original_path": "/x",
    }
    answer = await bed.chat(body={"messages": []}, **spoofed)
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "no_matching_rule")
    last = await bed.chat("/last/v1/chat/completions", {"messages": []}, **spoofed)
    assert last.headers["x-moltbot-rule"] == "last"


async def test_models_are_listed(bed):
    answer = await bed.client.get("/any/v1/models")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    listed = [model["id"] for model in answer.json()["data"]]
    assert {"gpt-4o", "gpt-4.1", 'strange"name\\', "both", "a", "c"} <= set(listed)
    assert not {"o*", "b-v1", "gone"} & set(listed)


async def test_the_log_has_no_query_credential_or_content(bed):
    answer = await bed.chat(
        "/last/v1/chat/completions?api_key=topsecret1",
        {"model": "m", "messages": ["topsecret2"]},
        authorization="Bearer topsecret3",
        x_api_key="topsecret4",
    )
    last = await bed.record(answer)
    assert "topsecret" not in json.dumps(await bed.records())
    assert last["path"] == "/last/v1/chat/completions"
