"""The NetworkPolicy: who may reach the gateway pods."""

from typing import Any

from moltbot_operator.compile.workloads.identity import Manifest, Owner
from moltbot_operator.constants import (
    COMPONENT_WORKER,
    LABEL_COMPONENT,
    LABEL_ROUTE,
    PORT_CALLS,
    PORT_EVIDENCE,
    PORT_GATEWAY,
    PORT_METRICS,
    PORT_PROBE,
    PORT_WORKER,
)

__all__ = ["network_policy", "worker_network_policy"]


def network_policy(owner: Owner, operator_namespace: str) -> Manifest:
    """Anyone may call the gateway and scrape metrics; its own workers call back; the rest is the operator's.

    That is reading evidence and sending test requests. Egress is open: providers are anywhere, and a host
    name can't be said in a NetworkPolicy.
    """
    operator = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": operator_namespace}}}
    workers = {"podSelector": {"matchLabels": {LABEL_COMPONENT: COMPONENT_WORKER, LABEL_ROUTE: owner.name}}}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": owner.metadata(owner.gateway),
        "spec": {
            "podSelector": {"matchLabels": owner.selector()},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [
                {"ports": [_tcp(PORT_GATEWAY), _tcp(PORT_METRICS)]},
                {"ports": [_tcp(PORT_EVIDENCE), _tcp(PORT_PROBE)], "from": [operator]},
                {"ports": [_tcp(PORT_CALLS)], "from": [workers]},
            ],
            "egress": [{}],
        },
    }


def worker_network_policy(owner: Owner, revision: str, operator_namespace: str) -> Manifest:
    """Only the revision's own gateway pods may send requests; anyone may scrape metrics."""
    operator = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": operator_namespace}}}
    gateway = {"podSelector": {"matchLabels": owner.selector(revision)}}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": owner.metadata(owner.worker(revision), revision, component=COMPONENT_WORKER),
        "spec": {
            "podSelector": {"matchLabels": owner.worker_selector(revision)},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [
                {"ports": [_tcp(PORT_WORKER)], "from": [gateway]},
                {"ports": [_tcp(PORT_METRICS)]},
                {"ports": [_tcp(PORT_EVIDENCE)], "from": [operator]},
            ],
            "egress": [{}],
        },
    }


def _tcp(port: int) -> dict[str, Any]:
    return {"port": port, "protocol": "TCP"}
