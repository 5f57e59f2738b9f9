"""ModelBackend: one model behind one endpoint."""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from moltbot_operator.api.auth import Auth, AuthType
from moltbot_operator.api.backend_status import ModelBackendStatus
from moltbot_operator.api.constraints import Unique
from moltbot_operator.api.fields import (
    DNS_LABEL,
    HostName,
    HttpUrl,
    ModelName,
    ObjectName,
    Port,
    UrlPath,
    is_dns_label,
)
from moltbot_operator.api.meta import LabelSelector, ObjectMeta
from moltbot_operator.api.model import ApiModel, Check
from moltbot_operator.api.objectives import Objectives
from moltbot_operator.api.references import CaRef
from moltbot_operator.api.rotation import IssuerType, Rotation
from moltbot_operator.api.traffic import CircuitBreaker, Limits, Timeouts

__all__ = [
    "NEEDS_ENDPOINT",
    "AllowedNamespaces",
    "AllowedRoutes",
    "Capability",
    "Endpoint",
    "EndpointService",
    "EndpointTLS",
    "ModelBackend",
    "ModelBackendSpec",
    "Prefill",
    "Protocol",
    "Provider",
    "Schema",
]


class Provider(StrEnum):
    """Providers with a preset (see presets.py), and Custom."""

    OPENAI = "OpenAI"
    AZURE_OPENAI = "AzureOpenAI"
    ANTHROPIC = "Anthropic"
    GEMINI = "Gemini"
    DEEPSEEK = "DeepSeek"
    QWEN = "Qwen"
    MOONSHOT = "Moonshot"
    ZHIPU = "Zhipu"
    MISTRAL = "Mistral"
    GROQ = "Groq"
    OPENROUTER = "OpenRouter"
    OLLAMA = "Ollama"
    VLLM = "VLLM"
    CUSTOM = "Custom"


class Schema(StrEnum):
    """APIs that backends speak."""

    OPENAI = "OpenAI"
    ANTHROPIC = "Anthropic"


class Prefill(StrEnum):
    """Forms in which a backend takes the answer that another one began."""

    NONE = "None"
    ASSISTANT = "Assistant"
    PREFIX = "Prefix"
    CONTINUE_FINAL_MESSAGE = "ContinueFinalMessage"


class Capability(StrEnum):
    """Kinds of task that a model does."""

    DIALOG = "Dialog"
    CODE = "Code"
    MULTIMODAL = "Multimodal"
    EMBEDDING = "Embedding"


class EndpointService(ApiModel):
    """A Kubernetes Service in the backend's own namespace."""

    name: ObjectName
    """Name of the Service."""
    port: Port
    """Port of the Service."""
    path_prefix: UrlPath = "/v1"
    """Path under which the OpenAI operations are served; `/` for none."""


class EndpointTLS(ApiModel):
    """How the endpoint's certificate is verified."""

    ca_ref: CaRef | None = None
    """Bundle of CA certificates to trust instead of the public ones."""
    server_name: HostName | None = None
    """Name to ask for (SNI) and to expect in the certificate; by default the endpoint's host."""


class Protocol(StrEnum):
    """Version of HTTP that is spoken to an endpoint."""

    AUTO = "Auto"
    HTTP1 = "HTTP1"
    HTTP2 = "HTTP2"


class Endpoint(ApiModel):
    """Where the model is served: at most one of url and service; without both, where the preset says."""

    url: HttpUrl | None = None
    """Base URL including the path prefix, such as https://api.example.com/v1. Without a path the prefix is
    the provider's own: `/v1` for most, `/openai/v1` for AzureOpenAI. An explicit `/` means the root."""
    service: EndpointService | None = None
    """A Service in the backend's own namespace, instead of a URL; plain HTTP unless tls is given."""
    tls: EndpointTLS | None = None
    """How the certificate is verified; by default with the public CAs and the endpoint's host name."""
    protocol: Protocol = Protocol.AUTO
    """Version of HTTP: Auto, HTTP1 or HTTP2. Auto is HTTP/2 where the server offers it (ALPN), else HTTP/1.1;
    always HTTP/1.1 without TLS, and with limits.maxConnections. HTTP2 without TLS is by prior knowledge."""

    checks = (
        Check(
            "!(has(self.url) && has(self.service))",
            lambda self: self.url is None or self.service is None,
            "give either url or service, not both: remove one",
        ),
        Check(
            "!(has(self.url) && has(self.tls)) || self.url.startsWith('https://')",
            lambda self: self.url is None or self.tls is None or self.url.startswith("https://"),
            "tls needs an https:// url: write https:// or remove tls",
            ".url",
        ),
    )


class AllowedNamespaces(StrEnum):
    """From where routes may use a backend."""

    SAME = "Same"
    ALL = "All"
    SELECTOR = "Selector"


class AllowedRoutes(ApiModel):
    """Which routes may use the backend. A route of another namespace gets a copy of the credential there."""

    namespaces: AllowedNamespaces = AllowedNamespaces.SAME
    """Same (the backend's own namespace), All, or Selector."""
    selector: LabelSelector | None = None
    """Namespaces by label; with Selector only."""

    checks = (
        Check(
            "(self.namespaces == 'Selector') == has(self.selector)",
            lambda self: (self.namespaces is AllowedNamespaces.SELECTOR) == (self.selector is not None),
            "namespaces: Selector and selector go together: write namespaces: Selector and selector: "
            "{matchLabels: "
            "{...}}, or neither",
        ),
    )


NEEDS_ENDPOINT = frozenset({Provider.AZURE_OPENAI, Provider.OLLAMA, Provider.VLLM, Provider.CUSTOM})
"""Providers without an address of their own."""


class ModelBackendSpec(ApiModel):
    """One model behind one endpoint, its credential, its limits and what is expected of it."""

    provider: Provider
    """Preset for endpoint, path prefix and authentication: OpenAI, AzureOpenAI, Anthropic, Gemini, DeepSeek,
    Qwen, Moonshot, Zhipu, Mistral, Groq, OpenRouter, Ollama, VLLM, or Custom. AzureOpenAI, Ollama, VLLM and
    Custom need an endpoint."""
    model: ModelName | None = None
    """What the provider calls the model; replaces the name in requests. Absent: the client's name passes
    through."""
    schema_: Annotated[Schema | None, Field(alias="schema")] = None
    """The one API that the backend speaks: OpenAI (chat completions) or Anthropic (messages). Requests in the
    other one are translated by the route's workers, and so are the answers. Absent: they go as they come."""
    prefill: Prefill | None = None
    """How the model goes on with an answer that another one began (failover.stream.recover: Continue): as the
    last message of the assistant, as it is (Assistant), with `prefix: true` (Prefix), or with
    `continue_final_message: true` (ContinueFinalMessage); None: not at all. Absent: as the provider does."""
    capabilities: Annotated[tuple[Capability, ...], Field(max_length=4), Unique()] = ()
    """Kinds of task that the model does: Dialog, Code, Multimodal, Embedding."""
    endpoint: Endpoint | None = None
    """Where the model is served, instead of where the preset says."""
    auth: Auth = Auth()
    """How the gateway authenticates to the backend; by default not at all."""
    rotation: Rotation | None = None
    """When and how the credential is replaced; absent: never by the operator."""
    limits: Limits | None = None
    """What the backend can take; absent: no limit."""
    circuit_breaker: CircuitBreaker | None = None
    """When a failing backend is left out for a while; absent: never, each request tries it."""
    timeouts: Timeouts = Timeouts()
    """How long to wait for the backend."""
    objectives: Objectives | None = None
    """What the backend is expected to reach."""
    allowed_routes: AllowedRoutes = AllowedRoutes()
    """Which routes may use the backend; by default those of its own namespace."""

    checks = (
        Check(
            "!(self.provider in ['AzureOpenAI', 'Ollama', 'VLLM', 'Custom']) || "
            "(has(self.endpoint) && (has(self.endpoint.url) || has(self.endpoint.service)))",
            lambda self: (
                self.provider not in NEEDS_ENDPOINT
                or (self.endpoint is not None and (self.endpoint.url or self.endpoint.service))
            ),
            "this provider has no public address: write endpoint: {url: https://host/v1} or endpoint: "
            "{service: "
            "{name, port}}",
            ".endpoint",
        ),
        Check(
            "!has(self.rotation) || (has(self.auth) && self.auth.type != 'None')",
            lambda self: self.rotation is None or self.auth.type is not AuthType.NONE,
            "rotation needs a credential to rotate: give auth a type other than None, or remove rotation",
            ".rotation",
        ),
        Check(
            "!has(self.rotation) || self.rotation.issuer.type != 'ManagedKey' || "
            "(has(self.auth) && self.auth.type == 'JWT')",
            lambda self: (
                self.rotation is None
                or self.rotation.issuer.type is not IssuerType.MANAGED_KEY
                or self.auth.type is AuthType.JWT
            ),
            "issuer ManagedKey makes keys for JWT: write auth: {type: JWT, ...} or another issuer",
            ".rotation",
        ),
        Check(
            "!has(self.rotation) || self.rotation.issuer.type != 'DynamicRegistration' || "
            "(has(self.auth) && self.auth.type == 'OAuth2')",
            lambda self: (
                self.rotation is None
                or self.rotation.issuer.type is not IssuerType.DYNAMIC_REGISTRATION
                or self.auth.type is AuthType.OAUTH2
            ),
            "issuer DynamicRegistration registers OAuth2 clients: write auth: {type: OAuth2, ...} or "
            "another issuer",
            ".rotation",
        ),
        Check(
            "!has(self.auth) || !has(self.auth.oauth2) || "
            "(has(self.auth.oauth2.clientId) && has(self.auth.oauth2.clientSecretRef)) || "
            "(has(self.rotation) && self.rotation.issuer.type == 'DynamicRegistration')",
            lambda self: (
                self.auth.oauth2 is None
                or None not in (self.auth.oauth2.client_id, self.auth.oauth2.client_secret_ref)
                or (
                    self.rotation is not None and self.rotation.issuer.type is IssuerType.DYNAMIC_REGISTRATION
                )
            ),
            "oauth2 needs clientId and clientSecretRef: {name, key}, unless rotation.issuer is "
            "DynamicRegistration",
            ".auth",
        ),
    )


class ModelBackend(ApiModel):
    """One model behind one endpoint: a provider's or one's own. Routes send requests to it by its name."""

    api_version: Literal["moltbot.io/v1alpha1"] = "moltbot.io/v1alpha1"
    kind: Literal["ModelBackend"] = "ModelBackend"
    metadata: ObjectMeta
    spec: ModelBackendSpec
    """What is wanted: the endpoint, its credential, its limits and who may use it."""
    status: ModelBackendStatus = ModelBackendStatus()
    """What the operator found and does; written by the operator only."""

    checks = (
        Check(
            f"size(self.metadata.name) <= 63 && self.metadata.name.matches('^{DNS_LABEL}$')",
            lambda self: is_dns_label(self.metadata.name),
            "a ModelBackend's name has at most 63 lower-case letters, digits and hyphens, such as "
            "code-model-v2: "
            "rename it",
        ),
    )
