"""Metrics of objectives, read from the resources' own status at each scrape: the two can't disagree."""

from collections import Counter
from collections.abc import Iterable
from typing import Any, Final

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from moltbot_operator.kube.cache import Cache
from moltbot_operator.kube.kinds import MODEL_BACKEND

__all__ = ["ObjectivesCollector"]

MOST: Final = 1_000
"""Backends that have a series of their own, the first by name; the sums count all."""


class ObjectivesCollector(Collector):
    """`moltbot_backends_with_objectives{met}` and `moltbot_backend_objectives_met{backend}`."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """One scrape."""
        found = sorted(
            (f"{backend['metadata']['namespace']}/{backend['metadata']['name']}", _status(backend))
            for backend in self._cache.list(MODEL_BACKEND)
            if (backend.get("spec") or {}).get("objectives") is not None
        )
        sums = Counter(status for _, status in found)
        counts = GaugeMetricFamily(
            "moltbot_backends_with_objectives", "Backends by status of ObjectivesMet", labels=["met"]
        )
        for status in ("True", "False", "Unknown"):
            counts.add_metric([status], sums[status])
        met = GaugeMetricFamily(
            "moltbot_backend_objectives_met",
            "1 where ObjectivesMet is True, 0 where it is False, absent while it is not known",
            labels=["backend"],
        )
        for name, status in found[:MOST]:
            if status != "Unknown":
                met.add_metric([name], int(status == "True"))
        yield from (counts, met)


def _status(backend: dict[str, Any]) -> str:
    for condition in (backend.get("status") or {}).get("conditions") or []:
        if condition.get("type") == "ObjectivesMet":
            return str(condition.get("status"))
    return "Unknown"
