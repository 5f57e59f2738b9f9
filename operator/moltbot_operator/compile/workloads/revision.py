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

__all__ = ["REVISION_DIGITS", "identify"]

REVISION_DIGITS = 10
"""Hexadecimal digits of a revision: 40 bits, for the few revisions that a route ever has at once."""


def identify(compiled: CompiledRoute, template: dict[str, Any]) -> CompiledRoute:
    """`compiled` under the name that follows from its own revision and the `template` rendered with it."""
    identity = {"configuration": compiled.revision, "template": template}
    digest = sha256(orjson.dumps(identity, option=orjson.OPT_SORT_KEYS)).hexdigest()
    revision = digest[:REVISION_DIGITS]
    agent = compiled.agent.model_copy(update={"revision": revision})
    node = compiled.envoy["node"]
    named = {**node, "metadata": {**node["metadata"], "revision": revision}}
    envoy = {**compiled.envoy, "node": named}
    return replace(compiled, revision=revision, agent=agent, envoy=envoy, parts=pack(agent, envoy))
