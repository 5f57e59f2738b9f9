"""The ServiceAccount of the gateway pods: an identity without a token, since no pod calls the API server."""

from moltbot_operator.compile.workloads.identity import Manifest, Owner

__all__ = ["service_account"]


def service_account(owner: Owner) -> Manifest:
    """One for all revisions."""
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": owner.metadata(owner.gateway),
        "automountServiceAccountToken": False,
    }
