"""How the gateway authenticates to a backend."""

from datetime import timedelta
from enum import StrEnum
from typing import Annotated

from pydantic import Field

from moltbot_operator.api.constraints import Text
from moltbot_operator.api.duration import DurationBounds
from moltbot_operator.api.fields import Flag, HeaderName, HttpUrl, Sentence
from moltbot_operator.api.model import ApiModel, Check
from moltbot_operator.api.references import CaRef, SecretKeyRef

__all__ = [
    "APIKeyAuth",
    "Auth",
    "AuthType",
    "ClientAuthentication",
    "JWTAlgorithm",
    "JWTAuth",
    "OAuth2Auth",
    "SigningKey",
]


class AuthType(StrEnum):
    """Kinds of credential."""

    NONE = "None"
    API_KEY = "APIKey"
    OAUTH2 = "OAuth2"
    JWT = "JWT"


class APIKeyAuth(ApiModel):
    """A key from a Secret, sent in a header."""

    secret_ref: SecretKeyRef
    """Secret and key that hold the API key; a changed value is used within about a minute, without a
    restart."""
    header: HeaderName | None = None
    """Header that carries the key. By default the provider's: `Authorization` for most, `api-key` for
    AzureOpenAI, `x-api-key` for Anthropic's own API."""
    prefix: (
        Annotated[
            str, Text(32, minimum=0, pattern="[ -~]*", remedy="write printable ASCII, such as 'Bearer '")
        ]
        | None
    ) = None
    """Text before the key, with its trailing space. By default the provider's: `Bearer ` in `Authorization`,
    nothing in other headers."""


class ClientAuthentication(StrEnum):
    """How an OAuth 2.0 client shows its secret (RFC 6749 §2.3.1, names of RFC 7591 §2)."""

    BASIC = "ClientSecretBasic"
    POST = "ClientSecretPost"


Scope = Annotated[
    str,
    Text(
        256,
        pattern=r"[!#-\[\]-~]+",
        remedy="write each scope as an item of its own, without spaces and quotes, such as models.read",
        cheap=True,
    ),
]
"""RFC 6749 §3.3 scope-token."""


class OAuth2Auth(ApiModel):
    """OAuth 2.0 client credentials (RFC 6749 §4.4)."""

    token_url: HttpUrl
    """The token endpoint. With http:// the client's secret crosses the network unprotected."""
    client_id: Sentence | None = None
    """The client's identifier; absent only where rotation.issuer registers the client itself."""
    client_secret_ref: SecretKeyRef | None = None
    """Secret and key that hold the client's secret; absent only where rotation.issuer registers the client
    itself."""
    client_authentication: ClientAuthentication = ClientAuthentication.BASIC
    """How the secret is sent: ClientSecretBasic (in the Authorization header) or ClientSecretPost (in the
    body, for servers that want it so)."""
    scopes: Annotated[tuple[Scope, ...], Field(max_length=32)] = ()
    """Scopes to ask for."""
    audience: Sentence | None = None
    """Value of the `audience` parameter, for servers that want one."""
    ca_ref: CaRef | None = None
    """Bundle of CA certificates to trust for the token endpoint instead of the public ones."""

    checks = (
        Check(
            "!has(self.caRef) || self.tokenUrl.startsWith('https://')",
            lambda self: self.ca_ref is None or self.token_url.startswith("https://"),
            "caRef needs an https:// tokenUrl: write https:// or remove caRef",
            ".tokenUrl",
        ),
    )


class JWTAlgorithm(StrEnum):
    """Signature algorithms (RFC 7518 §3.1, RFC 8037)."""

    ES256 = "ES256"
    ES384 = "ES384"
    RS256 = "RS256"
    PS256 = "PS256"
    ED_DSA = "EdDSA"


class SigningKey(ApiModel):
    """Where the private key comes from: exactly one of the two."""

    managed: Flag = False
    """true: the operator makes the key pair, rotates it and publishes the JWKS."""
    secret_ref: SecretKeyRef | None = None
    """Secret and key that hold a private key in PEM."""

    checks = (
        Check(
            "(has(self.managed) && self.managed) != has(self.secretRef)",
            lambda self: self.managed != (self.secret_ref is not None),
            "give exactly one signing key: either managed: true or secretRef: {name, key}",
        ),
    )


class JWTAuth(ApiModel):
    """Short-lived signed tokens (RFC 7519)."""

    issuer: Sentence
    """Claim `iss`."""
    subject: Sentence
    """Claim `sub`."""
    audience: Sentence
    """Claim `aud`."""
    algorithm: JWTAlgorithm = JWTAlgorithm.ES256
    """Signature algorithm."""
    ttl: Annotated[timedelta, DurationBounds("30s", "24h")] = timedelta(minutes=10)
    """How long a token is valid."""
    signing_key: SigningKey
    """The private key that signs."""


class Auth(ApiModel):
    """How the gateway authenticates to the backend: a type, and the member of the same name."""

    type: AuthType = AuthType.NONE
    """None, APIKey (a key in a header), OAuth2 (client credentials) or JWT (signed tokens)."""
    api_key: APIKeyAuth | None = None
    """The API key; only with type APIKey."""
    oauth2: OAuth2Auth | None = None
    """The OAuth 2.0 client; only with type OAuth2."""
    jwt: JWTAuth | None = None
    """The token's claims and key; only with type JWT."""

    checks = (
        Check(
            "(self.type == 'APIKey') == has(self.apiKey)",
            lambda self: (self.type is AuthType.API_KEY) == (self.api_key is not None),
            "type APIKey and apiKey go together: write type: APIKey and apiKey: {secretRef: {name, key}},"
            " or neither",
        ),
        Check(
            "(self.type == 'OAuth2') == has(self.oauth2)",
            lambda self: (self.type is AuthType.OAUTH2) == (self.oauth2 is not None),
            "type OAuth2 and oauth2 go together: write type: OAuth2 and oauth2: {tokenUrl, clientId, "
            "clientSecretRef}, "
            "or neither",
        ),
        Check(
            "(self.type == 'JWT') == has(self.jwt)",
            lambda self: (self.type is AuthType.JWT) == (self.jwt is not None),
            "type JWT and jwt go together: write type: JWT and jwt: {issuer, subject, audience, "
            "signingKey}, or neither",
        ),
    )
