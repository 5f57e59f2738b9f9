"""The compiler: resources → intermediate form → what Envoy, agent and workers are told. Pure, deterministic.

::

    RouteSources ─ plan.py ─> ir.Gateway ─ envoy/ ─> bootstrap ┐
                                   ├─ delivery.py ─> AgentConfig ┼─ compiler.py ─> CompiledRoute
                                   └─ worker_config.py ─> WorkerConfig ┘
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
    WorkerAddress,
    WorkerFiles,
)
from moltbot_operator.compile.worker_secret import worker_secret

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
    "WorkerAddress",
    "WorkerFiles",
    "compile_route",
    "worker_secret",
]
