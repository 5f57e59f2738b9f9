"""From a ModelBackend to what the data plane needs to know of it."""

from moltbot_operator.api import Capability, Limits, ModelBackendSpec, Protocol
from moltbot_operator.api.endpoint import ResolvedEndpoint, resolve_endpoint, url_host
from moltbot_operator.compile.consumers import Limit
from moltbot_operator.compile.credentials import credential
from moltbot_operator.compile.ir import Backend, Verification
from moltbot_operator.compile.local import is_local
from moltbot_operator.compile.providers import provider_name
from moltbot_operator.compile.sources import BackendRef, Problem, RouteSources

__all__ = ["folder", "resolve"]


def folder(ref: BackendRef) -> str:
    """The backend's own folder below each mount; unambiguous, since names have no underscore."""
    return f"{ref.namespace}_{ref.name}"


def resolve(ref: BackendRef, sources: RouteSources) -> Backend | Problem:
    """The backend, or why it can't be used."""
    source = sources.backends.get(ref)
    if source is None:
        return Problem(
            "BackendNotFound",
            f"ModelBackend {ref} does not exist: create it, or correct the reference",
        )
    if source.problem is not None:
        return source.problem
    spec = source.spec
    endpoint = resolve_endpoint(spec, ref.namespace)
    if not sources.files.loopback and is_local(endpoint.host):
        return Problem(
            "Loop",
            f"ModelBackend {ref}: its endpoint {endpoint.host} is the gateway's own pod or node: write the "
            "address of the model's server",
        )
    token_host = url_host(spec.auth.oauth2.token_url) if spec.auth.oauth2 else None
    if token_host is not None and not sources.files.loopback and is_local(token_host):
        return Problem(
            "Loop",
            f"ModelBackend {ref}: the host {token_host} of its tokenUrl is the gateway's own pod or node: "
            "write the address of the token endpoint",
        )
    limits, timeouts = spec.limits, spec.timeouts
    return Backend(
        ref=ref,
        label=ref.name if ref.namespace == sources.namespace else str(ref),
        host=endpoint.host,
        port=endpoint.port,
        host_header=endpoint.host_header,
        prefix=endpoint.path_prefix.rstrip("/"),
        spread=spec.endpoint is not None and spec.endpoint.service is not None,
        tls=_verification(ref, spec, endpoint, sources),
        protocol=_protocol(spec, endpoint),
        model=spec.model,
        provider=provider_name(spec.provider),
        credential=credential(ref, spec, sources.files, rotated=source.rotated),
        max_connections=None if limits is None else limits.max_connections,
        max_pending=None if limits is None else limits.max_pending_requests,
        rate=_rate(limits),
        breaker=spec.circuit_breaker,
        connect=timeouts.connect,
        first_byte=timeouts.first_byte,
        idle=timeouts.idle,
        schema=None if spec.schema_ is None else spec.schema_.value,
        embeds=set(spec.capabilities) == {Capability.EMBEDDING},
    )


def _rate(limits: Limits | None) -> Limit | None:
    if limits is None or limits.requests_per_second is None:
        return None
    return Limit(limits.requests_per_second, limits.burst or limits.requests_per_second)


def _protocol(spec: ModelBackendSpec, endpoint: ResolvedEndpoint) -> Protocol:
    """The version of HTTP, or Auto where ALPN decides.

    A limit of connections is one of requests with HTTP/1.1 only, so Auto means that then.
    """
    wanted = Protocol.AUTO if spec.endpoint is None else spec.endpoint.protocol
    counted = spec.limits is not None and spec.limits.max_connections is not None
    if wanted is Protocol.AUTO and (endpoint.scheme == "http" or counted):
        return Protocol.HTTP1
    return wanted


def _verification(
    ref: BackendRef, spec: ModelBackendSpec, endpoint: ResolvedEndpoint, sources: RouteSources
) -> Verification | None:
    if endpoint.scheme != "https":
        return None
    tls = None if spec.endpoint is None else spec.endpoint.tls
    private = tls is not None and tls.ca_ref is not None
    ca = f"{sources.files.ca}/{folder(ref)}/ca.crt" if private else sources.files.system_ca
    return Verification(ca, endpoint.sni or endpoint.host)
