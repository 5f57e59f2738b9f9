"""What is known of each provider: its address, how its key is sent, and how a key is tried.

Each entry cites the provider's own documentation of its OpenAI-compatible interface and of the health call.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from moltbot_operator.api.auth import AuthType
from moltbot_operator.api.backend import Provider

__all__ = ["MODEL", "PRESETS", "HealthCall", "Preset"]

MODEL: Final = "{model}"
"""In a health call's body: the backend's model."""


@dataclass(frozen=True)
class HealthCall:
    """A request that tells whether the provider answers, and whether it takes the credential."""

    source: str
    """The provider's documentation of it."""
    path: str = "/models"
    """After the path prefix."""
    method: Literal["GET", "POST"] = "GET"
    headers: Mapping[str, str] = field(default_factory=dict)
    """Headers that it needs besides the credential."""
    header: str | None = None
    """Header of the key, without a prefix, where this call takes it otherwise than requests do."""
    body: Mapping[str, Any] | None = None
    """JSON; such a call is paid for."""
    healthy: frozenset[int] = frozenset({200})
    """Status codes of a provider that answers."""
    refused: frozenset[int] = frozenset({401, 403})
    """Status codes that mean that the credential is refused. Any other one says nothing of the credential."""
    proves_credential: bool = True
    """False: `healthy` comes without a credential, or with a wrong one, too."""


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
    health: HealthCall
    auth: frozenset[AuthType] = frozenset({AuthType.API_KEY})
    """Kinds of credential that the provider itself takes at its own address; a proxy may take others."""


def _bearer(host: str | None, path_prefix: str, source: str, health: HealthCall, *auth: AuthType) -> Preset:
    kinds = frozenset(auth) or frozenset({AuthType.API_KEY})
    return Preset(host, path_prefix, "authorization", "Bearer ", source, health, kinds)


def _completion(source: str) -> HealthCall:
    """For providers that document no list of models: the shortest completion."""
    body = {"model": MODEL, "messages": [{"role": "user", "content": "ping"}], "max_tokens": 1}
    return HealthCall(source, "/chat/completions", "POST", body=body)


PRESETS: Final[dict[Provider, Preset]] = {
    Provider.OPENAI: _bearer(
        "api.openai.com",
        "/v1",
        "https://platform.openai.com/docs/api-reference/authentication",
        HealthCall("https://platform.openai.com/docs/api-reference/models/list"),
    ),
    Provider.AZURE_OPENAI: Preset(
        # the v1 interface, which needs no api-version; the host is the resource's own. Tokens of Microsoft
        # Entra ID are OAuth2 client credentials and go into Authorization.
        None,
        "/openai/v1",
        "api-key",
        "",
        "https://learn.microsoft.com/en-us/azure/foundry/openai/api-version-lifecycle",
        HealthCall(
            "https://learn.microsoft.com/en-us/azure/foundry/reference/rest/open-ai-models-list-models"
        ),
        frozenset({AuthType.API_KEY, AuthType.OAUTH2}),
    ),
    Provider.ANTHROPIC: _bearer(
        # The OpenAI-compatible operations take the key as a bearer token. Anthropic's own (/v1/messages) take
        # it in x-api-key, where a bearer token is one of OAuth: a backend for Anthropic's SDK says
        # auth.apiKey.header: x-api-key, and the SDK sends anthropic-version. docs/providers.md
        "api.anthropic.com",
        "/v1",
        "https://docs.anthropic.com/en/api/openai-sdk",
        HealthCall(
            "https://platform.claude.com/docs/en/api/models-list",
            headers={"anthropic-version": "2023-06-01"},
            header="x-api-key",
        ),
    ),
    Provider.GEMINI: _bearer(
        "generativelanguage.googleapis.com",
        "/v1beta/openai",
        "https://ai.google.dev/gemini-api/docs/openai",
        # Google answers 400 (API_KEY_INVALID) to a wrong key; a list without parameters has no other 400
        HealthCall("https://ai.google.dev/gemini-api/docs/openai", refused=frozenset({400, 401, 403})),
        AuthType.API_KEY,
        AuthType.OAUTH2,
    ),
    Provider.DEEPSEEK: _bearer(
        "api.deepseek.com",
        "/v1",
        "https://api-docs.deepseek.com/",
        HealthCall("https://api-docs.deepseek.com/api/list-models"),
    ),
    Provider.QWEN: _bearer(
        # accounts outside China: https://dashscope-intl.aliyuncs.com/compatible-mode/v1; addresses of
        # workspaces: https://{WorkspaceId}.{region}.maas.aliyuncs.com/compatible-mode/v1
        "dashscope.aliyuncs.com",
        "/compatible-mode/v1",
        "https://help.aliyun.com/zh/model-studio/compatibility-of-openai-with-dashscope",
        _completion("https://help.aliyun.com/zh/model-studio/compatibility-of-openai-with-dashscope"),
    ),
    Provider.MOONSHOT: _bearer(
        # accounts in China: https://api.moonshot.cn/v1
        "api.moonshot.ai",
        "/v1",
        "https://platform.moonshot.ai/docs/api/chat",
        HealthCall("https://platform.moonshot.ai/docs/api/list-models"),
    ),
    Provider.ZHIPU: _bearer(
        # accounts outside China: https://api.z.ai/api/paas/v4. Its JWTs are signed by HS256 with the key
        # itself, which auth.type JWT does not do.
        "open.bigmodel.cn",
        "/api/paas/v4",
        "https://docs.bigmodel.cn/cn/guide/develop/http/introduction",
        _completion("https://docs.bigmodel.cn/cn/guide/develop/http/introduction"),
    ),
    Provider.MISTRAL: _bearer(
        "api.mistral.ai",
        "/v1",
        "https://docs.mistral.ai/api/",
        HealthCall("https://docs.mistral.ai/api/endpoint/models"),
    ),
    Provider.GROQ: _bearer(
        "api.groq.com",
        "/openai/v1",
        "https://console.groq.com/docs/openai",
        HealthCall("https://console.groq.com/docs/models"),
    ),
    Provider.OPENROUTER: _bearer(
        # its list of models is public, so it would prove nothing
        "openrouter.ai",
        "/api/v1",
        "https://openrouter.ai/docs/api-reference/overview",
        HealthCall("https://openrouter.ai/docs/api/api-reference/api-keys/get-current-key", "/key"),
    ),
    Provider.OLLAMA: _bearer(
        # ignores keys; a proxy before it may want one
        None,
        "/v1",
        "https://docs.ollama.com/api/openai-compatibility",
        HealthCall("https://docs.ollama.com/api/openai-compatibility", proves_credential=False),
        *AuthType,
    ),
    Provider.VLLM: _bearer(
        # wants a key only when started with --api-key, and then for everything below /v1
        None,
        "/v1",
        "https://docs.vllm.ai/en/latest/serving/openai_compatible_server.html",
        HealthCall("https://docs.vllm.ai/en/latest/serving/openai_compatible_server.html"),
        *AuthType,
    ),
    Provider.CUSTOM: _bearer(
        None,
        "/v1",
        "https://platform.openai.com/docs/api-reference/authentication",
        HealthCall("https://platform.openai.com/docs/api-reference/models/list"),
        *AuthType,
    ),
}
"""By provider."""
