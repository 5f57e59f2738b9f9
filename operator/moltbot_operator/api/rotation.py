"""When and how a backend's credential is replaced."""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated

from pydantic import AfterValidator
from pydantic_core import PydanticCustomError

from moltbot_operator.api.constraints import Text
from moltbot_operator.api.duration import DurationBounds
from moltbot_operator.api.fields import HeaderName, HttpUrl, Name, Sentence
from moltbot_operator.api.model import ApiModel, Check
from moltbot_operator.api.references import SecretKeyRef

__all__ = [
    "DynamicRegistration",
    "HttpCall",
    "HttpMethod",
    "Issuer",
    "IssuerType",
    "ManagedKey",
    "Rotation",
    "WebhookIssuer",
    "WebhookPreset",
]


class IssuerType(StrEnum):
    """Who makes new credentials."""

    WEBHOOK = "Webhook"
    DYNAMIC_REGISTRATION = "DynamicRegistration"
    MANAGED_KEY = "ManagedKey"
    EXTERNAL = "External"


class WebhookPreset(StrEnum):
    """Admin APIs whose calls are known."""

    OPENAI_ADMIN = "OpenAIAdmin"
    OPENROUTER = "OpenRouter"
    LITELLM = "LiteLLM"


class HttpMethod(StrEnum):
    """Methods of a call."""

    GET = "GET"
    POST = "POST"
    PUT = "PUT"
    PATCH = "PATCH"
    DELETE = "DELETE"


JsonPath = Annotated[
    str,
    Text(
        256,
        pattern=r"[$](\.[A-Za-z_][A-Za-z0-9_]*|\.[*]|\[[*]\]|\[[0-9]+\])*",
        remedy="write a JSON path of names, indices and [*] only, such as $.data[*].id",
    ),
]
"""RFC 9535, without filters and descent."""


class HttpCall(ApiModel):
    """One call to an admin API. `{id}`, `{name}` and `{rotation}` in url and body are replaced."""

    method: HttpMethod = HttpMethod.POST
    """HTTP method."""
    url: Annotated[str, Text(1024, pattern="https?://[!-~]+", remedy="write an http:// or https:// URL")]
    """Where to call."""
    body: Annotated[str, Text(8192, minimum=0)] | None = None
    """JSON to send."""
    id_path: JsonPath | None = None
    """JSON path of a credential's identifier in the answer, such as `$.id` or `$.data[*].id`."""
    value_path: JsonPath | None = None
    """JSON path of the credential itself in the answer, such as `$.key`."""
    name_path: JsonPath | None = None
    """JSON path of a credential's name, by which the rotation's own ones are found in a list."""


class WebhookIssuer(ApiModel):
    """An admin API that lists, creates and revokes keys by HTTP."""

    preset: WebhookPreset | None = None
    """A known admin API: OpenAIAdmin, OpenRouter or LiteLLM; then only the credential is needed."""
    url: HttpUrl | None = None
    """Base URL of a preset's API where it is not the public one, such as a LiteLLM of one's own."""
    project: (
        Annotated[
            str, Text(64, pattern="[A-Za-z0-9_-]+", remedy="write the project's id, such as proj_abc123")
        ]
        | None
    ) = None
    """OpenAI's project that gets the keys; with preset OpenAIAdmin."""
    secret_ref: SecretKeyRef
    """Secret and key that hold the admin credential."""
    header: HeaderName = "Authorization"
    """Header that carries the admin credential."""
    prefix: Annotated[str, Text(32, minimum=0)] = "Bearer "
    """Text before the admin credential."""
    list: HttpCall | None = None
    """Lists credentials, so that one made before a crash is found again."""
    create: HttpCall | None = None
    """Makes a credential."""
    revoke: HttpCall | None = None
    """Revokes a credential."""

    checks = (
        Check(
            "has(self.preset) || (has(self.list) && has(self.create) && has(self.revoke))",
            lambda self: self.preset is not None or None not in (self.list, self.create, self.revoke),
            "give a preset (OpenAIAdmin, OpenRouter, LiteLLM), or all three of list, create and revoke",
        ),
        Check(
            "(has(self.preset) && self.preset == 'OpenAIAdmin') == has(self.project)",
            lambda self: (self.preset is WebhookPreset.OPENAI_ADMIN) == (self.project is not None),
            "preset OpenAIAdmin and project go together: write both, such as proj_abc123, or neither",
        ),
        Check(
            "!has(self.preset) || self.preset != 'LiteLLM' || has(self.url)",
            lambda self: self.preset is not WebhookPreset.LITELLM or self.url is not None,
            "preset LiteLLM has no public address: write url, such as http://litellm.models.svc:4000",
        ),
        Check(
            "!has(self.list) || (has(self.list.idPath) && has(self.list.namePath))",
            lambda self: self.list is None or None not in (self.list.id_path, self.list.name_path),
            "list needs idPath and namePath, such as $.data[*].id and $.data[*].name",
        ),
        Check(
            "!has(self.create) || (has(self.create.idPath) && has(self.create.valuePath))",
            lambda self: self.create is None or None not in (self.create.id_path, self.create.value_path),
            "create needs idPath and valuePath, such as $.id and $.key",
        ),
    )


class DynamicRegistration(ApiModel):
    """OAuth 2.0 dynamic client registration (RFC 7591, RFC 7592)."""

    registration_url: HttpUrl
    """The client registration endpoint."""
    initial_access_token_ref: SecretKeyRef | None = None
    """Secret and key that hold the initial access token, where the server wants one."""


class ManagedKey(ApiModel):
    """Key pairs that the operator makes; the public halves are published as a JWKS."""

    config_map_name: Name | None = None
    """ConfigMap to publish the JWKS in; by default the backend's name with `-jwks`."""
    cache_max_age: Annotated[timedelta, DurationBounds("1s", "24h")] = timedelta(minutes=5)
    """How long verifiers may keep the JWKS; a new key signs only after that."""


class Issuer(ApiModel):
    """Who makes new credentials: a type, and the member of the same name where there is one."""

    type: IssuerType
    """Webhook (an admin API), DynamicRegistration (RFC 7591), ManagedKey (JWT keys made here) or External
    (somebody else fills the Secret)."""
    webhook: WebhookIssuer | None = None
    """The admin API; with type Webhook."""
    dynamic_registration: DynamicRegistration | None = None
    """The registration endpoint; with type DynamicRegistration."""
    managed_key: ManagedKey | None = None
    """How keys are published; only with type ManagedKey, and optional there."""

    checks = (
        Check(
            "(self.type == 'Webhook') == has(self.webhook)",
            lambda self: (self.type is IssuerType.WEBHOOK) == (self.webhook is not None),
            "type Webhook and webhook go together: write both or neither",
        ),
        Check(
            "(self.type == 'DynamicRegistration') == has(self.dynamicRegistration)",
            lambda self: (
                (self.type is IssuerType.DYNAMIC_REGISTRATION) == (self.dynamic_registration is not None)
            ),
            "type DynamicRegistration and dynamicRegistration go together: write both or neither",
        ),
        Check(
            "!has(self.managedKey) || self.type == 'ManagedKey'",
            lambda self: self.managed_key is None or self.type is IssuerType.MANAGED_KEY,
            "managedKey goes with type ManagedKey only: change the type or remove managedKey",
        ),
    )


def _with_zone(value: datetime) -> datetime:
    if value.tzinfo is None:
        raise PydanticCustomError("zone", "write the time with its zone, such as 2026-12-01T08:00:00Z")
    return value


class Rotation(ApiModel):
    """When and how the credential is replaced, without a refused request."""

    interval: Annotated[timedelta, DurationBounds("1m", "8760h")] = timedelta(hours=72)
    """Age at which a credential is replaced."""
    overlap: Annotated[timedelta, DurationBounds("0s", "720h")] = timedelta(minutes=15)
    """How long the previous credential stays valid after the new one is in use."""
    issuer: Issuer
    """Who makes new credentials."""
    rotate_at: Annotated[datetime, AfterValidator(_with_zone)] | None = None
    """Rotate once at this time (RFC 3339), besides the interval; a time in the past means now."""
    compromised: Sentence | None = None
    """Version of a leaked credential, as status.credential.version shows it: replaced and revoked at once."""

    checks = (
        Check(
            "!has(self.overlap) || !has(self.interval) || duration(self.overlap) < duration(self.interval)",
            lambda self: self.overlap < self.interval,
            "overlap must be shorter than interval: shorten overlap or lengthen interval",
            ".overlap",
        ),
    )
