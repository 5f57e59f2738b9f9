"""Which revision a route serves, and the next step towards the one that it should serve (pure)."""

from moltbot_operator.rollout.machine import decide
from moltbot_operator.rollout.state import Action, Create, Delete, Flip, Observed, Phase, Plan, View

__all__ = ["Action", "Create", "Delete", "Flip", "Observed", "Phase", "Plan", "View", "decide"]
