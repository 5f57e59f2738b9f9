"""Originals of what a route needs from other namespaces, as the copies that its own namespace gets."""

from collections.abc import Collection, Iterable

from moltbot_operator.compile.sources import BackendRef
from moltbot_operator.compile.workloads import (
    ANNOTATION_SOURCE,
    Foreign,
    GatewayRevision,
    Manifest,
    Owner,
    copied_object,
    foreign_objects,
)
from moltbot_operator.errors import NotFound
from moltbot_operator.kube.cache import Cache
from moltbot_operator.kube.cluster import Cluster
from moltbot_operator.kube.kinds import CONFIG_MAP, MODEL_BACKEND, NAMESPACE, SECRET, Kind
from moltbot_operator.reconcile.apply import owned
from moltbot_operator.reconcile.problems import consent_problem
from moltbot_operator.reconcile.references import references_of
from moltbot_operator.reconcile.specs import BackendSpecs

__all__ = ["Copies"]


class Copies:
    """Reads each version of an original once; what it holds are the copies, which the cache holds anyway."""

    def __init__(self, cluster: Cluster, cache: Cache) -> None:
        self._cluster = cluster
        self._cache = cache
        self._specs = BackendSpecs()
        self._made: dict[Owner, dict[Foreign, tuple[str, Manifest]]] = {}

    async def of(
        self, owner: Owner, revisions: Iterable[GatewayRevision], *, freeze: bool = False
    ) -> list[Manifest]:
        """The copies that the revisions need together; an original that does not exist has none.

        Nor has one whose backends no longer consent. With `freeze`, as long as pods of an older revision may
        mount its copy, that stays as it was and is not refreshed.
        """
        before = self._made.get(owner, {})
        made: dict[Foreign, tuple[str, Manifest]] = {}
        mounts = [mount for revision in revisions for mount in revision.compiled.mounts]
        for foreign in foreign_objects(owner, mounts):
            kind = SECRET if foreign.kind == "Secret" else CONFIG_MAP
            known = self._cache.get(kind, foreign.namespace, foreign.name)
            if known is None:
                continue
            if not self._allowed(owner, kind, foreign):
                if freeze and foreign in before:
                    made[foreign] = before[foreign]
                continue
            version = known["metadata"].get("resourceVersion", "")
            if foreign in before and before[foreign][0] == version:
                made[foreign] = before[foreign]
                continue
            try:
                original = await self._cluster.get(kind, foreign.namespace, foreign.name)
            except NotFound:
                continue
            made[foreign] = (version, copied_object(owner, foreign, original))
        self._made[owner] = made
        return [manifest for _, manifest in made.values()]

    def _allowed(self, owner: Owner, kind: Kind, foreign: Foreign) -> bool:
        """Whether a backend that names the original still lets the route's namespace use it."""
        namespace = self._cache.get(NAMESPACE, "", owner.namespace) or {}
        labels = (namespace.get("metadata") or {}).get("labels") or {}
        users = references_of(self._cache).users_of.get((kind, foreign.namespace, foreign.name), set())
        for user in users:
            if user.kind != "Backend":
                continue
            manifest = self._cache.get(MODEL_BACKEND, user.namespace, user.name)
            spec = self._specs.parse(manifest).spec if manifest else None
            ref = BackendRef(user.namespace, user.name)
            if spec and not consent_problem(ref, spec, owner.namespace, labels):
                return True
        return False

    def obsolete(self, owner: Owner, needed: Collection[Manifest]) -> list[Manifest]:
        """Copies of the route that are in the cluster and not among the `needed`."""
        names = {(manifest["kind"], manifest["metadata"]["name"]) for manifest in needed}
        return [
            manifest
            for kind in (SECRET, CONFIG_MAP)
            for manifest in self._cache.owned_by(owner.namespace, owner.name, kind)
            if ANNOTATION_SOURCE in (manifest["metadata"].get("annotations") or {})
            and (kind.kind, manifest["metadata"]["name"]) not in names
            and owned(owner, manifest)
        ]

    def forget(self, namespace: str, name: str) -> None:
        """The route is gone."""
        for owner in [known for known in self._made if (known.namespace, known.name) == (namespace, name)]:
            del self._made[owner]
