"""The Deployment of one revision. Its template never changes: another template is another revision."""

from typing import Any

from moltbot_operator.compile.workloads.identity import Manifest, Owner

__all__ = ["deployment"]


def deployment(owner: Owner, revision: str, template: dict[str, Any], replicas: int) -> Manifest:
    """`replicas`: pods it should have now, which is not part of the revision."""
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": owner.metadata(owner.deployment(revision), revision),
        "spec": {
            "replicas": replicas,
            "paused": False,
            "progressDeadlineSeconds": 600,
            "revisionHistoryLimit": 1,
            "selector": {"matchLabels": owner.selector(revision)},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
            "template": template,
        },
    }
