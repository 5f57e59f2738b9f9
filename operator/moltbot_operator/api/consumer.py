"""Client applications: how they prove who they are, and which backends they may use."""

from datetime import timedelta
from typing import Annotated

from pydantic import Field

from moltbot_operator.api.constraints import Text
from moltbot_operator.api.duration import DurationBounds
from moltbot_operator.api.fields import BackendList, HttpUrl, Name, Sentence
from moltbot_operator.api.model import ApiModel, Check
from moltbot_operator.api.references import ConfigMapKeyRef, SecretRef

__all__ = [
    "JWKS",
    "Anonymous",
    "Consumer",
    "ConsumerAPIKey",
    "ConsumerAuth",
    "ConsumerJWT",
    "ConsumerKeyRotation",
    "ConsumerLimits",
]


class ConsumerKeyRotation(ApiModel):
    """When the operator replaces the consumer's key; old and new are both valid through the overlap."""

    interval: Annotated[timedelta, DurationBounds("1m", "8760h")] = timedelta(hours=72)
    """Age at which a key is replaced."""
    overlap: Annotated[timedelta, DurationBounds("0s", "720h")] = timedelta(hours=1)
    """How long the previous key stays valid after every gateway pod takes the new one."""


class ConsumerAPIKey(ApiModel):
    """Keys in a Secret, sent by clients as `Authorization: Bearer <key>`."""

    secret_ref: SecretRef
    """Secret with the keys: the value under every name in it is valid, so that a key is replaced by adding
    the new one first."""
    rotation: ConsumerKeyRotation | None = None
    """Has the operator make the key and replace it; absent: never. Clients use the one named `key`. The
    operator makes the Secret; one that exists must have its labels (docs/rotation.md)."""


class JWKS(ApiModel):
    """Public keys (RFC 7517): exactly one of the two."""

    config_map_ref: ConfigMapKeyRef | None = None
    """ConfigMap and key that hold the JWKS; a change is taken up without a restart."""
    url: HttpUrl | None = None
    """Where the issuer serves its JWKS: asked each minute by each gateway pod, over TLS with a public CA for
    https. Keys stay in use while it can't be reached; before they were ever fetched, tokens get 503."""

    checks = (
        Check(
            "has(self.configMapRef) != has(self.url)",
            lambda self: (self.config_map_ref is None) != (self.url is None),
            "give exactly one of configMapRef: {name, key} and url",
        ),
    )


class ConsumerJWT(ApiModel):
    """Tokens of an identity provider (RFC 7519), sent by clients as `Authorization: Bearer <token>`.

    They must have `exp`, and be signed by RS, PS, ES or EdDSA (RFC 7518); clocks may be 60 s apart.
    """

    issuer: Sentence
    """Claim `iss` that tokens must have."""
    audiences: Annotated[tuple[Sentence, ...], Field(max_length=16)] = ()
    """Claim `aud`: any of these; empty: not looked at, so that tokens for other services pass too."""
    jwks: JWKS
    """Public keys that tokens are verified with."""
    claims: Annotated[dict[Annotated[str, Text(128)], Annotated[str, Text(256)]], Field(max_length=16)] = (
        Field(default_factory=dict)
    )
    """Further claims that tokens must have with exactly these values; they tell consumers of one issuer
    apart. A claim may be a text, a number or a boolean as JSON writes it, or a list that holds the value. A
    token that is several consumers' is the first one's in the spec."""


class Anonymous(ApiModel):
    """Every client, without a credential. Has no fields: write `anonymous: {}`."""


class ConsumerAuth(ApiModel):
    """How the consumer proves who it is: exactly one of the three."""

    api_key: ConsumerAPIKey | None = None
    """By a key."""
    jwt: ConsumerJWT | None = None
    """By a token of an identity provider."""
    anonymous: Anonymous | None = None
    """Not at all: every client is this consumer. Then it must be the only consumer."""

    checks = (
        Check(
            "[has(self.apiKey), has(self.jwt), has(self.anonymous)].exists_one(given, given)",
            lambda self: sum(way is not None for way in (self.api_key, self.jwt, self.anonymous)) == 1,
            "give exactly one of apiKey: {secretRef: {name}}, jwt: {issuer, jwks} and anonymous: {}",
        ),
    )


class ConsumerLimits(ApiModel):
    """How much a consumer may ask for."""

    requests_per_second: Annotated[int, Field(strict=True, ge=1, le=1_000_000)]
    """Requests a second, for each gateway pod: with n pods up to n times as many get through. More get 429
    with Retry-After. Every request with a valid credential counts, also one that is refused later."""
    burst: Annotated[int, Field(strict=True, ge=1, le=1_000_000)] | None = None
    """Requests that may come at once after a pause, for each gateway pod; by default one second's worth."""


class Consumer(ApiModel):
    """A client application."""

    name: Name
    """Name, unique in the route; logs and metrics use it."""
    auth: ConsumerAuth
    """How the consumer proves who it is."""
    backends: BackendList = ()
    """Backends that the consumer may use (least privilege); empty: none, so every request gets 403."""
    limits: ConsumerLimits | None = None
    """How much the consumer may ask for; absent: no limit."""
