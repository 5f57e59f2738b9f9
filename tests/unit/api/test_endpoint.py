from dataclasses import astuple

import pytest

from moltbot_operator.api import PRESETS, ModelBackendSpec, Provider
from moltbot_operator.api.endpoint import credential_header, is_ip_address, resolve_endpoint
from moltbot_operator.errors import InvalidInput


def spec(provider: str = "Custom", **members: object) -> ModelBackendSpec:
    return ModelBackendSpec.model_validate({"provider": provider, **members})


def at(url: str, provider: str = "Custom", **members: object) -> ModelBackendSpec:
    return spec(provider, endpoint={"url": url, **members})


@pytest.mark.parametrize(
    ("provider", "url"),
    [
        ("OpenAI", "https://api.openai.com/v1"),
        ("Anthropic", "https://api.anthropic.com/v1"),
        ("Gemini", "https://generativelanguage.googleapis.com/v1beta/openai"),
        ("DeepSeek", "https://api.deepseek.com/v1"),
        ("Qwen", "https://dashscope.aliyuncs.com/compatible-mode/v1"),
        ("Moonshot", "https://api.moonshot.ai/v1"),
        ("Zhipu", "https://open.bigmodel.cn/api/paas/v4"),
        ("Mistral", "https://api.mistral.ai/v1"),
        ("Groq", "https://api.groq.com/openai/v1"),
        ("OpenRouter", "https://openrouter.ai/api/v1"),
    ],
)
def test_public_providers(provider: str, url: str) -> None:
    endpoint = resolve_endpoint(spec(provider), "default")
    assert endpoint.url == url
    assert endpoint.port == 443
    assert endpoint.sni == endpoint.host == endpoint.host_header


def test_every_provider_has_a_preset_with_its_source() -> None:
    assert set(PRESETS) == set(Provider)
    assert all(preset.source.startswith("https://") for preset in PRESETS.values())
    assert all(preset.path_prefix.startswith("/") for preset in PRESETS.values())
    assert all(preset.header == preset.header.lower() for preset in PRESETS.values())


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (at("https://a.example"), ("https", "a.example", 443, "/v1", "a.example", "a.example")),
        (at("https://a.example/"), ("https", "a.example", 443, "", "a.example", "a.example")),
        (at("https://a.example/x/v2/"), ("https", "a.example", 443, "/x/v2", "a.example", "a.example")),
        (at("https://A.Example:8443/v1"), ("https", "a.example", 8443, "/v1", "a.example", "a.example:8443")),
        (at("http://a.example:80"), ("http", "a.example", 80, "/v1", None, "a.example")),
        (at("http://10.0.0.1:8000"), ("http", "10.0.0.1", 8000, "/v1", None, "10.0.0.1:8000")),
        (at("http://[::1]:8000/v1"), ("http", "::1", 8000, "/v1", None, "[::1]:8000")),
        (at("https://[::1]"), ("https", "::1", 443, "/v1", "::1", "[::1]")),
        (
            at("https://r.openai.azure.com", "AzureOpenAI"),
            ("https", "r.openai.azure.com", 443, "/openai/v1", "r.openai.azure.com", "r.openai.azure.com"),
        ),
        (
            at("https://10.0.0.1/v1", tls={"serverName": "a.example"}),
            ("https", "10.0.0.1", 443, "/v1", "a.example", "10.0.0.1"),
        ),
        (
            spec(endpoint={"service": {"name": "vllm", "port": 8000}}),
            ("http", "vllm.models.svc", 8000, "/v1", None, "vllm.models.svc:8000"),
        ),
        (
            spec(endpoint={"service": {"name": "vllm", "port": 443, "pathPrefix": "/"}, "tls": {}}),
            ("https", "vllm.models.svc", 443, "", "vllm.models.svc", "vllm.models.svc"),
        ),
        (
            spec("OpenAI", endpoint={"tls": {"serverName": "proxy.example"}}),
            ("https", "api.openai.com", 443, "/v1", "proxy.example", "api.openai.com"),
        ),
    ],
)  # fmt: skip
def test_resolve(given: ModelBackendSpec, expected: tuple[str, str, int, str, str | None, str]) -> None:
    assert astuple(resolve_endpoint(given, "models")) == expected


def test_a_provider_without_an_address_says_what_to_write() -> None:
    unchecked = ModelBackendSpec.model_construct(provider=Provider.OLLAMA)
    with pytest.raises(InvalidInput, match=r"write spec\.endpoint\.url or spec.endpoint.service"):
        resolve_endpoint(unchecked, "default")


@pytest.mark.parametrize(
    ("provider", "key", "name", "prefix"),
    [
        ("OpenAI", {}, "authorization", "Bearer "),
        ("AzureOpenAI", {}, "api-key", ""),
        ("AzureOpenAI", {"header": "Authorization"}, "authorization", "Bearer "),
        ("OpenAI", {"header": "X-Api-Key"}, "x-api-key", ""),
        ("OpenAI", {"header": "X-Api-Key", "prefix": "Key "}, "x-api-key", "Key "),
        ("OpenAI", {"prefix": ""}, "authorization", ""),
        ("OpenAI", {"header": "Authorization"}, "authorization", "Bearer "),
    ],
)
def test_credential_header(provider: str, key: dict[str, str], name: str, prefix: str) -> None:
    given = spec(
        provider,
        endpoint={"url": "https://a.example"},
        auth={"type": "APIKey", "apiKey": {"secretRef": {"name": "a", "key": "b"}, **key}},
    )
    header = credential_header(given)
    assert (header.name, header.prefix) == (name, prefix)


@pytest.mark.parametrize(("host", "is_one"), [("10.0.0.1", True), ("::1", True), ("a.example", False)])
def test_is_ip_address(host: str, is_one: bool) -> None:
    assert is_ip_address(host) is is_one
