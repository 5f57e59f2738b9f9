"""The specs of stable revisions, in one ConfigMap of the route, so that `moltbot rollout undo` can apply one.

What is kept follows `status.revision`: the active revision and the stable ones before it. A spec holds no
secret, only references.
"""

import json
from collections.abc import Mapping
from typing import Any, Final

from moltbot_operator.compile.workloads import Owner
from moltbot_operator.errors import NotFound
from moltbot_operator.kube.cache import Cache
from moltbot_operator.kube.cluster import Cluster, Manifest
from moltbot_operator.kube.kinds import CONFIG_MAP
from moltbot_operator.rollout import Phase, Plan

__all__ = ["SpecHistory", "history_manifest", "history_name", "specs_in"]

LARGEST: Final = 800_000
"""Characters of all specs together; a ConfigMap holds 1 MiB. Of more, the oldest are left out."""


def history_name(route: str) -> str:
    """Name of the ConfigMap."""
    return f"{route}-gw-specs"


def specs_in(manifest: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Specs by revision; one that can't be read is left out."""
    found: dict[str, dict[str, Any]] = {}
    for revision, text in (manifest.get("data") or {}).items():
        try:
            spec = json.loads(text)
        except ValueError:
            continue
        if isinstance(spec, dict):
            found[revision] = spec
    return found


def history_manifest(
    owner: Owner,
    known: Mapping[str, dict[str, Any]],
    *,
    active: str,
    spec: Mapping[str, Any],
    stable: tuple[str, ...],
) -> dict[str, Any]:
    """The ConfigMap once `active` serves `spec`.

    `known`: what it holds now; `stable`: earlier revisions to keep.
    """
    data: dict[str, str] = {}
    length = 0
    for revision, kept in [(active, spec), *((name, known[name]) for name in stable if name in known)]:
        text = json.dumps(kept, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        length += len(text)
        if length > LARGEST:
            break
        data.setdefault(revision, text)
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": owner.metadata(history_name(owner.name)),
        "data": data,
    }


class SpecHistory:
    """Keeps the ConfigMap of each route; a route at rest costs nothing.

    The ConfigMap is watched, so one that somebody deletes is there again at once, with the spec that serves.
    """

    def __init__(self, cluster: Cluster, cache: Cache) -> None:
        self._cluster = cluster
        self._cache = cache
        self._seen: dict[Owner, tuple[str, int, tuple[str, ...]]] = {}

    async def record(self, owner: Owner, manifest: Manifest, plan: Plan, desired: str | None) -> None:
        """Keep the spec if its own revision is the stable one now. ClusterError if it can't be written."""
        if plan.phase is not Phase.STABLE or plan.active is None or plan.active != desired:
            return
        now = (plan.active, int(manifest["metadata"].get("generation") or 0), plan.state.history)
        name = history_name(owner.name)
        if self._seen.get(owner) == now and self._cache.get(CONFIG_MAP, owner.namespace, name):
            return
        try:
            known = await self._cluster.get(CONFIG_MAP, owner.namespace, name)
        except NotFound:
            known = {}
        spec = manifest.get("spec") or {}
        wanted = history_manifest(
            owner, specs_in(known), active=plan.active, spec=spec, stable=plan.state.history
        )
        if (known.get("data") or {}) != wanted["data"]:
            await self._cluster.apply(wanted)
        self._seen[owner] = now

    def forget(self, namespace: str, name: str) -> None:
        """The route is gone, and the ConfigMap with it."""
        for owner in [each for each in self._seen if (each.namespace, each.name) == (namespace, name)]:
            del self._seen[owner]
