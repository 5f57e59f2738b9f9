"""What the reconcilers may ask of a cluster; `client.py` is the real one, tests may bring their own."""

from typing import Any, Literal, Protocol

from moltbot_operator.constants import FIELD_MANAGER
from moltbot_operator.kube.kinds import Kind

__all__ = ["Cluster", "EventType", "Manifest"]

Manifest = dict[str, Any]
"""A Kubernetes object as JSON."""

EventType = Literal["Normal", "Warning"]


class Cluster(Protocol):
    """Calls of the Kubernetes API, each bounded by a timeout of its own.

    All raise ClusterError (NotFound, Conflict) with a message that names the object.
    """

    async def get(self, kind: Kind, namespace: str, name: str) -> Manifest:
        """One object; NotFound. `namespace` is ignored for kinds that have none."""

    async def list(self, kind: Kind, namespace: str | None = None, labels: str = "") -> list[Manifest]:
        """All objects, of all namespaces by default, fetched in chunks; `labels` is a label selector."""

    async def apply(
        self, manifest: Manifest, *, manager: str = FIELD_MANAGER, force: bool = True
    ) -> Manifest:
        """Server-side apply: `manager` owns the fields given; Conflict only without `force`."""

    async def apply_status(self, kind: Kind, namespace: str, name: str, status: Manifest) -> Manifest:
        """JSON merge patch of the status subresource (RFC 7386: null removes, lists are replaced)."""

    async def merge(self, kind: Kind, namespace: str, name: str, patch: Manifest) -> Manifest:
        """JSON merge patch of an object."""

    async def scale(self, kind: Kind, namespace: str, name: str, replicas: int) -> None:
        """Set `spec.replicas` by the scale subresource, as a field manager of its own."""

    async def create(self, manifest: Manifest) -> Manifest:
        """A new object; Conflict if there is one of this name."""

    async def delete(self, kind: Kind, namespace: str, name: str, *, uid: str | None = None) -> None:
        """Delete, with the garbage collector following; an object that is gone already is success.

        With `uid`, only that very object: a newer one of the same name is left alone.
        """

    async def event(
        self,
        regarding: Manifest,
        *,
        type: EventType,  # noqa: A002
        reason: str,
        action: str,
        message: str,
    ) -> None:
        """Tell users, as an events.k8s.io/v1 Event about `regarding`; repeats are counted, not multiplied.

        Never raises: an event that the server refuses is logged and counted in the metrics.
        """
