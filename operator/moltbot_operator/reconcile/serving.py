"""Which revision of a route serves, as the cluster and the route's status tell together."""

from collections.abc import Collection

from moltbot_operator.compile.workloads import NO_REVISION, Manifest, Owner
from moltbot_operator.constants import LABEL_REVISION
from moltbot_operator.kube.cache import Cache
from moltbot_operator.kube.kinds import CONFIG_MAP, DEPLOYMENT, SERVICE
from moltbot_operator.reconcile.apply import owned
from moltbot_operator.reconcile.observe import of_revision
from moltbot_operator.rollout import Phase, State

__all__ = ["selected", "serving"]


def serving(
    cache: Cache, owner: Owner, route: Manifest, state: State, known: Collection[str | None]
) -> str | None:
    """The active revision: as status says, else as the Service says, if it exists or is `known`.

    A flip that was announced in status and that the Service shows was carried out, and not yet recorded. Any
    other revision that the Service selects is somebody's edit, and will be put right.
    """
    shown = selected(cache, owner)
    announced = {Phase.PROMOTING: state.target, Phase.ABORTING: state.rollback_to}.get(state.phase)
    if shown and shown == announced and _left(cache, owner, shown):
        return shown
    recorded = ((route.get("status") or {}).get("revision") or {}).get("active")
    for revision in (recorded, shown):
        if revision and (revision in known or _left(cache, owner, revision)):
            return str(revision)
    return None


def selected(cache: Cache, owner: Owner) -> str | None:
    """What the active Service selects; None if it is not there, is not the route's, or selects nothing."""
    service = cache.get(SERVICE, owner.namespace, owner.name)
    if service is None or not owned(owner, service):
        return None
    revision = ((service.get("spec") or {}).get("selector") or {}).get(LABEL_REVISION)
    return None if revision in {None, NO_REVISION} else str(revision)


def _left(cache: Cache, owner: Owner, revision: str) -> bool:
    """Whether anything of the revision is there: its Deployment may be hidden by an edited label."""
    return any(of_revision(cache, owner, kind, revision) for kind in (DEPLOYMENT, CONFIG_MAP))
