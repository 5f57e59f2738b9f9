"""How a cluster speaks to its endpoint: version of HTTP, credential, and how much at a time."""

from typing import Final

from moltbot_operator.api import Protocol
from moltbot_operator.compile.envoy.proto import Json, extension, typed
from moltbot_operator.compile.ir import Backend, Gateway, UpstreamCredential

__all__ = ["alpn", "breakers", "injected", "protocol", "with_secret"]

_UNLIMITED: Final = 1_000_000
"""In place of Envoy's default breakers, of which 3 concurrent retries is the harshest."""

_INJECTOR: Final = "envoy.filters.http.credential_injector"
_PROTOCOL: Final = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"

_ALPN: Final = {
    Protocol.AUTO: ["h2", "http/1.1"],
    Protocol.HTTP1: ["http/1.1"],
    Protocol.HTTP2: ["h2"],
}


def alpn(spoken: Protocol) -> list[str]:
    """What is offered in the TLS handshake, the most wanted first."""
    return list(_ALPN[spoken])


_BUDGET: Final = {"budget_percent": {"value": 25}, "min_retry_concurrency": 100}
"""Of the requests that are in flight at a backend, so many may be further attempts."""


def breakers(backend: Backend | None = None, *, alone: bool = False) -> Json:
    """Limits of a cluster; without a backend, or limits of its own, none.

    Further attempts are limited where they ask the same backend again (`alone`), which is what makes an
    outage worse. One elsewhere is not, since it is all that saves the request: with Envoy's own limit of
    three at a time, 353 of 500 were lost.

    With HTTP/1.1 a request waits as pending while its connection is made, so that pending needs room for all
    connections; that the queue is no longer is the cluster specifier's business. With HTTP/2 it is the number
    of streams of one connection that is limited, see :func:`protocol`.
    """
    connections = None if backend is None else backend.max_connections
    pending = _UNLIMITED
    if backend is not None and connections is not None:
        pending = connections + (backend.max_pending or 0)
        connections = 1 if backend.protocol is Protocol.HTTP2 else connections
    threshold: Json = {
        "max_connections": connections or _UNLIMITED,
        "max_pending_requests": pending,
        "max_requests": _UNLIMITED,
    }
    threshold |= {"retry_budget": _BUDGET} if alone else {"max_retries": _UNLIMITED}
    return {"thresholds": [threshold]}


def injected(backend: Backend | None, gateway: Gateway, filters: list[Json]) -> Json:
    """HTTP/1.1, as the inner tier speaks it, these filters, and the credential of `backend`."""
    options = typed(_PROTOCOL[len("envoy.") :], explicit_http_config={"http_protocol_options": {}})
    return {_PROTOCOL: _filtered(options, backend, gateway, filters)}


def protocol(backend: Backend, gateway: Gateway, filters: list[Json]) -> Json:
    """`typed_extension_protocol_options` of a backend's own cluster.

    The version of HTTP of an attempt is that of the cluster whose endpoint is asked, also below a composite.
    """
    first: Json = {"http_protocol_options": {}}
    second: Json = {"http2_protocol_options": _http2(backend)}
    match backend.protocol:
        case Protocol.AUTO:
            options = typed(_PROTOCOL[len("envoy.") :], auto_config={**first, **second})
        case Protocol.HTTP1:
            options = typed(_PROTOCOL[len("envoy.") :], explicit_http_config=first)
        case Protocol.HTTP2:
            options = typed(_PROTOCOL[len("envoy.") :], explicit_http_config=second)
    return {_PROTOCOL: _filtered(options, backend, gateway, filters)}


def _http2(backend: Backend) -> Json:
    """A ping where nothing comes, since a dead connection would take all its requests along."""
    options: Json = {
        "connection_keepalive": {"interval": "30s", "timeout": "10s", "connection_idle_interval": "30s"}
    }
    if backend.max_connections is not None:
        options["max_concurrent_streams"] = backend.max_connections
    return options


def _filtered(options: Json, backend: Backend | None, gateway: Gateway, filters: list[Json]) -> Json:
    """With upstream filters: they run once an attempt, next to the endpoint."""
    if backend is not None and backend.credential is not None:
        filters = [_injector(backend.credential, gateway), *filters]
    if not filters:
        return options
    codec = extension(
        "envoy.filters.http.upstream_codec", "extensions.filters.http.upstream_codec.v3.UpstreamCodec"
    )
    return {**options, "http_filters": [*filters, codec]}


def with_secret(name: str, path: str, header: str) -> Json:
    """HTTP/1.1, and the generic secret `name` of the SDS file `path` in a header."""
    options = typed(_PROTOCOL[len("envoy.") :], explicit_http_config={"http_protocol_options": {}})
    codec = extension(
        "envoy.filters.http.upstream_codec", "extensions.filters.http.upstream_codec.v3.UpstreamCodec"
    )
    return {_PROTOCOL: {**options, "http_filters": [_injected(name, path, header), codec]}}


def _injector(credential: UpstreamCredential, gateway: Gateway) -> Json:
    path = f"{gateway.files.run}/sds/{credential.resource}.json"
    return _injected(credential.resource, path, credential.header)


def _injected(name: str, path: str, header: str) -> Json:
    source = {
        "name": name,
        "sds_config": {"path_config_source": {"path": path}, "resource_api_version": "V3"},
    }
    generic = extension(
        "envoy.http.injected_credentials.generic",
        "extensions.http.injected_credentials.generic.v3.Generic",
        credential=source,
        header=header,
    )
    return extension(
        _INJECTOR,
        "extensions.filters.http.credential_injector.v3.CredentialInjector",
        overwrite=True,
        credential=generic,
    )
