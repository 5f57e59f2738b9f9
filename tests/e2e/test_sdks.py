"""Official SDKs, unmodified, against a gateway in the cluster, by its node port.

What each of them does in detail is in tests/gateway/test_sdk_*.py; here the whole way is real: Service, pods,
keys from Secrets, and a provider's outage.
"""

import anthropic
import openai
import pytest
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from sites import BACKUP, MAX, PRO, backend, route

import cluster as access

KEY, NARROW = "sk-e2e-web-app", "sk-e2e-narrow"
CLAUDE = "claude"
HELLO = [{"role": "user", "content": "hello"}]
TOOL = {"name": "weather", "parameters": {"type": "object", "properties": {"town": {"type": "string"}}}}


def keyed(name, *backends):
    auth = {"apiKey": {"secretRef": {"name": f"{name}-keys"}}}
    return {"name": name, "auth": auth, "backends": list(backends)}


def secret(name, where, **values):
    metadata = {"name": name, "namespace": where}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": values}


@pytest.fixture(scope="module")
def base(site):
    """Where the gateway listens on this machine's loopback address."""
    if not site.cluster.is_ours:
        pytest.skip("a cluster of KUBECONFIG has no node port on this machine's loopback address")
    quick = {"maxRetries": 2, "backoff": {"base": "10ms", "max": "50ms"}, "perTryTimeout": "2s"}
    rules = [
        {
            "name": "anthropic",
            "matches": [{"path": {"type": "Prefix", "value": "/anthropic"}}],
            "candidates": [{"backend": CLAUDE}],
        },
        {
            "name": "openai",
            "candidates": [{"backend": PRO}, {"backend": MAX}],
            "fallback": [BACKUP],
            "failover": quick,
        },
    ]
    service = {"type": "NodePort", "nodePort": access.layout.GATEWAY_NODE_PORT}
    made = route(
        "sdks",
        site.namespace,
        rules,
        consumers=[keyed("web-app", PRO, MAX, BACKUP, CLAUDE), keyed("narrow", CLAUDE)],
        gateway={"service": service},
    )
    claude = backend(
        CLAUDE,
        site.namespace,
        endpoint={"service": {"name": BACKUP, "port": 8000}},
        auth={
            "type": "APIKey",
            "apiKey": {"secretRef": {"name": "claude", "key": "key"}, "header": "x-api-key", "prefix": ""},
        },
    )
    site.cluster.apply(
        [
            secret("web-app-keys", site.namespace, current=KEY),
            secret("narrow-keys", site.namespace, current=NARROW),
            secret("claude", site.namespace, key="sk-upstream"),
            claude,
            made,
        ]
    )
    site.wait_ready("sdks")
    url = f"http://127.0.0.1:{access.layout.GATEWAY_PORT}"

    def answers():
        try:
            with openai.OpenAI(base_url=f"{url}/v1", api_key=KEY, max_retries=0, timeout=5) as client:
                return client.models.list().data
        except openai.APIError:
            return None

    access.wait_until(f"models at {url}", answers, 60)
    return url


@pytest.fixture
def client(base):
    with openai.OpenAI(base_url=f"{base}/v1", api_key=KEY, timeout=60) as made:
        yield made


def test_openai_chat_streaming_tools_and_embeddings(client):
    assert client.chat.completions.create(model="m", messages=HELLO).model in {
        f"{PRO}-upstream",
        f"{MAX}-upstream",
    }
    stream = client.chat.completions.create(model="m", messages=HELLO, stream=True)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in stream).startswith("server=")
    tools = [{"type": "function", "function": TOOL}]
    called = client.chat.completions.create(model="m", messages=HELLO, tools=tools)
    assert called.choices[0].message.tool_calls[0].function.name == "weather"
    assert len(client.embeddings.create(model="m", input=["a", "b"]).data) == 2


def test_openai_images_audio_and_files(client, site):
    assert client.images.generate(model="m", prompt="a cat", n=2).data[1].b64_json
    sound = bytes(range(256)) * 4000
    heard = client.audio.transcriptions.create(model="whisper-1", file=("a.wav", sound))
    assert f"bytes={len(sound)}" in heard.text
    files = [client.files.create(file=(f"{n}.jsonl", b"{}\n"), purpose="batch") for n in range(6)]
    assert {file.id for file in client.files.list()} == {file.id for file in files}
    assert all(client.files.content(file.id).content == b"{}\n" for file in files)
    first = client.responses.create(model="m", input="hello")
    assert client.responses.retrieve(first.id).id == first.id
    seen = site.admin(MAX, "GET", "/requests")["requests"]
    assert not [each for each in seen if "/files" in each["path"] or "/responses" in each["path"]]


def test_openai_errors_and_retries(base, client, site):
    with (
        openai.OpenAI(base_url=f"{base}/v1", api_key="wrong", max_retries=0) as stranger,
        pytest.raises(openai.AuthenticationError) as refused,
    ):
        stranger.models.list()
    assert refused.value.code == "invalid_api_key"
    with (
        openai.OpenAI(base_url=f"{base}/v1", api_key=NARROW, max_retries=0) as narrow,
        pytest.raises(openai.PermissionDeniedError),
    ):
        narrow.chat.completions.create(model="m", messages=HELLO)
    with site.outage(PRO, MAX, kind="status", status=503):
        served = client.with_options(max_retries=0).chat.completions.create(model="m", messages=HELLO)
        assert served.model == f"{BACKUP}-upstream"
    with site.outage(PRO, MAX, BACKUP, kind="status", status=429, retry_after="1", count=3):
        assert client.with_options(max_retries=5).chat.completions.create(model="m", messages=HELLO).choices


def test_langchain(base):
    chat = ChatOpenAI(base_url=f"{base}/v1", api_key=KEY, model="m", timeout=60)
    assert chat.invoke("hello").content.startswith("server=")
    assert len(list(chat.stream("hello"))) > 3
    called = chat.bind_tools([{"type": "function", "function": TOOL}]).invoke("hello")
    assert called.tool_calls[0]["name"] == "weather"
    embeddings = OpenAIEmbeddings(
        base_url=f"{base}/v1", api_key=KEY, model="m", check_embedding_ctx_length=False
    )
    assert len(embeddings.embed_query("a")) == 8


def test_anthropic(base, site):
    ask = {"model": "claude", "max_tokens": 5, "messages": HELLO}
    tools = [{"name": "weather", "input_schema": TOOL["parameters"]}]
    with anthropic.Anthropic(base_url=f"{base}/anthropic", api_key=KEY, max_retries=0, timeout=60) as client:
        assert client.messages.create(**ask).content[0].text.startswith("server=")
        with client.messages.stream(**ask) as stream:
            assert "".join(stream.text_stream).startswith("server=")
        assert client.messages.create(**ask, tools=tools).stop_reason == "tool_use"
        with (
            site.outage(BACKUP, kind="status", status=400),
            pytest.raises(anthropic.BadRequestError) as failed,
        ):
            client.messages.create(**ask)
        assert failed.value.body["type"] == "error"
    with (
        anthropic.Anthropic(base_url=f"{base}/anthropic", api_key="wrong", max_retries=0) as stranger,
        pytest.raises(anthropic.AuthenticationError),
    ):
        stranger.messages.create(**ask)
    keys = [each["credentials"] for each in site.admin(BACKUP, "GET", "/requests")["requests"]]
    assert {"x-api-key": ["sk-upstream"]} in keys
