"""The rollout machine: one call is one step, and it keeps no memory between calls.

::

             desired is new          every pod ready and reporting         the Service selects it
    Stable ───────────────▶ Preparing ───────────────────────▶ Promoting ─────────────────▶ Stable
       ▲                      │  a newer spec: the half-built one goes         old revisions go
       └──────────────────────┘  the old spec again: flip back or stay

The flip is a step of its own: old revisions go only in a later call, which has seen the Service select the
new one. So an operator that dies between any two steps resumes from what the cluster shows.
"""

from moltbot_operator.rollout.state import Action, Create, Delete, Flip, Observed, Phase, Plan, View

__all__ = ["decide"]


def decide(view: View) -> Plan:
    """The next step from what is seen; never flips to unproven pods, never deletes what serves."""
    if view.desired is None:
        return _refused(view)
    if view.desired == view.serving:
        return _settle(view, view.desired)
    return _advance(view, view.desired)


def _refused(view: View) -> Plan:
    """Keep what serves; a half-built revision belongs to a spec that is no longer asked for."""
    kept = {view.serving} if view.serving else set()
    return Plan(
        phase=Phase.STABLE if view.serving else Phase.FAILED,
        active=view.serving,
        preview=None,
        actions=_deletions(view, kept),
        replicas={name: _size(view, name) for name in sorted(kept)},
    )


def _settle(view: View, desired: str) -> Plan:
    """The desired revision serves: it is made anew if somebody deleted it, and the others go."""
    create: tuple[Action, ...] = () if desired in view.revisions else (Create(desired),)
    deletions = _deletions(view, {desired})
    return Plan(
        phase=Phase.PROMOTING if deletions else Phase.STABLE,
        active=desired,
        preview=None,
        actions=(*create, *deletions),
        replicas={desired: view.replicas},
        waiting="the old revision's objects go" if deletions else "",
    )


def _advance(view: View, desired: str) -> Plan:
    """Build the desired revision beside what serves, as large as what serves, and flip once it is proven."""
    size = _size(view, view.serving) if view.serving else 0
    need = max(view.replicas, size)
    replicas = {desired: need}
    if view.serving:
        replicas[view.serving] = size
    deletions = _deletions(view, {desired, view.serving})
    preview = view.revisions.get(desired)
    if preview is None:
        return Plan(
            Phase.PREPARING,
            view.serving,
            desired,
            (*deletions, Create(desired)),
            replicas,
            f"revision {desired} is created",
        )
    pods = max(1, need)
    if preview.replicas >= need and preview.proven(pods):
        return Plan(
            Phase.PROMOTING,
            desired,
            None,
            (*deletions, Flip(desired)),
            replicas,
            "the old revision's objects go",
        )
    return Plan(Phase.PREPARING, view.serving, desired, deletions, replicas, _waiting(desired, preview, pods))


def _size(view: View, revision: str) -> int:
    """Pods that what serves has now; as the spec asks if its Deployment is gone or was scaled to nothing."""
    seen = view.revisions.get(revision)
    return (seen.replicas if seen else 0) or view.replicas


def _waiting(desired: str, preview: Observed, pods: int) -> str:
    text = (
        f"revision {desired}: {preview.ready} of {pods} pods are ready, "
        f"{preview.reporting} report the revision"
    )
    return f"{text}; {preview.trouble}" if preview.trouble else text


def _deletions(view: View, kept: set[str] | set[str | None]) -> tuple[Action, ...]:
    return tuple(Delete(name) for name in sorted(view.revisions) if name not in kept)
