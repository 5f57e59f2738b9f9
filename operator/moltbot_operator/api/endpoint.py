"""Where a backend's requests go, and which header carries its key."""

from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final, Literal

from moltbot_operator.api.backend import ModelBackendSpec, Provider, Schema
from moltbot_operator.api.presets import PRESETS
from moltbot_operator.errors import InvalidInput

__all__ = [
    "CredentialHeader",
    "ResolvedEndpoint",
    "credential_header",
    "is_ip_address",
    "resolve_endpoint",
    "resolve_url",
    "url_host",
]

_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True)
class ResolvedEndpoint:
    """The address of a backend."""

    scheme: Literal["http", "https"]
    host: str
    """Host name or IP address, IPv6 without brackets."""
    port: int
    path_prefix: str
    """Goes before the operation: begins with `/` and does not end with one; empty for the root."""
    sni: str | None
    """Name or address to expect in the certificate, and to ask for in TLS if it is a name; None for HTTP."""
    host_header: str
    """Value of the Host header: with the port where it is not the scheme's own."""

    @property
    def url(self) -> str:
        """The base URL, for status and messages."""
        return f"{self.scheme}://{self.host_header}{self.path_prefix}"


def resolve_endpoint(spec: ModelBackendSpec, namespace: str) -> ResolvedEndpoint:
    """Where requests of a backend in `namespace` go: its url, its service, or where the preset says.

    InvalidInput for a preset without an address, which the types refuse already.
    """
    preset = PRESETS[spec.provider]
    endpoint = spec.endpoint
    server_name = endpoint.tls.server_name if endpoint and endpoint.tls else None
    if endpoint and endpoint.service:
        service = endpoint.service
        host = f"{service.name}.{namespace}.svc"
        scheme: Literal["http", "https"] = "https" if endpoint.tls else "http"
        return _resolved(scheme, host, service.port, service.path_prefix, server_name)
    if endpoint and endpoint.url:
        secure, host, port, path = _parts(endpoint.url)
        # an explicit "/" is the root, no path at all is the provider's own prefix
        return _resolved("https" if secure else "http", host, port, path or preset.path_prefix, server_name)
    if preset.host is None:
        raise InvalidInput(
            f"provider {spec.provider} has no public address: write spec.endpoint.url or "
            f"spec.endpoint.service"
        )
    return _resolved("https", preset.host, None, preset.path_prefix, server_name)


def url_host(url: str) -> str:
    """The host of a URL that HttpUrl takes, IPv6 without brackets."""
    return _parts(url)[1]


def resolve_url(url: str) -> ResolvedEndpoint:
    """Where a URL that HttpUrl takes leads; `path_prefix` is its path."""
    secure, host, port, path = _parts(url)
    return _resolved("https" if secure else "http", host, port, path, None)


def _parts(url: str) -> tuple[bool, str, int | None, str]:
    """Whether it is https, host without brackets, port and path of a URL that HttpUrl takes."""
    scheme, _, rest = url.partition("://")
    authority, slash, path = rest.partition("/")
    if authority.startswith("["):
        host, _, port = authority[1:].partition("]")
        port = port.removeprefix(":")
    else:
        host, _, port = authority.partition(":")
    return scheme == "https", host.lower(), int(port) if port else None, slash + path


def _resolved(
    scheme: Literal["http", "https"], host: str, port: int | None, path: str, server_name: str | None
) -> ResolvedEndpoint:
    own = _PORTS[scheme]
    port = port or own
    written = f"[{host}]" if ":" in host else host
    return ResolvedEndpoint(
        scheme=scheme,
        host=host,
        port=port,
        path_prefix=path.rstrip("/"),
        sni=(server_name or host) if scheme == "https" else None,
        host_header=written if port == own else f"{written}:{port}",
    )


@dataclass(frozen=True)
class CredentialHeader:
    """How an API key is sent."""

    name: str
    """Header, in lower case."""
    prefix: str
    """Text before the key."""


_MESSAGES: Final = "x-api-key"
"""https://docs.anthropic.com/en/api/overview"""


def credential_header(spec: ModelBackendSpec) -> CredentialHeader:
    """How the backend's API key is sent: as spec.auth.apiKey says, else as the preset does.

    Anthropic's own operations take it in `x-api-key`.
    A header given without a prefix gets `Bearer ` if it is `Authorization`, else nothing.
    """
    preset = PRESETS[spec.provider]
    key = spec.auth.api_key
    messages = (spec.provider, spec.schema_) == (Provider.ANTHROPIC, Schema.ANTHROPIC)
    own = _MESSAGES if messages else preset.header
    name = key.header.lower() if key and key.header else own
    if key and key.prefix is not None:
        prefix = key.prefix
    elif name == preset.header:
        prefix = preset.prefix
    else:
        prefix = "Bearer " if name == "authorization" else ""
    return CredentialHeader(name, prefix)


def is_ip_address(host: str) -> bool:
    """Whether a host is written as an IP address, which needs no resolving and is no name for SNI."""
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
