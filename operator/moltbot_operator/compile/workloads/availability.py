"""The PodDisruptionBudget: a drained node takes one gateway pod at a time.

`maxUnavailable` and not `minAvailable`, so that a route with one replica does not block the draining of
its node.
"""

from moltbot_operator.compile.workloads.identity import NO_REVISION, Manifest, Owner

__all__ = ["disruption_budget"]


def disruption_budget(owner: Owner, revision: str | None) -> Manifest:
    """For the pods of the active `revision`, or of none before the first flip.

    A revision that is being built must not use up the one disruption that those that serve are allowed.
    """
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": owner.metadata(owner.gateway),
        "spec": {
            "maxUnavailable": 1,
            "selector": {"matchLabels": owner.selector(revision or NO_REVISION)},
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
        },
    }
