"""The kind of task in answers."""

from moltbot_operator.compile.envoy import names
from moltbot_operator.compile.envoy.proto import Json, header
from moltbot_operator.compile.ir import Gateway

__all__ = ["task_header"]


def task_header(gateway: Gateway) -> list[Json]:
    """`x-moltbot-task: Code;reason=tools`, where a rule asks for the task; absent where nobody looked."""
    if gateway.task_models is None:
        return []
    return [header("x-moltbot-task", f"%DYNAMIC_METADATA({names.NAMESPACE}:task_verdict)%")]
