"""What clients, and people who may write a ModelBackend, must not be able to do."""

import json
import re

import pytest
import pytest_asyncio
from gateway_bed import backend, route, rule, secret, serving
from moltbot_provider import Provider

from moltbot_operator.api import ModelBackendSpec
from moltbot_operator.compile.envoy.lua_text import quoted

PIN = "/pin/v1/chat/completions"
FALL = "/fall/v1/chat/completions"
DEAR = b'{"model":"expensive","messages":[]}'

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def providers():
    async with Provider(name="first") as first, Provider(name="second") as second:
        yield first, second


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bed(providers, tmp_path_factory):
    first, second = providers
    objects = [
        route(rule("pin", ["second"], path="^/pin/"), rule("fall", ["first"], ["second"], path="^/fall/")),
        *backend("first", first.url),
        *backend("second", second.url, secret_name="upstream", model="cheap"),
        secret("upstream", token="SECRET-UP"),
    ]
    async with serving(*objects, folder=tmp_path_factory.mktemp("attacks")) as running:
        yield running


def models(provider):
    """What each request that reached the provider asked for."""
    return [json.loads(each.body)["model"] for each in provider.requests if each.body]


@pytest.mark.parametrize(
    "kind",
    [
        "multipart/form-data",
        "multipart/form-data; boundary=x",
        "multipart/x",
        "audio/x",
        "application/octet-stream",
        "text/plain",
        "",
    ],
)
@pytest.mark.parametrize("path", [PIN, "/pin/audio/v1/chat/completions", "/pin/v1/files/v1/chat/completions"])
async def test_no_content_type_gets_a_model_past_the_backends_own(bed, providers, kind, path):
    before = len(providers[1].requests)
    answer = await bed.client.post(path, content=DEAR, headers={"content-type": kind})
    assert answer.status_code == 200
    assert models(providers[1])[before:] == ["cheap"]


@pytest.mark.parametrize(
    "body",
    ["\ufeff{}".encode(), '{"model":"expensive"}'.encode("utf-16-be"), b"model=expensive", b"--x\r\n"],
)
async def test_a_body_that_is_no_json_is_refused_where_the_model_counts(bed, providers, body):
    before = len(providers[1].requests)
    answer = await bed.client.post(
        PIN, content=body, headers={"content-type": "multipart/form-data; boundary=x"}
    )
    assert (answer.status_code, answer.json()["error"]["type"]) == (415, "invalid_request_error")
    assert len(providers[1].requests) == before


@pytest.mark.parametrize("key", ["Model", "MODEL", "\\u004dodel", "mode\\u004C"])
async def test_a_model_in_capitals_is_refused_since_some_backends_would_read_it(bed, providers, key):
    before = len(providers[1].requests)
    answer = await bed.chat(PIN, b'{"model":"x","%s":"expensive"}' % key.encode())
    assert answer.status_code == 400
    assert len(providers[1].requests) == before


@pytest.mark.parametrize("key", ["\\/\\u0001999\\u0002", "\\u0001", "\\\\u006dodel", "m" + "\\/" * 40])
async def test_a_strange_key_changes_nothing_also_behind_a_failed_attempt(bed, providers, key):
    first, second = providers
    before = len(second.requests)
    await first.fault("status", status=503)
    try:
        answer = await bed.chat(FALL, b'{"%s":1,"model":"expensive"}' % key.encode())
    finally:
        await first.clear()
    assert answer.status_code == 200
    assert answer.headers["x-moltbot-backend"] == "second"
    assert models(second)[before:] == ["cheap"]


async def test_deep_nesting_is_refused(bed):
    answer = await bed.chat(PIN, b'{"model":"x","a":' + b"[" * 50_000 + b"]" * 50_000 + b"}")
    assert answer.status_code == 400
    assert "nested" in answer.json()["error"]["message"]


async def test_no_method_has_a_backend_send_back_its_credential(bed, providers):
    before = [len(provider.requests) for provider in providers]
    answer = await bed.client.request("TRACE", "/pin/v1/models/x")
    assert answer.status_code == 405
    assert "SECRET-UP" not in answer.text
    assert [len(provider.requests) for provider in providers] == before


async def test_a_clients_own_secrets_and_account_headers_reach_no_provider(bed, providers):
    sent = {
        "cookie": "session=1",
        "proxy-authorization": "Basic eA==",
        "openai-organization": "theirs",
        "openai-project": "theirs",
        "x-goog-api-key": "theirs",
        "forwarded": "for=192.0.2.7",
        "x-forwarded-for": "192.0.2.7",
        "x-forwarded-host": "inside.example",
        "x-real-ip": "192.0.2.7",
    }
    answer = await bed.client.post(PIN, content=DEAR, headers=sent)
    assert answer.status_code == 200
    arrived = {name.lower() for name, _ in providers[1].requests[-1].headers}
    assert arrived.isdisjoint(sent)


async def test_an_escaped_slash_does_not_leave_the_backends_prefix(bed, providers):
    answer = await bed.chat("/pin/v1/..%2f..%2fadmin")
    if answer.status_code == 200:
        assert not re.search(r"%2f|\.\.", providers[1].requests[-1].path, re.IGNORECASE)
        assert providers[1].requests[-1].path.startswith("/v1/")
    else:
        assert answer.status_code == 404


async def test_a_url_is_never_read_as_code():
    """The schema refuses such paths; the script would be safe without it."""
    written = quoted('x|/p"..os.execute("id")\\' + "\n")
    assert written == r'"x|/p\034..os.execute\040\034id\034\041\092\010"'
    for path in ('/x"..os', "/x\\y", "/a|b", "/a`b"):
        with pytest.raises(ValueError, match="endpoint"):
            ModelBackendSpec.model_validate(
                {"provider": "Custom", "endpoint": {"url": f"http://a.example{path}"}}
            )
