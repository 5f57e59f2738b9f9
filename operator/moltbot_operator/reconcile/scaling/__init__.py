"""How many workers a route has: measured, decided (autoscale/), written. The only writer of their number."""

from moltbot_operator.reconcile.scaling.http import HttpLoad
from moltbot_operator.reconcile.scaling.reconciler import WorkerReconciler

__all__ = ["HttpLoad", "WorkerReconciler"]
