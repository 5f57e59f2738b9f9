"""A gateway with workers: real Envoy, agent and worker processes before simulated providers.

::

    async with serving(route(rule(…, coalesce=True), worker={}), *backend(…), folder=tmp_path) as bed:
        answer = await bed.chat()
        await bed.kill(0)
"""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx
import yaml
from free_ports import free_ports
from gateway_bed import BODY, CHAT, Object, read, until

from moltbot_operator.audit import calls
from moltbot_operator.compile import Files, WorkerAddress, WorkerFiles, compile_route, worker_secret

__all__ = ["Bed", "serving"]

HOST = "127.0.0.1"
PUBLIC, READY, ADMIN, CALLS, METRICS, EVIDENCE, DRAIN = range(7)
FOLDERS = {"credential": "credentials", "consumer": "consumers", "ca": "ca", "jwks": "jwks"}


class Bed:
    """One gateway with its workers."""

    def __init__(self, folder: Path, ports: Sequence[int], addresses: Sequence[WorkerAddress]) -> None:
        self.folder = folder
        self.url = f"http://{HOST}:{ports[PUBLIC]}"
        self.calls_url = f"http://{HOST}:{ports[CALLS]}"
        self.admin = f"http://{HOST}:{ports[ADMIN]}"
        self.metrics = f"http://{HOST}:{ports[METRICS]}/metrics"
        self.addresses = list(addresses)
        self.workers: list[asyncio.subprocess.Process | None] = [None] * len(addresses)
        self.client = httpx.AsyncClient(base_url=self.url, timeout=30)
        self.key = (folder / "secret" / "key").read_text() if (folder / "secret").exists() else ""

    async def chat(self, path: str = CHAT, body: Any = None, **headers: str) -> httpx.Response:
        sent = {k.replace("_", "-"): v for k, v in headers.items()}
        return await self.client.post(path, json=BODY if body is None else body, headers=sent)

    async def start(self, number: int) -> None:
        """The worker, until the gateway sends it requests."""
        log = (self.folder / f"worker{number}.log").open("ab")
        command = ["-m", "moltbot_worker", "--config", str(self.folder / f"worker{number}.json")]
        self.workers[number] = await asyncio.create_subprocess_exec(
            sys.executable, *command, "--settle-s", "0", stdout=log, stderr=log
        )
        await self.healthy(sum(each is not None for each in self.workers))

    async def healthy(self, count: int) -> None:
        """Until so many workers pass the gateway's health check."""

        async def so_many() -> bool:
            told = (await self.client.get(f"{self.admin}/clusters?format=json")).json()
            [workers] = [each for each in told["cluster_statuses"] if each["name"] == "worker"]
            passed = [
                host
                for host in workers.get("host_statuses", [])
                if not host["health_status"].get("failed_active_health_check")
            ]
            return len(passed) == count

        await until(so_many, 40)

    async def kill(self, number: int) -> None:
        """As the kernel would: nothing is finished."""
        process = self.workers[number]
        assert process is not None
        log = (self.folder / f"worker{number}.log").read_text()[-2000:]
        assert process.returncode is None, f"the worker has ended by itself: {log}"
        process.kill()
        await process.wait()
        self.workers[number] = None

    async def lines(self) -> list[str]:
        (await self.client.post(f"{self.admin}/reopen_logs")).raise_for_status()
        log = self.folder / "access.log"
        return log.read_text().splitlines() if log.exists() else []

    async def records(self, at_least: int = 0) -> list[dict[str, Any]]:
        """The calls logged so far; waits for so many."""
        found: list[dict[str, Any]] = []

        async def there() -> bool:
            found[:] = calls(await self.lines())
            return len(found) >= at_least

        await until(there)
        return found


@contextlib.asynccontextmanager
async def serving(
    *objects: Object | Sequence[Object],
    folder: Path,
    workers: int = 1,
    store: Mapping[str, Any] | None = None,
    templates: Mapping[str, str] | None = None,
    start: bool = True,
) -> AsyncIterator[Bed]:
    """Serve these objects until the block ends. `store`: over what the compiler says of it."""
    flat = [each for given in objects for each in (given if isinstance(given, list) else [given])]
    file = folder / "manifests.yaml"
    file.write_text(yaml.safe_dump_all(flat))
    free = free_ports(7 + 3 * workers)
    ports, own = free[:7], free[7:]
    addresses = [WorkerAddress(HOST, own[3 * at], own[3 * at + 1]) for at in range(workers)]
    files = Files(
        loopback=True,
        run=str(folder / "run"),
        **{name: str(folder / name) for name in ("credentials", "consumers", "ca", "jwks")},
        access_log=str(folder / "access.log"),
        listen_address=HOST,
        gateway_port=ports[PUBLIC],
        ready_port=ports[READY],
        admin_port=ports[ADMIN],
        worker=WorkerFiles(
            addresses=tuple(addresses),
            calls=f"http://{HOST}:{ports[CALLS]}",
            listen_port=ports[CALLS],
            secret=str(folder / "secret"),
            evidence_token=str(folder / "evidence" / "token"),
            templates=str(folder / "templates"),
        ),
    )
    manifests = read([file])
    compiled = compile_route(manifests.sources(None, {}, files))
    _write(folder, compiled, manifests, templates or {})
    bed = Bed(folder, ports, addresses)
    for at, address in enumerate(addresses):
        own_ports = {"host": HOST, "port": address.port, "metrics_port": address.metrics_port}
        config = compiled.worker.model_copy(update={**own_ports, "evidence_port": own[3 * at + 2]})
        if store:
            config = config.model_copy(update={"store": config.store.model_copy(update=dict(store))})
        (folder / f"worker{at}.json").write_text(config.model_dump_json(by_alias=True))
    async with contextlib.AsyncExitStack() as stack:
        for name, command in _commands(folder, ports).items():
            await stack.enter_async_context(_process(folder, name, command))
        stack.push_async_callback(bed.client.aclose)
        stack.push_async_callback(_end_workers, bed)
        await until(lambda: _answers(bed, f"http://{HOST}:{ports[READY]}/ready"), 60)
        if start:
            for number in range(workers):
                await bed.start(number)
        yield bed


def _write(folder: Path, compiled: Any, manifests: Any, templates: Mapping[str, str]) -> None:
    for name in ("run", "config", "evidence", "secret", "templates"):
        (folder / name).mkdir()
    for number, part in enumerate(compiled.parts):
        (folder / "config" / f"part-{number:03}").write_bytes(part)
    (folder / "evidence" / "token").write_text("evidence-token")
    for name, content in worker_secret("seed of the test", compiled.revision).items():
        (folder / "secret" / name).write_text(content)
    for name, content in templates.items():
        (folder / "templates" / name).mkdir()
        (folder / "templates" / name / "templates.jsonl").write_text(content)
    for mount in compiled.mounts:
        target = folder / FOLDERS[mount.purpose] / mount.folder
        target.mkdir(parents=True, exist_ok=True)
        values = manifests.data.get((mount.kind, mount.namespace, mount.name), {})
        for name, value in values.items():
            if mount.key in (None, name):
                (target / (mount.path or name)).write_bytes(value)


def _commands(folder: Path, ports: Sequence[int]) -> dict[str, list[str]]:
    agent = ["moltbot_agent", "--config", str(folder / "config"), "--host", HOST, "--log-level", "WARNING"]
    agent += ["--evidence-token", str(folder / "evidence" / "token")]
    agent += ["--metrics-port", str(ports[METRICS]), "--evidence-port", str(ports[EVIDENCE])]
    agent += ["--drain-port", str(ports[DRAIN])]
    envoy = ["moltbot_agent.envoy", "--bootstrap", str(folder / "run" / "envoy.json"), "--concurrency", "1"]
    return {"agent": agent, "envoy": envoy}


@contextlib.asynccontextmanager
async def _process(folder: Path, name: str, command: Sequence[str]) -> AsyncIterator[None]:
    log = (folder / f"{name}.log").open("wb")
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", *command, stdout=log, stderr=log)
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await process.wait()


async def _end_workers(bed: Bed) -> None:
    for number, process in enumerate(bed.workers):
        if process is not None:
            await bed.kill(number)


async def _answers(bed: Bed, url: str) -> bool:
    try:
        return (await bed.client.get(url)).status_code == 200
    except httpx.HTTPError:
        return False
