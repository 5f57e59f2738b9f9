"""Names, labels and owner of everything that a route owns."""

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from moltbot_operator.compile.revision import CALLS, WORKERS
from moltbot_operator.constants import (
    API_VERSION,
    COMPONENT_GATEWAY,
    COMPONENT_WORKER,
    LABEL_COMPONENT,
    LABEL_INSTANCE,
    LABEL_MANAGED_BY,
    LABEL_NAME,
    LABEL_REVISION,
    LABEL_ROUTE,
    MANAGED_BY,
)

__all__ = ["NO_REVISION", "Manifest", "Owner"]

Manifest = dict[str, Any]
"""A Kubernetes object as JSON."""

NO_REVISION = "none"
"""What a Service selects before any revision serves: no revision has this name, since they are
hexadecimal.
"""


@dataclass(frozen=True)
class Owner:
    """The MoltBotRoute that owns the objects: everything lives in its namespace and goes with it."""

    namespace: str
    name: str
    uid: str

    @property
    def gateway(self) -> str:
        """Name of what all revisions share: ServiceAccount, PodDisruptionBudget, NetworkPolicy."""
        return f"{self.name}-gw"

    @property
    def evidence(self) -> str:
        """Name of the Secret with the token that the operator reads evidence with."""
        return f"{self.name}-gw-evidence"

    @property
    def preview(self) -> str:
        """Name of the Service of the revision under way."""
        return f"{self.name}-preview"

    def deployment(self, revision: str) -> str:
        """Name of a revision's Deployment."""
        return f"{self.name}-gw-{revision}"

    def config_map(self, revision: str, part: int) -> str:
        """Name of the ConfigMap with one part of a revision's configuration."""
        return f"{self.name}-gw-{revision}-{part}"

    def worker(self, revision: str) -> str:
        """Name of a revision's worker Deployment, and of what belongs to it: Service, Secret and so on."""
        return WORKERS.format(route=self.name, revision=revision)

    def calls(self, revision: str) -> str:
        """Name of the Service by which a revision's workers call its gateway pods."""
        return CALLS.format(route=self.name, revision=revision)

    @property
    def autoscaler(self) -> str:
        """Name of the HorizontalPodAutoscaler of the workers."""
        return f"{self.name}-worker"

    def worker_selector(self, revision: str) -> dict[str, str]:
        """Labels that select a revision's worker pods."""
        return {LABEL_COMPONENT: COMPONENT_WORKER, LABEL_ROUTE: self.name, LABEL_REVISION: revision}

    def copy(self, namespace: str, name: str) -> str:
        """Name of the copy of another namespace's Secret or ConfigMap; one for each source."""
        return f"{self.name}-gw-copy-{sha256(f'{namespace}/{name}'.encode()).hexdigest()[:10]}"

    def selector(self, revision: str | None = None) -> dict[str, str]:
        """Labels that select the route's gateway pods, of one revision or of all."""
        labels = {LABEL_COMPONENT: COMPONENT_GATEWAY, LABEL_ROUTE: self.name}
        return labels | ({LABEL_REVISION: revision} if revision else {})

    def labels(self, revision: str | None = None, component: str = COMPONENT_GATEWAY) -> dict[str, str]:
        """All labels of an object."""
        return self.selector(revision) | {
            LABEL_COMPONENT: component,
            LABEL_INSTANCE: self.name,
            LABEL_MANAGED_BY: MANAGED_BY,
            LABEL_NAME: f"moltbot-{component}",
        }

    def reference(self) -> dict[str, Any]:
        """The owner reference by which Kubernetes removes the object with the route."""
        return {
            "apiVersion": API_VERSION,
            "kind": "MoltBotRoute",
            "name": self.name,
            "uid": self.uid,
            "controller": True,
        }

    def metadata(
        self,
        name: str,
        revision: str | None = None,
        annotations: Mapping[str, str] | None = None,
        component: str = COMPONENT_GATEWAY,
    ) -> dict[str, Any]:
        """`metadata` of an owned object."""
        metadata: dict[str, Any] = {
            "name": name,
            "namespace": self.namespace,
            "labels": self.labels(revision, component),
            "ownerReferences": [self.reference()],
        }
        if annotations:
            metadata["annotations"] = dict(annotations)
        return metadata
