"""How many workers there shall be (pure): the rules of Kubernetes' HorizontalPodAutoscaler, v2.

::

    samples ─ proposal.py ─▶ what each metric asks for ─▶ the largest ─ pace.py ─▶ windows, policies

Source: https://kubernetes.io/docs/tasks/run-application/horizontal-pod-autoscale/
"""

from moltbot_operator.autoscale.decide import Decision, Reason, decide, metrics_of
from moltbot_operator.autoscale.pace import DOWN, UP
from moltbot_operator.autoscale.samples import Samples, WorkerSample, believable
from moltbot_operator.autoscale.state import Change, Recommendation, State

__all__ = [
    "DOWN",
    "UP",
    "Change",
    "Decision",
    "Reason",
    "Recommendation",
    "Samples",
    "State",
    "WorkerSample",
    "believable",
    "decide",
    "metrics_of",
]
