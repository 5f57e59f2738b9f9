"""Fault drills on one machine: shows that failover fires, before anybody needs it."""

from moltbot_operator.drill.run import FAULTS, Result, Trial, drill

__all__ = ["FAULTS", "Result", "Trial", "drill"]
