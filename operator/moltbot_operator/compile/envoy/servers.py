"""Clusters of servers that are no backends: the gateway asks them itself, no client's request goes there."""

from datetime import timedelta

from moltbot_operator.api import Protocol
from moltbot_operator.api.endpoint import ResolvedEndpoint, is_ip_address
from moltbot_operator.compile.envoy.clusters import verified_tls
from moltbot_operator.compile.envoy.proto import Json, seconds
from moltbot_operator.compile.ir import Verification

__all__ = ["server_cluster"]


def server_cluster(
    name: str, endpoint: ResolvedEndpoint, system_ca: str, *, connect: timedelta, at_once: int
) -> Json:
    """`at_once`: connections, requests and waiting requests at most; more fail at once."""
    address = {"socket_address": {"address": endpoint.host, "port_value": endpoint.port}}
    limit = {
        "max_connections": at_once,
        "max_pending_requests": at_once,
        "max_requests": at_once,
        "max_retries": at_once,
    }
    cluster: Json = {
        "name": name,
        "connect_timeout": seconds(connect),
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}],
        },
        "circuit_breakers": {"thresholds": [limit]},
    }
    if is_ip_address(endpoint.host):
        cluster["type"] = "STATIC"
    else:
        cluster |= {"type": "LOGICAL_DNS", "dns_lookup_family": "V4_PREFERRED", "respect_dns_ttl": True}
    if endpoint.scheme == "https":
        cluster["transport_socket"] = verified_tls(
            Verification(system_ca, endpoint.sni or endpoint.host), Protocol.HTTP1
        )
    return cluster
