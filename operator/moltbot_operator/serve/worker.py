"""The worker of a revision: one process beside its Envoy, started again whenever it ends.

::

    started ──▶ warms up ──▶ ready ──Envoy's health check──▶ in use ──ends──▶ pause ──▶ started again
                                                                     (0.2 s, doubled each time, 30 s at most)

Requests never need it: while it is away Envoy serves them by itself, without the feature.
"""

import asyncio
import contextlib
import re
import sys
import threading
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import orjson

from moltbot_agent.admin import Admin
from moltbot_agent.errors import AdminUnavailable
from moltbot_operator.compile.envoy.names import WORKER
from moltbot_operator.errors import EnvoyRejected
from moltbot_operator.serve.asking import ask
from moltbot_operator.serve.children import child
from moltbot_operator.serve.layout import WORKER_CONFIG
from moltbot_operator.serve.ports import Ports

__all__ = ["Worker", "beside", "pause_after"]

_PAUSE: Final = timedelta(milliseconds=200)
_LONGEST_PAUSE: Final = timedelta(seconds=30)

_STEADY: Final = timedelta(seconds=60)
"""One that ran for so long is started again after the shortest pause."""

_IN_USE: Final = timedelta(seconds=90)
"""How long a new revision waits for its worker: warm-up may take 60 s."""

_TRIES: Final = 3
"""Ends of a new revision's worker, after which it is not waited for any longer."""

_GRACE: Final = timedelta(minutes=30)

_LEFT: Final = re.compile(r"^moltbot_worker_(?:in_flight|queue_depth\{.*\}) (\S+)$", re.MULTILINE)

_POLL: Final = timedelta(milliseconds=100)


class Worker:
    """Use it by :func:`beside`."""

    def __init__(
        self,
        folder: Path,
        ports: Ports,
        record: Callable[[str, int], None],
        tell: Callable[[str], None],
        *,
        own_store: bool,
    ) -> None:
        """`own_store`: whether what it keeps, jobs too, is in its memory alone."""
        self.ends = 0
        """How often it ended by itself."""
        self.pid: int | None = None
        """Of the process that runs."""
        self._folder = folder
        self._ports = ports
        self._record = record
        self._tell = tell
        self._own_store = own_store
        self._admin = Admin(ports.admin)

    async def run(self) -> None:
        """Start it, and again whenever it ends, until cancelled."""
        clock = asyncio.get_running_loop().time
        command = (
            *(sys.executable, "-m", "moltbot_worker", "--config", str(self._folder / WORKER_CONFIG)),
            *("--settle-s", "0", "--log-level", "WARNING"),
        )
        soon = 0
        while True:
            began = clock()
            async with child(command, self._folder / "worker.log", self._started) as process:
                code = await process.wait()
            self.pid = None
            self.ends += 1
            soon = 0 if clock() - began > _STEADY.total_seconds() else soon + 1
            pause = pause_after(soon)
            said = self._last_words()
            self._tell(
                f"the worker ended with code {code}{f' ({said})' if said else ''}: started again in "
                f"{pause.total_seconds():g} s, requests go on without it"
            )
            await asyncio.sleep(pause.total_seconds())

    def _started(self, pid: int) -> None:
        self.pid = pid
        self._record("worker", pid)

    def _last_words(self) -> str:
        try:
            lines = (self._folder / "worker.log").read_text(errors="replace").splitlines()
        except OSError:
            return ""
        return lines[-1][:500] if lines else ""

    async def used(self) -> None:
        """Wait until Envoy sends it requests.

        EnvoyRejected where that is not within 90 s, or it does not stay up.
        """
        deadline = asyncio.get_running_loop().time() + _IN_USE.total_seconds()
        while not await asyncio.to_thread(self._in_use):
            late = asyncio.get_running_loop().time() > deadline
            if late or self.ends >= _TRIES:
                why = f"was not ready after {_IN_USE.total_seconds():g} s" if late else "does not stay up"
                raise EnvoyRejected(f"the worker {why}: {self._last_words() or 'it said nothing'}")
            await asyncio.sleep(_POLL.total_seconds())

    def _in_use(self) -> bool:
        try:
            told = orjson.loads(self._admin.call("GET", "/clusters?format=json"))
        except (AdminUnavailable, ValueError):
            return False
        hosts = [
            host
            for cluster in told.get("cluster_statuses", ())
            if cluster["name"] == WORKER
            for host in cluster.get("host_statuses", ())
        ]
        return any(not host["health_status"].get("failed_active_health_check") for host in hosts)

    async def idle(self, given_up: threading.Event) -> None:
        """Wait until no request and no job is left, where jobs end with the process; 30 minutes at most."""
        if not self._own_store:
            return
        deadline = asyncio.get_running_loop().time() + _GRACE.total_seconds()
        while not given_up.is_set() and asyncio.get_running_loop().time() < deadline:
            text = await asyncio.to_thread(self.metrics)
            if text is None or not any(float(value) for value in _LEFT.findall(text)):
                return
            await asyncio.sleep(_POLL.total_seconds())

    def metrics(self) -> str | None:
        """Its own measures, without those of the process (docs/workers.md); None where it is away. Blocks."""
        said = ask(self._ports.worker_metrics, "/metrics")
        if said is None or not said.well:
            return None
        lines = [line for line in said.body.decode().splitlines() if "moltbot_worker_" in line]
        return "\n".join(lines) + "\n"

    def state(self) -> dict[str, Any]:
        """Whether it takes requests, why not, and how often it ended. Blocks."""
        said = ask(self._ports.worker_metrics, "/readyz", seconds=2)
        try:
            why = "it is being started" if said is None else str(orjson.loads(said.body)["status"])
        except (ValueError, KeyError):
            said, why = None, "it is being started"
        ready = said is not None and said.well
        return {"ready": ready, "message": "" if ready else why, "ends": self.ends}


def pause_after(ends: int) -> timedelta:
    """How long to wait after so many ends in a row."""
    doubled: int = 2 ** min(max(ends - 1, 0), 10)
    return min(_PAUSE * doubled, _LONGEST_PAUSE)


@contextlib.asynccontextmanager
async def beside(
    folder: Path,
    ports: Ports,
    record: Callable[[str, int], None],
    tell: Callable[[str], None],
    *,
    own_store: bool,
) -> AsyncIterator[Worker]:
    """The worker for which `folder` holds a configuration, until the block ends."""
    worker = Worker(folder, ports, record, tell, own_store=own_store)
    running = asyncio.create_task(worker.run())
    try:
        yield worker
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running
