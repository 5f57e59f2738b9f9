"""A backend at its limit passes requests on: Envoy itself never retries an overflow.

A cluster specifier reads how many requests are in flight at the backend and names the chain, or what comes
after it. Several threads may pass the limit at the same moment, so the breakers behind it leave some room.
"""

from moltbot_operator.compile.envoy import names
from moltbot_operator.compile.envoy.clusters import Chained
from moltbot_operator.compile.envoy.lua_text import quoted
from moltbot_operator.compile.envoy.proto import Json, extension
from moltbot_operator.compile.ir import Backend

__all__ = ["inner_plugin", "inner_plugin_name", "plugin_name", "plugins"]

_SCRIPT = """\
function envoy_on_route(handle)
  local cluster = handle:getCluster({watched})
  if cluster and cluster:numRequests() + cluster:numPendingRequests() < {limit} then return {usual} end
  return {full}
end
"""


def _plugin(name: str, watched: str, limit: int, usual: str, full: str) -> Json:
    source = _SCRIPT.format(watched=quoted(watched), limit=limit, usual=quoted(usual), full=quoted(full))
    return {
        "extension": extension(
            name,
            "extensions.router.cluster_specifiers.lua.v3.LuaConfig",
            default_cluster=full,
            source_code={"inline_string": source},
        )
    }


def plugin_name(chain: Chained) -> str:
    """Name of the plugin that guards a chain."""
    return f"limit {chain.name}"


def plugins(chains: dict[str, Chained]) -> list[Json]:
    """Plugins of the public listener, one a chain whose first backend has a limit."""
    return [
        _plugin(plugin_name(chain), names.upstream(chain.chain.first), chain.limit, chain.name, chain.spill)
        for chain in chains.values()
        if chain.limit is not None
    ]


def inner_plugin_name(backend: Backend) -> str:
    """Name of the plugin that guards a backend in the inner tier."""
    return f"limit {names.upstream(backend)}"


def inner_plugin(backend: Backend, limit: int) -> Json:
    """Plugin of the inner tier: a full backend is refused there, and the next attempt goes on."""
    name = names.upstream(backend)
    return _plugin(inner_plugin_name(backend), name, limit, name, names.FULL)
