"""A revision is the compiled configuration and the pod template together, so both are in its name.

The compiler knows no pods, and its revision is in its own result (agent configuration, Envoy's node). So
the template is rendered once under the compiler's revision, and configuration and template get the name
that follows from both: agents then report exactly what labels and names say.
"""

from dataclasses import replace
from hashlib import sha256
from typing import Any

import orjson

from moltbot_agent.config import pack
from moltbot_operator.compile.result import CompiledRoute
from moltbot_operator.compile.revision import of_revision, worker_of_revision

__all__ = ["REVISION_DIGITS", "identify"]

REVISION_DIGITS = 10
"""Hexadecimal digits of a revision: 40 bits, for the few revisions that a route ever has at once."""


def identify(
    compiled: CompiledRoute, template: dict[str, Any], worker: dict[str, Any] | None = None
) -> CompiledRoute:
    """`compiled` under the name that follows from its own revision and the templates rendered with it."""
    identity = {"configuration": compiled.revision, "template": template}
    if worker:
        identity["worker"] = worker
    digest = sha256(orjson.dumps(identity, option=orjson.OPT_SORT_KEYS)).hexdigest()
    revision = digest[:REVISION_DIGITS]
    agent, envoy = of_revision(compiled.agent, compiled.envoy, compiled.files, revision)
    told = worker_of_revision(compiled.worker, compiled.files, revision)
    return replace(
        compiled, revision=revision, agent=agent, envoy=envoy, parts=pack(agent, envoy), worker=told
    )
