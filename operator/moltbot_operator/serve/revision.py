"""One revision of a server: how it is made, asked whether it runs, and drained."""

import asyncio
import contextlib
import http.client
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from moltbot_agent.admin import Admin
from moltbot_agent.draining import DrainOutcome, DrainPlan, drain
from moltbot_agent.errors import AdminUnavailable
from moltbot_operator.compile import CompiledRoute, Files, RouteSources, compile_route
from moltbot_operator.compile.envoy import names
from moltbot_operator.errors import EnvoyRejected, Interrupted, PortTaken
from moltbot_operator.serve.decision import Identity, identify
from moltbot_operator.serve.door import DOOR, Door
from moltbot_operator.serve.files import Manifests
from moltbot_operator.serve.keys import default_folder
from moltbot_operator.serve.launch import Gateway, complaints, launched
from moltbot_operator.serve.layout import files_in
from moltbot_operator.serve.options import Options
from moltbot_operator.serve.ports import LOOPBACK, held_ports
from moltbot_operator.serve.state import Home

__all__ = [
    "Revision",
    "Wanted",
    "drained",
    "evidence_of",
    "launch",
    "reports",
    "takes_port",
    "wanted",
    "worked",
]

_OPENED: Final = timedelta(seconds=15)
"""How long Envoy may take to listen on the public port."""

_TRIES: Final = 4
"""Starts of one revision, each with other inner ports, where somebody else listens on one of them."""


Tell = Callable[[str], None]
"""Told in words of a worker that ended."""


@dataclass(frozen=True)
class Wanted:
    """What the files ask for."""

    manifests: Manifests
    sources: RouteSources
    jwks: dict[Any, Path]
    compiled: CompiledRoute
    """For a pod's files: its mounts and reports are those of every launch."""
    identity: Identity


@dataclass
class Revision:
    """A revision that runs; closing `stack` ends its processes and removes its files."""

    gateway: Gateway
    door: Door
    identity: Identity
    stack: contextlib.AsyncExitStack


def wanted(manifests: Manifests, options: Options) -> Wanted:
    """InvalidInput for what can't be served, CompileError for what can't be compiled."""
    jwks = manifests.make_keys(options.keys or default_folder())
    sources = manifests.sources(options.route, options.endpoints, Files(loopback=True))
    compiled = compile_route(sources)
    return Wanted(manifests, sources, jwks, compiled, identify(compiled, manifests))


async def launch(
    asked: Wanted, options: Options, home: Home, number: int, port: int, *, opened: bool, tell: Tell
) -> Revision:
    """Start the revision; it takes the public `port` at once where `opened`.

    Everything as in :func:`launched`. Where somebody else has an inner port it is told and others are tried.
    """
    for again in range(1, _TRIES):
        name = f"{number:04}-{again}"
        try:
            return await _launch(asked, options, home, name, port, opened=opened, tell=tell)
        except PortTaken as error:
            tell(f"started again with other inner ports, somebody else has one of these: {error}")
    return await _launch(asked, options, home, f"{number:04}-{_TRIES}", port, opened=opened, tell=tell)


async def _launch(
    asked: Wanted, options: Options, home: Home, name: str, port: int, *, opened: bool, tell: Tell
) -> Revision:
    folder = home.run / name
    folder.mkdir(mode=0o700)
    door = Door(folder, options.address, port)
    log = options.access_log or (home.folder / "access.log" if options.view else None)
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(_remove, folder)
        ports = stack.enter_context(held_ports(LOOPBACK))
        files = files_in(folder, LOOPBACK, ports, log)
        sources = asked.manifests.sources(options.route, options.endpoints, files)
        compiled = door.fitted(compile_route(sources), asked.identity.revision)
        gateway = await stack.enter_async_context(
            launched(
                compiled,
                asked.manifests,
                folder=folder,
                address=LOOPBACK,
                ports=ports,
                concurrency=options.concurrency,
                jwks=asked.jwks,
                record=home.add,
                prepare=door.open if opened else door.shut,
                seed=None if compiled.worker is None else home.secret("workers"),
                tell=tell,
            )
        )
        if opened:
            await _listening(gateway)
        return Revision(gateway, door, asked.identity, stack.pop_all())
    raise AssertionError  # the stack swallows nothing


async def reports(revision: Revision) -> None:
    """EnvoyRejected unless the agent tells that Envoy runs exactly this revision."""
    found = await asyncio.to_thread(evidence_of, revision.gateway)
    if not found["envoy"]["live"] or found["envoy"]["revision"] != revision.identity.revision:
        raise EnvoyRejected(
            f"Envoy reports revision {found['envoy']['revision']} instead of {revision.identity.revision}"
        )


async def worked(revision: Revision) -> None:
    """Wait until its worker is used, where it has one; EnvoyRejected where that does not come to be."""
    if revision.gateway.worker is not None:
        await revision.gateway.worker.used()


async def takes_port(revision: Revision) -> None:
    """Let it listen on the public port too; EnvoyRejected where it can't."""
    revision.door.open()
    await _listening(revision.gateway)


async def drained(
    revision: Revision, stop: threading.Event, *, settle: timedelta, grace: timedelta, quiet: timedelta
) -> DrainOutcome:
    """No new connections after `settle`, then wait for the last request, `grace` at most."""
    plan = DrainPlan(settle=settle, grace=grace, quiet=quiet, lost=timedelta(seconds=1))
    keeper = _Doorkeeper(revision.gateway.admin_port)
    return await asyncio.to_thread(drain, keeper, names.PUBLIC, plan, stop)


@dataclass(frozen=True)
class _Doorkeeper(Admin):
    """Lets the public port go at once; the inner tier goes on, for attempts that are still to come."""

    def drain_listeners(self) -> None:
        self.call("POST", "/drain_listeners?inboundonly")


async def _listening(gateway: Gateway) -> None:
    admin = replace(Admin(gateway.admin_port), timeout=timedelta(seconds=5))
    deadline = asyncio.get_running_loop().time() + _OPENED.total_seconds()
    while asyncio.get_running_loop().time() < deadline and not gateway.ended.done():
        try:
            if f"{DOOR}::" in await asyncio.to_thread(admin.call, "GET", "/listeners"):
                return
            if (await asyncio.to_thread(admin.stats, _REJECTED)).get(_REJECTED.strip("^$"), 0):
                break
        except AdminUnavailable:
            pass
        await asyncio.sleep(0.01)
    why = f"Envoy does not listen on the public port:\n{complaints(gateway.folder)}"
    raise Interrupted(why) if gateway.ended.done() else EnvoyRejected(why)


_REJECTED: Final = "^listener_manager.lds.update_rejected$"


def evidence_of(gateway: Gateway) -> dict[str, Any]:
    """What the agent tells (moltbot_agent.evidence); blocks. Interrupted where it does not."""
    connection = http.client.HTTPConnection(LOOPBACK, gateway.ports.evidence, timeout=10)
    try:
        connection.request("GET", "/evidence", headers={"authorization": f"Bearer {gateway.evidence_token}"})
        found: dict[str, Any] = json.loads(connection.getresponse().read())
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise Interrupted(f"the agent does not tell what runs: {type(error).__name__}") from error
    finally:
        connection.close()
    return found


def _remove(folder: Path) -> None:
    import shutil  # noqa: PLC0415 - at the end alone

    shutil.rmtree(folder, ignore_errors=True)
