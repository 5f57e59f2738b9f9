"""All manifests of a route."""

from dataclasses import dataclass, field
from typing import Any

from moltbot_operator.api import Gateway
from moltbot_operator.compile.result import CompiledRoute
from moltbot_operator.compile.workloads.account import service_account
from moltbot_operator.compile.workloads.availability import disruption_budget
from moltbot_operator.compile.workloads.config_maps import config_maps
from moltbot_operator.compile.workloads.deployment import deployment
from moltbot_operator.compile.workloads.evidence import evidence_secret
from moltbot_operator.compile.workloads.identity import Manifest, Owner
from moltbot_operator.compile.workloads.network import network_policy
from moltbot_operator.compile.workloads.pod_parts import Image
from moltbot_operator.compile.workloads.pod_template import pod_template
from moltbot_operator.compile.workloads.revision import identify
from moltbot_operator.compile.workloads.services import active_service, preview_service
from moltbot_operator.compile.workloads.worker import worker_manifests, worker_template

__all__ = ["GatewayRevision", "gateway_revision", "revision_manifests", "shared_manifests"]


@dataclass(frozen=True)
class GatewayRevision:
    """A compiled route with the pods that run it; `ignored` are dotted paths of protected overlay fields."""

    compiled: CompiledRoute
    template: dict[str, Any]
    ignored: tuple[str, ...] = ()
    worker_template: dict[str, Any] = field(default_factory=dict)
    """Of the worker pods; empty where there are none."""

    @property
    def name(self) -> str:
        """The revision, as labels and names carry it."""
        return self.compiled.revision


def gateway_revision(
    owner: Owner, gateway: Gateway, compiled: CompiledRoute, image: Image
) -> GatewayRevision:
    """The revision that a compiled route and its pod template make together."""
    draft, _ = pod_template(owner, gateway, compiled, image)
    named = identify(compiled, draft, worker_template(owner, compiled, image))
    template, ignored = pod_template(owner, gateway, named, image)
    return GatewayRevision(named, template, tuple(ignored), worker_template(owner, named, image))


def revision_manifests(
    owner: Owner,
    revision: GatewayRevision,
    replicas: int,
    *,
    token: str = "",
    operator_namespace: str = "",
) -> list[Manifest]:
    """Configuration first, so that pods find it. `token` and the namespace are for workers' objects."""
    compiled = revision.compiled
    workers = worker_manifests(
        owner,
        compiled.worker,
        revision.worker_template,
        token=token,
        operator_namespace=operator_namespace,
    )
    gateway = deployment(owner, revision.name, revision.template, replicas)
    return [*config_maps(owner, compiled), *workers, gateway]


def shared_manifests(
    owner: Owner,
    gateway: Gateway,
    *,
    operator_namespace: str,
    token: str,
    active: str | None,
    preview: str | None,
) -> list[Manifest]:
    """What all revisions share. `active` and `preview`: the revisions that the two Services select."""
    return [
        service_account(owner),
        network_policy(owner, operator_namespace),
        disruption_budget(owner, active),
        evidence_secret(owner, token),
        active_service(owner, gateway.service, active),
        preview_service(owner, gateway.service, preview),
    ]
