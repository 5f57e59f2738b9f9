"""The gateway of a route: Envoy pods and the Service before them."""

from enum import StrEnum
from typing import Annotated, Any

from pydantic import Field, WithJsonSchema

from moltbot_operator.api.constraints import Text
from moltbot_operator.api.fields import LabelKey, LabelValue, Port
from moltbot_operator.api.model import ApiModel, Check
from moltbot_operator.api.quantity import Quantity
from moltbot_operator.api.references import SecretRef

__all__ = [
    "Annotations",
    "Gateway",
    "GatewayService",
    "GatewayTLS",
    "PodTemplate",
    "PodTemplateMeta",
    "Resources",
    "ServiceType",
]

Annotations = Annotated[dict[LabelKey, Annotated[str, Text(4096, minimum=0)]], Field(max_length=32)]
"""Annotations of a Kubernetes object."""

Quantities = Annotated[dict[Annotated[str, Text(317)], Quantity], Field(max_length=16)]


class Resources(ApiModel):
    """What a container asks for and may use at most."""

    requests: Quantities = Field(default_factory=dict)
    """What is reserved, such as {cpu: 500m, memory: 256Mi}."""
    limits: Quantities = Field(default_factory=dict)
    """The most it may use."""


class ServiceType(StrEnum):
    """Types of Service."""

    CLUSTER_IP = "ClusterIP"
    NODE_PORT = "NodePort"
    LOAD_BALANCER = "LoadBalancer"


class GatewayService(ApiModel):
    """The Service that clients use; it has the route's name."""

    type: ServiceType = ServiceType.CLUSTER_IP
    """ClusterIP, NodePort or LoadBalancer."""
    port: Port = 80
    """Port that clients use."""
    annotations: Annotations = Field(default_factory=dict)
    """Annotations of the Service, for load balancers that read them."""
    node_port: Port | None = None
    """Port on every node; by default the cluster chooses one. Not for ClusterIP."""

    checks = (
        Check(
            "!has(self.nodePort) || (has(self.type) && self.type != 'ClusterIP')",
            lambda self: self.node_port is None or self.type is not ServiceType.CLUSTER_IP,
            "nodePort needs type: NodePort or LoadBalancer: change the type or remove nodePort",
            ".nodePort",
        ),
    )


class GatewayTLS(ApiModel):
    """The certificate that the gateway shows to clients."""

    secret_ref: SecretRef
    """Secret of type kubernetes.io/tls; a renewed certificate is taken up without a restart. Clients then
    speak HTTPS only; service.port: 443 gives them the usual port."""


class PodTemplateMeta(ApiModel):
    """Metadata that is added to pods."""

    labels: Annotated[dict[LabelKey, LabelValue], Field(max_length=32)] = Field(default_factory=dict)
    """Labels to add; the operator's own can't be changed."""
    annotations: Annotations = Field(default_factory=dict)
    """Annotations to add."""


class PodTemplate(ApiModel):
    """Is merged over the operator's own pod template, as a strategic merge patch would."""

    metadata: PodTemplateMeta = PodTemplateMeta()
    """Labels and annotations to add."""
    spec: Annotated[
        dict[str, Any],
        WithJsonSchema({"type": "object", "maxProperties": 64, "x-kubernetes-preserve-unknown-fields": True}),
        Field(max_length=64),
    ] = Field(default_factory=dict)
    """Fields of a PodSpec, such as nodeSelector, tolerations, affinity, topologySpreadConstraints,
    priorityClassName or imagePullSecrets; containers are merged by name (envoy, agent)."""


class Gateway(ApiModel):
    """The Envoy pods of the route, and their Service."""

    replicas: Annotated[int, Field(strict=True, ge=1, le=1000)] = 2
    """Pods; 2 or more survive the loss of a node."""
    resources: Resources = Resources()
    """Resources of the Envoy container, in place of the operator's defaults."""
    service: GatewayService = GatewayService()
    """The Service that clients use."""
    tls: GatewayTLS | None = None
    """The certificate that the gateway shows to clients; absent: plain HTTP."""
    pod_template: PodTemplate = PodTemplate()
    """Is merged over the operator's own pod template."""
