"""The public port, which a revision takes when its turn has come.

A revision answers on a port of its own from the start. Its *door* is a second listener with the same filters
on the public port, which Envoy reads from a file (LDS): written, and the revision listens there too.

Source: https://www.envoyproxy.io/docs/envoy/v1.40.0/api-v3/config/listener/v3/listener.proto
"""

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import orjson

from moltbot_agent.config import pack
from moltbot_agent.files import write_if_different
from moltbot_operator.compile import CompiledRoute
from moltbot_operator.compile.envoy import names

__all__ = ["DOOR", "Door"]

DOOR: Final = "door"
"""The listener's name in Envoy."""

_LISTENER: Final = "type.googleapis.com/envoy.config.listener.v3.Listener"


class Door:
    """The public port of one revision that runs in `folder`."""

    def __init__(self, folder: Path, address: str, port: int) -> None:
        self._file = folder / "run" / "listeners.json"
        self._address = {"socket_address": {"address": address, "port_value": port}}
        self._listener: dict[str, Any] = {}

    def fitted(self, compiled: CompiledRoute, revision: str) -> CompiledRoute:
        """`compiled` with the file as a source of listeners, under the name `revision`."""
        envoy = copy.deepcopy(compiled.envoy)
        public = next(each for each in envoy["static_resources"]["listeners"] if each["name"] == names.PUBLIC)
        self._listener = {
            "@type": _LISTENER,
            **copy.deepcopy(public),
            "name": DOOR,
            "address": self._address,
            "traffic_direction": "INBOUND",  # what is told to stop listening: the inner tier is needed longer
            "enable_reuse_port": True,
        }
        source = {"path_config_source": {"path": str(self._file)}, "resource_api_version": "V3"}
        envoy["dynamic_resources"] = {"lds_config": source}
        envoy["node"]["metadata"]["revision"] = revision
        agent = compiled.agent.model_copy(update={"revision": revision})
        parts = pack(agent, envoy)
        worker = compiled.worker and compiled.worker.model_copy(update={"revision": revision})
        return replace(compiled, revision=revision, agent=agent, envoy=envoy, parts=parts, worker=worker)

    def shut(self) -> None:
        """Before Envoy starts: listen on the revision's own port alone."""
        self._write([])

    def open(self) -> None:
        """Listen on the public port from now on, or from Envoy's start on."""
        self._write([self._listener])

    def _write(self, listeners: list[dict[str, Any]]) -> None:
        write_if_different(self._file, orjson.dumps({"resources": listeners}))
