"""A backend's objectives: measured, judged, and kept steady between looks."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from moltbot_operator.api import Objectives, format_duration, parse_duration
from moltbot_operator.compile.sources import BackendRef
from moltbot_operator.conditions import ConditionType
from moltbot_operator.conditions.merge import timestamp
from moltbot_operator.kube.cache import Cache
from moltbot_operator.kube.cluster import Cluster, Manifest
from moltbot_operator.objectives import Figures, Steady, Verdict, judge, settle
from moltbot_operator.reconcile.feeds import Feeds
from moltbot_operator.reconcile.measurements import measurements_of
from moltbot_operator.reconcile.references import references_of

__all__ = ["LOOK", "ObjectivesWatch", "observed_status"]

LOOK: Final = timedelta(seconds=60)
"""How often a backend with objectives is looked at; its gateways are asked as often."""


class ObjectivesWatch:
    """What is shown of each backend's objectives."""

    def __init__(self, cluster: Cluster, cache: Cache) -> None:
        self._cache = cache
        self._feeds = Feeds(cluster, cache)
        self._shown: dict[BackendRef, tuple[Any, Steady]] = {}

    async def look(self, manifest: Manifest, objectives: Objectives, now: datetime) -> Steady:
        """What to show now; ClusterError if a feed can't be read."""
        meta = manifest["metadata"]
        ref, version = BackendRef(meta["namespace"], meta["name"]), (meta.get("uid"), meta["generation"])
        routes = {(key.namespace, key.name) for key in references_of(self._cache).routes_of.get(ref, ())}
        measured = measurements_of(self._cache).measure(ref, routes, now)
        score = await self._feeds.read(ref.namespace, objectives.accuracy) if objectives.accuracy else None
        known = self._shown.get(ref)
        before = known[1] if known and known[0] == version else recorded(manifest)
        waiting = not measured.pods and bool(routes)
        shown = settle(before, judge(objectives, measured, score, now), now, waiting=waiting)
        self._shown[ref] = (version, shown)
        return shown

    def forget(self, namespace: str, name: str) -> None:
        """The backend is gone, or has no objectives any more."""
        self._shown.pop(BackendRef(namespace, name), None)


def observed_status(shown: Steady) -> dict[str, Any] | None:
    """`status.observed`; None without a measurement."""
    if shown.figures is None:
        return None
    found: dict[str, Any] = {"requestsPerSecond": shown.figures.per_second, "at": timestamp(shown.at)}
    if shown.figures.success_rate is not None:
        found["successRate"] = shown.figures.success_rate
    if shown.figures.latency is not None:
        found["latency"] = format_duration(shown.figures.latency)
    return found


def recorded(manifest: Mapping[str, Any]) -> Steady | None:
    """What the status says of this generation's objectives; None if that is nothing, or can't be read."""
    status = manifest.get("status") or {}
    observed = status.get("observed") or {}
    for condition in status.get("conditions") or []:
        same = condition.get("observedGeneration") == manifest["metadata"]["generation"]
        if condition.get("type") != ConditionType.OBJECTIVES_MET or not same:
            continue
        try:
            latency = observed.get("latency")
            figures = Figures(
                float(observed["requestsPerSecond"]),
                observed.get("successRate"),
                parse_duration(latency) if latency else None,
            )
            at = datetime.fromisoformat(observed["at"])
            return Steady.recorded(_VERDICTS[condition["reason"]], condition["message"], figures, at)
        except (KeyError, TypeError, ValueError):
            return None
    return None


_VERDICTS: Final[dict[str, Verdict]] = {
    str(verdict): verdict for verdict in Verdict if verdict is not Verdict.MET
} | {"ObjectivesMet": Verdict.MET}
"""By the condition's reason."""
