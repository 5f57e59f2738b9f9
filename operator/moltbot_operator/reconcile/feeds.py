"""Scores in accuracy feeds: each version of a ConfigMap is read once, and only the score is kept."""

from moltbot_operator.api import AccuracyObjective
from moltbot_operator.errors import NotFound
from moltbot_operator.kube.cache import Cache
from moltbot_operator.kube.cluster import Cluster
from moltbot_operator.kube.kinds import CONFIG_MAP
from moltbot_operator.objectives import NoScore, Score, read_score

__all__ = ["Feeds"]

_GONE = NoScore("does not exist: have the evaluation create it", missing=True)


class Feeds:
    """Reads feeds."""

    def __init__(self, cluster: Cluster, cache: Cache) -> None:
        self._cluster = cluster
        self._cache = cache
        self._seen: dict[tuple[str, str, str], tuple[str, Score | NoScore]] = {}

    async def read(self, namespace: str, objective: AccuracyObjective) -> Score | NoScore:
        """The score in the objective's feed, or why there is none; ClusterError if it can't be read."""
        name, key = objective.feed.config_map_ref.name, objective.feed.config_map_ref.key
        place = (namespace, name, key)
        known = self._cache.get(CONFIG_MAP, namespace, name)
        if known is None:
            self._seen.pop(place, None)
            return _GONE
        version = known["metadata"].get("resourceVersion", "")
        seen = self._seen.get(place)
        if seen and seen[0] == version:
            return seen[1]
        try:
            manifest = await self._cluster.get(CONFIG_MAP, namespace, name)
        except NotFound:
            return _GONE
        found = read_score(manifest, key)
        self._seen[place] = (version, found)
        return found
