"""What the agent is told: written by the compiler, read in the pod and by `moltbot serve`.

The compiled configuration of a revision is one JSON document with the keys `agent` (AgentConfig) and
`envoy` (the bootstrap), compressed with gzip and cut into parts that fit ConfigMaps; part N is the file
`part-NNN` below the configuration folder. :func:`pack` and :func:`unpack` are the two directions.
"""

import gzip
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field

PART_BYTES = 900_000
"""Largest part: a ConfigMap holds 1 MiB in all, base64 and names included in its etcd record only."""


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, defer_build=True)


class FetchedToken(_Model):
    """OAuth 2.0 client credentials (RFC 6749 §4.4); the credential's `source` holds the client's secret.

    Of a client that was registered for the gateway (RFC 7591) both identifier and secret change: then the
    source is `{"client_id": str, "client_secret": str}`.
    """

    kind: Literal["OAuth2"] = "OAuth2"
    url: str
    """The token endpoint."""
    client_id: str
    """Used where the source does not say it."""
    authentication: Literal["ClientSecretBasic", "ClientSecretPost"] = "ClientSecretBasic"
    """How the client shows its secret (RFC 6749 §2.3.1)."""
    scopes: tuple[str, ...] = ()
    audience: str | None = None
    ca: Path
    """CA bundle that verifies the endpoint."""


class SignedToken(_Model):
    """A JWT (RFC 7519) that the agent signs; the credential's `source` holds the private key in PEM."""

    kind: Literal["JWT"] = "JWT"
    issuer: str
    subject: str
    audience: str
    algorithm: Literal["ES256", "ES384", "RS256", "PS256", "EdDSA"]
    ttl_s: float
    """Seconds from `iat` to `exp`."""


class Credential(_Model):
    """An upstream credential: `source` (as the Secret gives it) becomes the SDS file `target`.

    With `token`, what is sent is a token that the agent gets by means of the source. Credentials with the
    same `target` are one: its token is got once.
    """

    name: str
    """SDS resource name; the same for backends that are sent the same."""
    backend: str
    """`namespace/name` of the ModelBackend, for evidence and messages."""
    source: Path
    """File that holds the secret value alone (trailing newline ignored)."""
    next: Path | None = None
    """File with the value that is to come, where the credential is rotated: only held, so that evidence can
    tell; it comes into use as `source`."""
    token: Annotated[FetchedToken | SignedToken, Field(discriminator="kind")] | None = None
    state: Path | None = None
    """With `token`: file in the same memory-backed folder that keeps the token and its end over a restart."""
    target: Path
    """SDS file that Envoy watches (DiscoveryResponse with one generic secret)."""
    prefix: str = ""
    """Put before the value, e.g. `Bearer `."""


class ConsumerKeys(_Model):
    """Keys of one consumer: each file in `source` holds one valid key."""

    consumer: str
    source: Path


class Consumers(_Model):
    """Consumers' keys become the ECDS file `target` with the `api_key_auth` filter's configuration."""

    target: Path
    resource: str
    """ECDS resource name."""
    keys: tuple[ConsumerKeys, ...] = ()
    template: dict[str, Any]
    """The filter's typed_config without `credentials`, which the agent adds."""
    inside: tuple[str, ...] = ()
    """Where in the template `credentials` belongs: keys from the outside to the inside."""


class IssuerKeys(_Model):
    """Public keys of an issuer of tokens: the file `source` holds its JWKS."""

    provider: str
    """Key of the template's `providers`."""
    consumer: str
    """A consumer of this issuer, for messages."""
    source: Path


class Verifier(_Model):
    """Issuers' keys become the ECDS file `target` with the `jwt_authn` filter's configuration."""

    target: Path
    resource: str
    """ECDS resource name."""
    keys: tuple[IssuerKeys, ...] = ()
    """Those that the agent reads; Envoy fetches the others by itself."""
    template: dict[str, Any]
    """The filter's typed_config. Providers of `keys` get `local_jwks` from the agent in place of their
    `remote_jwks`, which leads nowhere: Envoy refuses a provider without any key."""


class Certificate(_Model):
    """The pair that clients are shown: `tls.crt` and `tls.key` in `source` become the SDS file `target`."""

    name: str
    """SDS resource name."""
    source: Path
    """Folder with both files."""
    target: Path
    """SDS file that Envoy watches (DiscoveryResponse with one TLS certificate)."""


class Served(_Model):
    """What metrics tell of a backend beside its name."""

    provider: str = ""
    """`gen_ai.provider.name`."""
    model: str = ""
    """The model that it is asked for; empty if it gets the client's."""


class AgentConfig(_Model):
    """Everything the agent needs for one revision."""

    namespace: str
    route: str
    revision: str
    admin_port: int
    """Envoy's admin interface on 127.0.0.1."""
    bootstrap: Path
    """Where to write Envoy's bootstrap."""
    stat_prefix: str = "public"
    """`stat_prefix` of the public listener's connection manager: its requests are drained and counted."""
    leave: Path | None = None
    """File that tells Envoy whether clients shall leave; see moltbot_agent.leaving."""
    clusters: dict[str, str] = {}
    """Name of each cluster whose hosts are a backend's own (`up_*`) → `namespace/name` of that backend.

    Clusters that lead to the inner tier and composites are left out: every attempt ends in one of these.
    """
    credentials: tuple[Credential, ...] = ()
    consumers: Consumers | None = None
    probe: Consumers | None = None
    """The key of the operator's own test requests, for their listener."""
    verifier: Verifier | None = None
    certificate: Certificate | None = None
    """Absent: plain HTTP."""
    served: dict[str, Served] = {}
    """Backends by `namespace/name`."""
    consumer_names: tuple[str, ...] = ()
    """Every consumer that metrics may name."""


def pack(agent: AgentConfig, envoy: dict[str, Any], part_bytes: int = PART_BYTES) -> tuple[bytes, ...]:
    """Parts of the compressed document, each at most `part_bytes`; equal input gives equal bytes."""
    document = {"agent": agent.model_dump(mode="json"), "envoy": envoy}
    packed = gzip.compress(orjson.dumps(document, option=orjson.OPT_SORT_KEYS), mtime=0)
    return tuple(packed[at : at + part_bytes] for at in range(0, len(packed), part_bytes))


def unpack(parts: Sequence[bytes]) -> tuple[AgentConfig, dict[str, Any]]:
    """The reverse of :func:`pack`."""
    document = orjson.loads(gzip.decompress(b"".join(parts)))
    return AgentConfig.model_validate(document["agent"]), document["envoy"]
