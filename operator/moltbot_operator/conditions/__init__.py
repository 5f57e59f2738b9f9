"""Conditions of both resources: types, reasons, what they say, and how they are kept (pure).

Readers: people (`kubectl describe`), `kubectl wait`, and tools that use kstatus, which needs nothing but
`observedGeneration`, `Reconciling`, `Stalled` and `Ready`:

- Current: Ready is True, neither Reconciling nor Stalled is there;
- InProgress: Reconciling is there, or Ready is not True and the object may get ready by itself;
- Failed: Stalled is there: nothing changes until a person does something.
"""

from moltbot_operator.conditions.backend import BackendFacts, RotationFacts, backend_conditions
from moltbot_operator.conditions.merge import Statement, Status, merge
from moltbot_operator.conditions.reasons import ConditionType, Reason, known_reason
from moltbot_operator.conditions.route import RouteFacts, route_conditions

__all__ = [
    "BackendFacts",
    "ConditionType",
    "Reason",
    "RotationFacts",
    "RouteFacts",
    "Statement",
    "Status",
    "backend_conditions",
    "known_reason",
    "merge",
    "route_conditions",
]
