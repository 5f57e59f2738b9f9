"""The NetworkPolicy: who may reach the gateway pods."""

from typing import Any

from moltbot_operator.compile.workloads.identity import Manifest, Owner
from moltbot_operator.constants import PORT_EVIDENCE, PORT_GATEWAY, PORT_METRICS, PORT_PROBE

__all__ = ["network_policy"]


def network_policy(owner: Owner, operator_namespace: str) -> Manifest:
    """Anyone may call the gateway and scrape metrics; the rest is for the operator's namespace alone.

    That is reading evidence and sending test requests. Egress is open: providers are anywhere, and a host
    name can't be said in a NetworkPolicy.
    """
    operator = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": operator_namespace}}}
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
            ],
            "egress": [{}],
        },
    }


def _tcp(port: int) -> dict[str, Any]:
    return {"port": port, "protocol": "TCP"}
