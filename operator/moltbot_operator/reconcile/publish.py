"""Writing a resource's status when it changed, and telling people by events."""

from collections.abc import Mapping, Sequence
from typing import Any

from moltbot_operator.errors import NotFound
from moltbot_operator.kube.cache import Cache
from moltbot_operator.kube.cluster import Cluster, Manifest
from moltbot_operator.kube.kinds import Kind
from moltbot_operator.reconcile.announce import Announcement
from moltbot_operator.reconcile.status import patch

__all__ = ["Publisher"]


class Publisher:
    """Publishes the status of resources of one kind."""

    def __init__(self, cluster: Cluster, cache: Cache, kind: Kind) -> None:
        self._cluster = cluster
        self._cache = cache
        self._kind = kind

    async def publish(
        self, manifest: Manifest, status: Mapping[str, Any], announcements: Sequence[Announcement] = ()
    ) -> bool:
        """Patch the members of `status` that differ; whether anything was written.

        Events go out even when the status is the same. A resource that went meanwhile is left alone.
        """
        meta = manifest["metadata"]
        changed = patch(manifest.get("status") or {}, status)
        if changed:
            try:
                result = await self._cluster.apply_status(
                    self._kind, meta["namespace"], meta["name"], changed
                )
            except NotFound:
                return False
            if _same_spec(manifest, result):
                # Read one's own writes; a newer spec is left to its own event, which queues what it concerns.
                self._cache.put(self._kind, result)
        for each in announcements:
            await self._cluster.event(
                manifest, type=each.type, reason=each.reason, action=each.action, message=each.message
            )
        return bool(changed)


def _same_spec(one: Manifest, other: Manifest) -> bool:
    """Also the same credential, which the rotation writes beside us, and which routes depend on."""
    left, right = one["metadata"], other["metadata"]
    credentials = [(each.get("status") or {}).get("credential") for each in (one, other)]
    return credentials[0] == credentials[1] and all(
        left.get(field) == right.get(field) for field in ("uid", "generation", "labels", "annotations")
    )
