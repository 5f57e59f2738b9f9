"""Checks files before anything serves them: schema, references, likely mistakes, and Envoy itself."""

from moltbot_operator.check.findings import Finding, Level, failed
from moltbot_operator.check.run import Checked, check

__all__ = ["Checked", "Finding", "Level", "check", "failed"]
