"""Clusters: each backend itself (`up_…`), by the inner tier (`x_…`), and the chains of attempts."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

from moltbot_agent.attempts import by_inner
from moltbot_operator.api import Protocol
from moltbot_operator.api.endpoint import is_ip_address
from moltbot_operator.compile.drill import drills
from moltbot_operator.compile.envoy import names
from moltbot_operator.compile.envoy.proto import Json, extension, seconds
from moltbot_operator.compile.envoy.retry import again, said
from moltbot_operator.compile.envoy.upstream import alpn, breakers, injected, protocol
from moltbot_operator.compile.ir import Backend, Chain, Gateway, Verification
from moltbot_operator.constants import BUFFER_BYTES

__all__ = ["Chained", "chained", "clusters", "drilled", "verified_tls"]


class Chained:
    """The clusters that a chain needs: `name` as a rule, `spill` for when its first backend is full."""

    def __init__(self, chain: Chain, number: int, cut: tuple[str, ...] = ()) -> None:
        """`cut`: labels of backends that a drill cuts off."""
        rest = _entries(chain, chain.backends[1:], chain.attempts - 1, cut)
        entries = rest if chain.direct else _entries(chain, chain.backends, chain.attempts, cut)
        self.chain = chain
        self.limit = chain.first.limit if chain.direct and not cut else None
        spilling = () if self.limit is None else _entries(chain, chain.backends[1:], chain.attempts)
        self.inner = tuple(dict.fromkeys((*entries, *spilling)))
        """What is reached by the inner tier."""
        named = tuple(entry.cluster for entry in entries)
        first = names.CUT if chain.first.label in cut else names.upstream(chain.first)
        self.entries = (first, *named) if chain.direct else named
        kind = "drill" if cut else "chain"
        self.name = f"{kind}_{number}" if len(self.entries) > 1 else self.entries[0]
        self.rest = tuple(entry.cluster for entry in spilling)
        self.spill = f"spill_{number}" if len(self.rest) > 1 else self.rest[0] if self.rest else names.FULL


def _entries(
    chain: Chain, backends: tuple[Backend, ...], attempts: int, cut: tuple[str, ...] = ()
) -> tuple[names.Entry, ...]:
    """Each backend once by the inner tier, and the last one again for the attempts that are left."""
    if not backends:
        return ()
    entries = [names.Entry(backend, chain.prefix, cut=backend.label in cut) for backend in backends]
    if attempts > len(backends):
        last = replace(entries[-1], again=again(chain))
        entries[-1:] = [last] * (1 + attempts - len(backends))
    return tuple(entries)


def chained(gateway: Gateway) -> dict[str, Chained]:
    """Clusters of every chain, by the chain's label."""
    return {chain.label: Chained(chain, number) for number, chain in enumerate(gateway.chains)}


def drilled(gateway: Gateway) -> dict[str, Chained]:
    """Clusters of every drill, by its key."""
    return {each.key: Chained(each.chain, number, each.cut) for number, each in enumerate(drills(gateway))}


def clusters(gateway: Gateway, chains: Sequence[Chained]) -> list[Json]:
    """Every cluster."""
    alone = {
        chain.chain.first.label
        for chain in chains
        if chain.chain.attempts > 1 and chain.name == names.upstream(chain.chain.first)
    }
    made = [_upstream(each, gateway, alone=each.label in alone) for each in gateway.backends.values()]
    inner = {entry.cluster: _inner(entry, gateway) for chain in chains for entry in chain.inner}
    made += [inner[name] for name in sorted(inner)]
    for chain in chains:
        if len(chain.entries) > 1:
            made.append(_composite(chain.name, chain.entries, chain.chain, gateway))
        if chain.limit is not None and len(chain.rest) > 1:
            made.append(_composite(chain.spill, chain.rest, chain.chain, gateway, spill=True))
    if any(backend.limit is not None for backend in gateway.backends.values()):
        made.append({"name": names.FULL, "type": "STATIC", "load_assignment": {"cluster_name": names.FULL}})
    if gateway.drilled:
        made.append(_cut())
    return made


def _cut() -> Json:
    """Leads to an internal listener that does not exist, so that each connection fails at once."""
    nowhere = {"envoy_internal_address": {"server_listener_name": names.NOWHERE}}
    endpoint = {"endpoint": {"address": nowhere}}
    return {
        "name": names.CUT,
        "type": "STATIC",
        "connect_timeout": seconds(timedelta(seconds=1)),
        "load_assignment": {"cluster_name": names.CUT, "endpoints": [{"lb_endpoints": [endpoint]}]},
        "circuit_breakers": breakers(),
    }


def _upstream(backend: Backend, gateway: Gateway, *, alone: bool) -> Json:
    """`alone`: a rule's only backend, whose attempts all go straight there."""
    name = names.upstream(backend)
    address = {"socket_address": {"address": backend.host, "port_value": backend.port}}
    cluster: Json = {
        "name": name,
        "connect_timeout": seconds(backend.connect),
        "per_connection_buffer_limit_bytes": BUFFER_BYTES,
        "load_assignment": _assignment(name, backend, address, backend.label),
        "typed_extension_protocol_options": protocol(backend, gateway, said(repeats=True) if alone else []),
        "circuit_breakers": breakers(backend, alone=alone),
        "common_lb_config": {"healthy_panic_threshold": {"value": 0}},
    }
    if is_ip_address(backend.host):
        cluster["type"] = "STATIC"
    else:
        cluster["type"] = "STRICT_DNS" if backend.spread else "LOGICAL_DNS"
        cluster["dns_lookup_family"] = "V4_PREFERRED"
        cluster["respect_dns_ttl"] = True
    if backend.breaker is not None:
        cluster["outlier_detection"] = {
            "interval": seconds(backend.breaker.interval),
            "base_ejection_time": seconds(backend.breaker.ejection_time),
            "max_ejection_time": seconds(10 * backend.breaker.ejection_time),
            "max_ejection_percent": 100,
            "enforcing_consecutive_5xx": 0,
            "enforcing_consecutive_gateway_failure": 0,
            "enforcing_success_rate": 0,
            "enforcing_failure_percentage": 100,
            "failure_percentage_threshold": backend.breaker.error_rate_percent,
            "failure_percentage_minimum_hosts": 1,
            "failure_percentage_request_volume": backend.breaker.minimum_requests,
        }
    if backend.tls is not None:
        cluster["transport_socket"] = verified_tls(backend.tls, backend.protocol)
    return cluster


def verified_tls(tls: Verification, spoken: Protocol) -> Json:
    """TLS to a server whose certificate must have this name and be signed by a CA of this file."""
    address = is_ip_address(tls.server_name)
    san = {"san_type": "IP_ADDRESS" if address else "DNS", "matcher": {"exact": tls.server_name}}
    return extension(
        "envoy.transport_sockets.tls",
        "extensions.transport_sockets.tls.v3.UpstreamTlsContext",
        **({} if address else {"sni": tls.server_name}),
        common_tls_context={
            "tls_params": {"tls_minimum_protocol_version": "TLSv1_2"},
            "alpn_protocols": alpn(spoken),
            "validation_context": {
                "trusted_ca": {"filename": tls.ca},
                "match_typed_subject_alt_names": [san],
            },
        },
    )


def _assignment(name: str, backend: Backend, address: Json, hostname: str) -> Json:
    """One endpoint that carries its backend's name, which logs and response headers show.

    As `hostname` that is cheapest to read; in metadata it is told from a worker's.
    """
    shown = {names.NAMESPACE: {"name": backend.label}}
    if backend.model is not None:
        shown[names.NAMESPACE]["model"] = backend.model
    named = {"address": address, "hostname": hostname}
    endpoint = {"endpoint": named, "metadata": {"filter_metadata": shown}}
    return {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]}


def _inner(entry: names.Entry, gateway: Gateway) -> Json:
    name = entry.cluster
    address = {
        "envoy_internal_address": {
            "server_listener_name": names.LISTENER_INNER,
            "endpoint_id": entry.endpoint_id,
        }
    }
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": seconds(timedelta(seconds=1)),
        "per_connection_buffer_limit_bytes": BUFFER_BYTES,
        "load_assignment": _assignment(name, entry.backend, address, by_inner(entry.backend.label)),
        "typed_extension_protocol_options": injected(None, gateway, []),
        "circuit_breakers": breakers(),
    }


def _composite(
    name: str, entries: tuple[str, ...], chain: Chain, gateway: Gateway, *, spill: bool = False
) -> Json:
    """Attempt N goes to entry N; entries without a healthy host are skipped within the same attempt.

    A composite runs its own upstream filters and not its members', so it must inject the first backend's
    credential; the inner tier removes that again.
    """
    first = chain.first if chain.direct and not spill else None
    filters = said(repeats=False, overlong=chain.overlong)
    return {
        "name": name,
        "connect_timeout": seconds(timedelta(seconds=1)),
        "per_connection_buffer_limit_bytes": BUFFER_BYTES,
        "lb_policy": "CLUSTER_PROVIDED",
        "cluster_type": extension(
            "envoy.clusters.composite",
            "extensions.clusters.composite.v3.ClusterConfig",
            clusters=[{"name": entry} for entry in entries],
        ),
        "typed_extension_protocol_options": injected(first, gateway, filters),
        "circuit_breakers": breakers(),
    }
