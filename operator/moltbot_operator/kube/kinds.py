"""The kinds of objects that the operator reads or writes, and where the API server serves them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

from moltbot_operator.constants import BACKENDS, GROUP, ROUTES, VERSION

__all__ = [
    "AUTOSCALER",
    "CHILDREN",
    "CONFIG_MAP",
    "DEPLOYMENT",
    "EVENT",
    "KINDS",
    "LEASE",
    "MODEL_BACKEND",
    "MOLTBOT_ROUTE",
    "NAMESPACE",
    "NETWORK_POLICY",
    "POD",
    "POD_DISRUPTION_BUDGET",
    "SECRET",
    "SERVICE",
    "SERVICE_ACCOUNT",
    "Kind",
    "kind_of",
]


@dataclass(frozen=True)
class Kind:
    """A resource of the Kubernetes API; `group` is empty for the core group."""

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool = True

    def __str__(self) -> str:
        return self.kind

    @property
    def api_version(self) -> str:
        """As in a manifest: `v1`, `apps/v1`."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str | None = None, name: str | None = None, subresource: str = "") -> str:
        """URL path of the collection, of one object, or of its subresource.

        A namespaced kind without a namespace is the collection over all namespaces.
        """
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        scope = f"/namespaces/{quote(namespace, safe='')}" if self.namespaced and namespace else ""
        item = f"/{quote(name, safe='')}" if name else ""
        return f"{root}{scope}/{self.plural}{item}" + (f"/{subresource}" if subresource else "")


MODEL_BACKEND: Final = Kind(GROUP, VERSION, BACKENDS, "ModelBackend")
MOLTBOT_ROUTE: Final = Kind(GROUP, VERSION, ROUTES, "MoltBotRoute")
DEPLOYMENT: Final = Kind("apps", "v1", "deployments", "Deployment")
SERVICE: Final = Kind("", "v1", "services", "Service")
CONFIG_MAP: Final = Kind("", "v1", "configmaps", "ConfigMap")
SECRET: Final = Kind("", "v1", "secrets", "Secret")
SERVICE_ACCOUNT: Final = Kind("", "v1", "serviceaccounts", "ServiceAccount")
POD: Final = Kind("", "v1", "pods", "Pod")
NAMESPACE: Final = Kind("", "v1", "namespaces", "Namespace", namespaced=False)
POD_DISRUPTION_BUDGET: Final = Kind("policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget")
NETWORK_POLICY: Final = Kind("networking.k8s.io", "v1", "networkpolicies", "NetworkPolicy")
AUTOSCALER: Final = Kind("autoscaling", "v2", "horizontalpodautoscalers", "HorizontalPodAutoscaler")
LEASE: Final = Kind("coordination.k8s.io", "v1", "leases", "Lease")
EVENT: Final = Kind("events.k8s.io", "v1", "events", "Event")

CHILDREN: Final = (
    DEPLOYMENT,
    SERVICE,
    CONFIG_MAP,
    SERVICE_ACCOUNT,
    POD_DISRUPTION_BUDGET,
    NETWORK_POLICY,
    AUTOSCALER,
    SECRET,
    POD,
)
"""Kinds of the objects that a route owns; the operator watches those that carry its managed-by label."""

KINDS: Final = (MODEL_BACKEND, MOLTBOT_ROUTE, *CHILDREN, NAMESPACE, LEASE, EVENT)

_BY_MANIFEST: Final = {(kind.api_version, kind.kind): kind for kind in KINDS}


def kind_of(manifest: Mapping[str, Any]) -> Kind:
    """The kind that a manifest's `apiVersion` and `kind` name; KeyError for one never handled here."""
    return _BY_MANIFEST[manifest["apiVersion"], manifest["kind"]]
