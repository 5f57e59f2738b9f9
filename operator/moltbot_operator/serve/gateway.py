"""A gateway for as long as a block runs: what tests, benchmarks and tools use."""

import contextlib
import tempfile
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

from moltbot_operator.compile import compile_route
from moltbot_operator.serve.files import Manifests
from moltbot_operator.serve.keys import default_folder
from moltbot_operator.serve.launch import Gateway, launched
from moltbot_operator.serve.layout import files_in
from moltbot_operator.serve.ports import held_ports

__all__ = ["gateway"]


@contextlib.asynccontextmanager
async def gateway(
    manifests: Manifests,
    *,
    route: str | None = None,
    address: str = "127.0.0.1",
    port: int = 0,
    endpoints: Mapping[str, str] | None = None,
    access_log: Path | None = None,
    concurrency: int = 0,
    keys: Path | None = None,
) -> AsyncIterator[Gateway]:
    """Compile and serve one route until the block ends; nothing is left behind.

    `port` 0 takes a free one; without `access_log` records go to standard output; `concurrency` is Envoy's
    number of threads, 0 for one a CPU; managed signing keys are kept in `keys`. InvalidInput for manifests
    that can't be served; EnvoyRejected where agent or Envoy does not get ready, with what they said.
    A worker, where a rule asks for one, is in use a moment later.
    """
    with tempfile.TemporaryDirectory(prefix="moltbot-") as name, held_ports(address, port) as ports:
        folder = Path(name)
        jwks = manifests.make_keys(keys or default_folder())
        compiled = compile_route(
            manifests.sources(route, endpoints or {}, files_in(folder, address, ports, access_log))
        )
        async with launched(
            compiled,
            manifests,
            folder=folder,
            address=address,
            ports=ports,
            concurrency=concurrency,
            jwks=jwks,
        ) as running:
            yield running
