"""What a model's name tells: the kind of task; and `auto`, which leaves the choice to the route."""

from collections.abc import Iterable, Mapping
from typing import Final

from moltbot_operator.api import Capability
from moltbot_operator.compile.ir import Backend, PlannedRule
from moltbot_operator.compile.sources import RouteSources

__all__ = ["AUTO", "task_models"]

AUTO: Final = "auto"
"""What a client writes as `model` to get the candidate's own."""


def task_models(
    rules: Iterable[PlannedRule], backends: Iterable[Backend], sources: RouteSources
) -> Mapping[str, str] | None:
    """The task of each model whose name tells it: all that its backends can do, and not just dialog.

    None if no rule asks for a task. A backend goes by its model and by its own name.
    """
    if not any(condition.task is not None for rule in rules for condition in rule.conditions):
        return None
    can: dict[str, set[Capability]] = {}
    for backend in backends:
        capabilities = sources.backends[backend.ref].spec.capabilities or (Capability.DIALOG,)
        for name in {backend.ref.name, backend.model or backend.ref.name}:
            can.setdefault(name, set()).update(capabilities)
    told = {name: next(iter(tasks)) for name, tasks in sorted(can.items()) if len(tasks) == 1}
    return {name: str(task) for name, task in told.items() if task is not Capability.DIALOG}
