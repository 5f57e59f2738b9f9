"""The compiler: resources → intermediate form → Envoy's and the agent's configuration. Pure, deterministic.

::

    RouteSources ─ plan.py ─> ir.Gateway ─ envoy/ ─> bootstrap ┐
                                   └─ delivery.py ─> AgentConfig ┴─ compiler.py ─> CompiledRoute
"""

from moltbot_operator.compile.compiler import compile_route
from moltbot_operator.compile.result import BackendReport, CompiledRoute, Mount, RuleReport
from moltbot_operator.compile.sources import (
    BackendRef,
    BackendSource,
    ConsumerSource,
    Files,
    Problem,
    RouteSources,
)

__all__ = [
    "BackendRef",
    "BackendReport",
    "BackendSource",
    "CompiledRoute",
    "ConsumerSource",
    "Files",
    "Mount",
    "Problem",
    "RouteSources",
    "RuleReport",
    "compile_route",
]
