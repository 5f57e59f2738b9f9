"""The presets say what the providers' own documents say; the table is written from those."""

import pytest

from moltbot_operator.api import PRESETS, AuthType, ModelBackendSpec, Provider, resolve_endpoint
from moltbot_operator.api.endpoint import credential_header
from moltbot_operator.api.presets import MODEL

CHAT = "/chat/completions"

PUBLISHED = {
    # provider: address of a chat completion, header of the key, health call
    "OpenAI": (
        "https://api.openai.com/v1" + CHAT,
        "authorization: Bearer KEY",
        "GET https://api.openai.com/v1/models",
    ),
    "AzureOpenAI": (
        "https://res.openai.azure.com/openai/v1" + CHAT,
        "api-key: KEY",
        "GET https://res.openai.azure.com/openai/v1/models",
    ),
    "Anthropic": (
        "https://api.anthropic.com/v1" + CHAT,
        "authorization: Bearer KEY",
        "GET https://api.anthropic.com/v1/models",
    ),
    "Gemini": (
        "https://generativelanguage.googleapis.com/v1beta/openai" + CHAT,
        "authorization: Bearer KEY",
        "GET https://generativelanguage.googleapis.com/v1beta/openai/models",
    ),
    "DeepSeek": (
        "https://api.deepseek.com/v1" + CHAT,
        "authorization: Bearer KEY",
        "GET https://api.deepseek.com/v1/models",
    ),
    "Qwen": (
        "https://dashscope.aliyuncs.com/compatible-mode/v1" + CHAT,
        "authorization: Bearer KEY",
        "POST https://dashscope.aliyuncs.com/compatible-mode/v1" + CHAT,
    ),
    "Moonshot": (
        "https://api.moonshot.ai/v1" + CHAT,
        "authorization: Bearer KEY",
        "GET https://api.moonshot.ai/v1/models",
    ),
    "Zhipu": (
        "https://open.bigmodel.cn/api/paas/v4" + CHAT,
        "authorization: Bearer KEY",
        "POST https://open.bigmodel.cn/api/paas/v4" + CHAT,
    ),
    "Mistral": (
        "https://api.mistral.ai/v1" + CHAT,
        "authorization: Bearer KEY",
        "GET https://api.mistral.ai/v1/models",
    ),
    "Groq": (
        "https://api.groq.com/openai/v1" + CHAT,
        "authorization: Bearer KEY",
        "GET https://api.groq.com/openai/v1/models",
    ),
    "OpenRouter": (
        "https://openrouter.ai/api/v1" + CHAT,
        "authorization: Bearer KEY",
        "GET https://openrouter.ai/api/v1/key",
    ),
    "Ollama": (
        "http://ollama:11434/v1" + CHAT,
        "authorization: Bearer KEY",
        "GET http://ollama:11434/v1/models",
    ),
    "VLLM": ("http://vllm:8000/v1" + CHAT, "authorization: Bearer KEY", "GET http://vllm:8000/v1/models"),
    "Custom": (
        "https://models.example/v1" + CHAT,
        "authorization: Bearer KEY",
        "GET https://models.example/v1/models",
    ),
}
OWN = {
    "AzureOpenAI": "https://res.openai.azure.com",
    "Ollama": "http://ollama:11434",
    "VLLM": "http://vllm:8000",
    "Custom": "https://models.example",
}
"""Endpoints that users have to give."""


def spec(provider, **key):
    given = {
        "provider": provider,
        "auth": {"type": "APIKey", "apiKey": {"secretRef": {"name": "s", "key": "k"}, **key}},
    }
    if provider in OWN:
        given["endpoint"] = {"url": OWN[provider]}
    return ModelBackendSpec.model_validate(given)


def test_the_table_has_all_providers():
    assert set(PUBLISHED) == {str(provider) for provider in Provider} == {str(each) for each in PRESETS}


@pytest.mark.parametrize("provider", PUBLISHED)
def test_requests_and_keys_are_sent_as_published(provider):
    chat, header, health = PUBLISHED[provider]
    base, sent = resolve_endpoint(spec(provider), "n").url, credential_header(spec(provider))
    assert base + CHAT == chat
    assert f"{sent.name}: {sent.prefix}KEY" == header
    call = PRESETS[Provider(provider)].health
    assert f"{call.method} {base}{call.path}" == health


@pytest.mark.parametrize("provider", PRESETS)
def test_a_health_call_tells_a_refused_key(provider):
    call = PRESETS[provider].health
    assert call.source.startswith("https://")
    assert 401 in call.refused
    assert not call.refused & call.healthy
    assert (call.body is not None) == (call.method == "POST")
    assert call.body is None or (call.body["model"], call.body["max_tokens"]) == (MODEL, 1)


def test_anthropic_has_two_ways_to_take_a_key():
    """docs.anthropic.com/en/api/openai-sdk, and /en/api/overview for its own operations."""
    sent = credential_header(spec("Anthropic", header="x-api-key"))
    assert (sent.name, sent.prefix) == ("x-api-key", "")
    call = PRESETS[Provider.ANTHROPIC].health
    assert (call.header, dict(call.headers)) == ("x-api-key", {"anthropic-version": "2023-06-01"})


def test_what_proves_nothing_says_so():
    assert [each for each, preset in PRESETS.items() if not preset.health.proves_credential] == [
        Provider.OLLAMA
    ]


def test_kinds_of_credential():
    own = {provider for provider, preset in PRESETS.items() if AuthType.NONE in preset.auth}
    assert own == {Provider.OLLAMA, Provider.VLLM, Provider.CUSTOM}
    assert all(AuthType.API_KEY in preset.auth for preset in PRESETS.values())
