"""The PodDisruptionBudget: a drained node takes one gateway pod at a time.

`maxUnavailable` and not `minAvailable`, so that a route with one replica does not block the draining of
its node.
"""

from moltbot_operator.compile.workloads.identity import Manifest, Owner

__all__ = ["disruption_budget"]


def disruption_budget(owner: Owner) -> Manifest:
    """One for all revisions: it counts the pods of both while a rollout is under way."""
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": owner.metadata(owner.gateway),
        "spec": {
            "maxUnavailable": 1,
            "selector": {"matchLabels": owner.selector()},
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
        },
    }
