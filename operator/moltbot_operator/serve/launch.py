"""One revision running here: its files, its agent, its Envoy, and where a rule asks for it its worker.

The first pass over the credential files is made in this process, so Envoy starts at once and the agent is
imported meanwhile: what the agent then writes is what is there already. Only where a token has to be fetched
first does Envoy wait for the agent.
"""

import asyncio
import contextlib
import logging
import re
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Final

from moltbot_agent.deliveries import Deliveries
from moltbot_agent.envoy import arguments_for, binary, cpu_limit
from moltbot_operator.compile import BackendRef, CompiledRoute
from moltbot_operator.errors import EnvoyRejected, Interrupted, InvalidInput, PortTaken
from moltbot_operator.serve.asking import ask
from moltbot_operator.serve.children import child
from moltbot_operator.serve.files import KeySecret, Manifests
from moltbot_operator.serve.layout import write_config, write_mounts
from moltbot_operator.serve.ports import LOOPBACK, Ports
from moltbot_operator.serve.worker import Worker, beside, pause_after

__all__ = ["Gateway", "complaints", "launched"]

_START: Final = timedelta(seconds=60)
"""How long agent and Envoy may take until they are ready."""

_POLL: Final = timedelta(milliseconds=10)

_STEADY: Final = timedelta(seconds=60)
"""An agent that ran for so long is started again after the shortest pause."""

_TAKEN: Final = "address already in use"
_KILLED: Final = re.compile(r"ended with code -\d+$")
"""What agent and Envoy write, in any case of letters, where somebody else listens on their port."""

Recorder = Callable[[str, int], None]
"""Told of each process as it starts: what it is, and its id."""


@dataclass(frozen=True)
class Gateway:
    """A gateway that serves."""

    compiled: CompiledRoute
    url: str
    """Where this revision answers, without a path."""
    probe_url: str
    """Where it answers test requests, which show the key in the folder `probe`."""
    ports: Ports
    folder: Path
    """Holds its files while it runs; the access log is `access.log` unless it goes to standard output."""
    jwks: Mapping[BackendRef, Path]
    """Where the public half of each managed signing key is."""
    envoy_pid: int
    evidence_token: str = field(repr=False)
    ended: "asyncio.Task[str]"
    """Done as soon as Envoy ends by itself, or the agent can't run; says which, and with which code."""
    worker: Worker | None
    """What the rules that ask for it go through; None if none does."""

    @property
    def admin_port(self) -> int:
        """Envoy's admin interface on loopback."""
        return self.ports.admin

    @property
    def metrics_port(self) -> int:
        """The agent's `/metrics` on loopback."""
        return self.ports.metrics


@contextlib.asynccontextmanager
async def launched(
    compiled: CompiledRoute,
    manifests: Manifests,
    *,
    folder: Path,
    address: str,
    ports: Ports,
    concurrency: int = 0,
    jwks: Mapping[BackendRef, Path] | None = None,
    record: Recorder = lambda _what, _pid: None,
    prepare: Callable[[], None] = lambda: None,
    seed: str | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> AsyncIterator[Gateway]:
    """Run `compiled` in the empty `folder` until the block ends; gives it once it is ready.

    `concurrency` is Envoy's number of threads, 0 for one a CPU; `prepare` is called when the folder is there
    and Envoy is not; `seed` is what the workers' secret is derived from; `tell` is told of a worker that
    ends and of keys that can't be used. The worker need not be ready yet. InvalidInput where a private CA or
    Envoy itself is missing; EnvoyRejected where agent or Envoy does not get ready, with what they said:
    PortTaken as soon as one finds that somebody else has its port, Interrupted where one was killed or is too
    slow.
    """
    token = write_config(folder, compiled, seed)
    prepare()
    write_mounts(folder, (*compiled.mounts, *compiled.worker_mounts), manifests)
    _deliver(compiled, manifests, tell)
    agent = _Agent(folder, ports, record, tell)
    async with contextlib.AsyncExitStack() as stack:
        agent_ended = asyncio.create_task(agent.run())
        stack.push_async_callback(_cancelled, agent_ended)
        await _bootstrap(folder, agent_ended)
        envoy = await stack.enter_async_context(
            child(_envoy(folder, concurrency), folder / "envoy.log", lambda pid: record("Envoy", pid))
        )
        ended = asyncio.create_task(_first_end(agent_ended, envoy))
        stack.push_async_callback(_cancelled, ended)
        await _ready("/ready", (address, ports.ready), ended, folder)
        worker = None
        if compiled.worker is not None:  # after Envoy, which serves without it until it is there
            worker = await stack.enter_async_context(
                beside(folder, ports, record, tell, own_store=compiled.worker.store.url is None)
            )
        await _ready("/healthz", (LOOPBACK, ports.metrics), ended, folder)
        agent.came_up = True
        scheme = "http" if compiled.agent.certificate is None else "https"
        host = f"[{address}]" if ":" in address else address
        url, probe_url = f"{scheme}://{host}:{ports.public}", f"http://{host}:{ports.probe}"
        yield Gateway(compiled, url, probe_url, ports, folder, jwks or {}, envoy.pid, token, ended, worker)


def _deliver(compiled: CompiledRoute, manifests: Manifests, tell: Callable[[str], None]) -> None:
    """What the agent will do again and again, so that Envoy need not wait for it."""
    logging.getLogger(Deliveries.__module__).addHandler(logging.NullHandler())  # told here, by `tell`
    deliveries = Deliveries(compiled.agent, compiled.envoy)
    deliveries.run_once()
    to_come = tuple(
        f"consumer {mount.folder}: no key in "
        for mount in compiled.mounts
        if mount.purpose == "consumer" and KeySecret(mount.namespace, mount.name) in manifests.rotated
    )
    for problem in deliveries.problems:
        if not problem.startswith(to_come):
            tell(problem)


def complaints(folder: Path) -> str:
    """The end of what agent, Envoy and worker wrote."""
    logs = (folder / f"{name}.log" for name in ("agent", "envoy", "worker"))
    said = [log.read_text(errors="replace")[-4000:] for log in logs if log.exists()]
    return "\n".join(filter(None, said)) or "they said nothing"


class _Agent:
    """The agent's process, one after another: requests do not need it, so nothing ends with it."""

    def __init__(self, folder: Path, ports: Ports, record: Recorder, tell: Callable[[str], None]) -> None:
        self.came_up = False
        """One that ends before will not come up at all; later ones are started again."""
        self._folder = folder
        self._record = record
        self._tell = tell
        self._command = (
            *(sys.executable, "-m", "moltbot_agent"),
            *("--config", str(folder / "config")),
            *("--evidence-token", str(folder / "evidence" / "token")),
            *("--host", LOOPBACK),
            *("--metrics-port", str(ports.metrics)),
            *("--evidence-port", str(ports.evidence)),
            *("--drain-port", str(ports.drain)),
            *("--log-level", "WARNING"),
        )

    async def run(self) -> int:
        """Its exit code where the first one does not come up; else it goes on until it is cancelled."""
        clock = asyncio.get_running_loop().time
        soon = 0
        while True:
            began = clock()
            async with child(
                self._command, self._folder / "agent.log", lambda pid: self._record("agent", pid)
            ) as process:
                code = await process.wait()
            if not self.came_up:
                return code
            soon = 0 if clock() - began > _STEADY.total_seconds() else soon + 1
            pause = pause_after(soon)
            self._tell(
                f"the agent ended with code {code}: started again in {pause.total_seconds():g} s, "
                "requests go on without it"
            )
            await asyncio.sleep(pause.total_seconds())


def _envoy(folder: Path, concurrency: int) -> list[str]:
    try:
        envoy = binary()
    except FileNotFoundError as error:
        raise InvalidInput(str(error)) from error
    bootstrap = folder / "run" / "envoy.json"
    return [str(envoy), *arguments_for(bootstrap, concurrency or cpu_limit(), "warning")]


async def _bootstrap(folder: Path, agent_ended: "asyncio.Task[int]") -> None:
    """Wait for the file that comes last: every other file is there then."""
    deadline = asyncio.get_running_loop().time() + _START.total_seconds()
    while not (folder / "run" / "envoy.json").exists():
        if agent_ended.done():
            raise _failed(f"the agent ended with code {agent_ended.result()}", folder)
        if asyncio.get_running_loop().time() > deadline:
            raise _failed(f"the agent wrote no configuration within {_START}", folder, slow=True)
        await asyncio.sleep(_POLL.total_seconds())


async def _first_end(agent: "asyncio.Task[int]", envoy: asyncio.subprocess.Process) -> str:
    envoy_ended = asyncio.create_task(envoy.wait())
    try:
        await asyncio.wait({agent, envoy_ended}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        envoy_ended.cancel()
    if envoy_ended.done() and not envoy_ended.cancelled():
        return f"Envoy ended with code {envoy_ended.result()}"
    return f"the agent ended with code {agent.result()}"


async def _cancelled(task: "asyncio.Task[int] | asyncio.Task[str]") -> None:
    """Cancel and wait, so that what the task holds is ended too."""
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def _ready(path: str, at: tuple[str, int], ended: "asyncio.Task[str]", folder: Path) -> None:
    """Wait until `path` is answered 200 at this address and port."""
    deadline = asyncio.get_running_loop().time() + _START.total_seconds()
    while not await asyncio.to_thread(_answers, *at, path):
        if ended.done():
            raise _failed(ended.result(), folder)
        if asyncio.get_running_loop().time() > deadline:
            raise _failed(f"the gateway was not ready after {_START}", folder, slow=True)
        await asyncio.sleep(_POLL.total_seconds())


def _failed(why: str, folder: Path, *, slow: bool = False) -> EnvoyRejected:
    """With what agent, Envoy and worker wrote."""
    said = complaints(folder)
    kind = EnvoyRejected
    if _TAKEN in said.casefold():
        kind = PortTaken
    elif slow or _KILLED.search(why):
        kind = Interrupted
    return kind(f"{why}:\n{said}")


def _answers(address: str, port: int, path: str) -> bool:
    said = ask(port, path, host=address)
    return said is not None and said.well
