"""What is known of each provider: its address and how its key is sent.

Each entry cites the provider's own documentation of its OpenAI-compatible interface.
"""

from dataclasses import dataclass
from typing import Final

from moltbot_operator.api.backend import Provider

__all__ = ["PRESETS", "Preset"]


@dataclass(frozen=True)
class Preset:
    """An OpenAI-compatible interface."""

    host: str | None
    """Host that serves it by https on port 443; None: every installation has its own."""
    path_prefix: str
    """What stands before the operation (`/chat/completions`); also the default for an endpoint's own
    address."""
    header: str
    """Header that carries the API key."""
    prefix: str
    """Text before the key."""
    source: str
    """The provider's documentation."""


def _bearer(host: str | None, path_prefix: str, source: str) -> Preset:
    return Preset(host, path_prefix, "authorization", "Bearer ", source)


PRESETS: Final[dict[Provider, Preset]] = {
    Provider.OPENAI: _bearer(
        "api.openai.com", "/v1", "https://platform.openai.com/docs/api-reference/authentication"
    ),
    Provider.AZURE_OPENAI: Preset(
        # the v1 interface, which needs no api-version; the host is the resource's own
        None,
        "/openai/v1",
        "api-key",
        "",
        "https://learn.microsoft.com/azure/ai-foundry/openai/api-version-lifecycle",
    ),
    Provider.ANTHROPIC: _bearer("api.anthropic.com", "/v1", "https://docs.anthropic.com/en/api/openai-sdk"),
    Provider.GEMINI: _bearer(
        "generativelanguage.googleapis.com", "/v1beta/openai", "https://ai.google.dev/gemini-api/docs/openai"
    ),
    Provider.DEEPSEEK: _bearer("api.deepseek.com", "/v1", "https://api-docs.deepseek.com/"),
    Provider.QWEN: _bearer(
        # accounts outside China: https://dashscope-intl.aliyuncs.com/compatible-mode/v1
        "dashscope.aliyuncs.com",
        "/compatible-mode/v1",
        "https://help.aliyun.com/zh/model-studio/compatibility-of-openai-with-dashscope",
    ),
    Provider.MOONSHOT: _bearer(
        # accounts in China: https://api.moonshot.cn/v1
        "api.moonshot.ai",
        "/v1",
        "https://platform.moonshot.ai/docs/api/chat",
    ),
    Provider.ZHIPU: _bearer(
        # accounts outside China: https://api.z.ai/api/paas/v4
        "open.bigmodel.cn",
        "/api/paas/v4",
        "https://docs.bigmodel.cn/cn/guide/develop/openai/introduction",
    ),
    Provider.MISTRAL: _bearer("api.mistral.ai", "/v1", "https://docs.mistral.ai/api/"),
    Provider.GROQ: _bearer("api.groq.com", "/openai/v1", "https://console.groq.com/docs/openai"),
    Provider.OPENROUTER: _bearer(
        "openrouter.ai", "/api/v1", "https://openrouter.ai/docs/api-reference/overview"
    ),
    Provider.OLLAMA: _bearer(None, "/v1", "https://docs.ollama.com/api/openai-compatibility"),
    Provider.VLLM: _bearer(
        None, "/v1", "https://docs.vllm.ai/en/latest/serving/openai_compatible_server.html"
    ),
    Provider.CUSTOM: _bearer(None, "/v1", "https://platform.openai.com/docs/api-reference/authentication"),
}
"""By provider."""
