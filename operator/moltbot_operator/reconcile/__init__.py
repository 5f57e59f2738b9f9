"""Reconciliation: gather → decide → apply, for each resource by its key.

`RouteReconciler` and `BackendReconciler` are called by the queue; `affected` tells which keys an event
concerns.
"""

from moltbot_operator.reconcile.backend import BackendReconciler
from moltbot_operator.reconcile.evidence import Evidence, EvidenceReader, EvidenceUnavailable
from moltbot_operator.reconcile.evidence_http import HttpEvidence
from moltbot_operator.reconcile.references import affected
from moltbot_operator.reconcile.route import RouteReconciler

__all__ = [
    "BackendReconciler",
    "Evidence",
    "EvidenceReader",
    "EvidenceUnavailable",
    "HttpEvidence",
    "RouteReconciler",
    "affected",
]
