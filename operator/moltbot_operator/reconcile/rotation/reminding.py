"""Has the kubelet fetch a pod's Secrets at once: it looks once a minute, and when an annotation changes."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from moltbot_operator.errors import NotFound
from moltbot_operator.kube.cluster import Cluster, Manifest
from moltbot_operator.kube.kinds import POD

__all__ = ["ANNOTATION_SEEN", "Reminder"]

ANNOTATION_SEEN: Final = "moltbot.io/credentials-written"
"""On a gateway pod: changes when there is something new for the kubelet to fetch."""

AGAIN: Final = timedelta(seconds=5)
"""How soon the kubelet is reminded again."""

MOST_REMINDED: Final = 1_000
"""Pods that are remembered, of one credential; forgetting one costs a write."""


class Reminder:
    """For the pods that mount one Secret."""

    def __init__(self, cluster: Cluster, clock: Callable[[], datetime]) -> None:
        self._cluster = cluster
        self._clock = clock
        self._reminded: dict[str, tuple[str, datetime]] = {}

    async def remind(self, pod: Manifest, secret: Manifest) -> None:
        """The pod lacks what is in this version of the Secret."""
        meta, now = pod["metadata"], self._clock()
        version = str(secret["metadata"].get("resourceVersion", ""))
        before = self._reminded.get(meta["uid"])
        if before is not None and before[0] == version and timedelta(0) <= now - before[1] < AGAIN:
            return
        if len(self._reminded) >= MOST_REMINDED:
            self._reminded.clear()
        self._reminded[meta["uid"]] = (version, now)
        change = {"metadata": {"annotations": {ANNOTATION_SEEN: f"{version}-{int(now.timestamp())}"}}}
        try:
            await self._cluster.merge(POD, meta["namespace"], meta["name"], change)
        except NotFound:
            self._reminded.pop(meta["uid"], None)
