"""`moltbot serve`: the gateway of one route on one machine, in the foreground, without a cluster.

The same compiler, agent and Envoy as in a gateway pod; files are in a temporary folder, ports on loopback.
"""

import asyncio
import contextlib
import os
import secrets
import signal
import socket
import ssl
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from moltbot_agent.certificate import check_pair
from moltbot_agent.sources import Unusable
from moltbot_operator.compile import BackendRef, CompiledRoute, Files, Mount, compile_route
from moltbot_operator.constants import SYSTEM_CA
from moltbot_operator.errors import EnvoyRejected, InvalidInput
from moltbot_operator.serve_files import Manifests, read
from moltbot_operator.serve_keys import default_folder

__all__ = ["Gateway", "gateway", "run"]

_START: Final = timedelta(seconds=60)
"""How long agent and Envoy may take until they are ready."""

_STOP: Final = timedelta(seconds=10)
"""How long they may take to end before they are killed."""

_CA_FILES: Final = (SYSTEM_CA, "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem")
"""Where distributions keep the public CAs: Debian, Red Hat, others."""


@dataclass(frozen=True)
class Gateway:
    """A gateway that serves."""

    compiled: CompiledRoute
    url: str
    """Where clients go, without a path."""
    admin_port: int
    metrics_port: int
    folder: Path
    """Holds its files while it runs; the access log is `access.log` unless it goes to standard output."""
    jwks: Mapping[BackendRef, Path]
    """Where the public half of each managed signing key is."""
    ended: "asyncio.Task[str]"
    """Done as soon as the agent or Envoy ends by itself; says which, and with which code."""


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
    """
    with tempfile.TemporaryDirectory(prefix="moltbot-") as name:
        folder = Path(name)
        ports = _free_ports(address, port)
        files = Files(
            loopback=True,
            run=str(folder / "run"),
            credentials=str(folder / "credentials"),
            consumers=str(folder / "consumers"),
            ca=str(folder / "ca"),
            jwks=str(folder / "jwks"),
            tls=str(folder / "tls"),
            system_ca=_system_ca(),
            access_log=str(access_log or "/dev/stdout"),
            listen_address=address,
            gateway_port=ports[0],
            ready_port=ports[1],
            admin_port=ports[2],
        )
        jwks = manifests.make_keys(keys or default_folder())
        compiled = compile_route(manifests.sources(route, endpoints or {}, files))
        _write(folder, compiled, manifests)
        scheme = "http" if compiled.agent.certificate is None else "https"
        async with contextlib.AsyncExitStack() as stack:
            agent = await stack.enter_async_context(_process(folder, "agent", *_agent_command(folder, ports)))
            envoy = await stack.enter_async_context(
                _process(folder, "envoy", *_envoy_command(folder, concurrency))
            )
            ended = asyncio.create_task(_first_end({"the agent": agent, "Envoy": envoy}))
            stack.callback(ended.cancel)
            await _ready({"/ready": (address, ports[1]), "/healthz": ("127.0.0.1", ports[3])}, ended, folder)
            url = f"{scheme}://{address}:{ports[0]}"
            yield Gateway(compiled, url, ports[2], ports[3], folder, jwks, ended)


def _agent_command(folder: Path, ports: Sequence[int]) -> tuple[str, ...]:
    return (
        "moltbot_agent",
        *("--config", str(folder / "config")),
        *("--evidence-token", str(folder / "evidence" / "token")),
        *("--host", "127.0.0.1"),
        *("--metrics-port", str(ports[3])),
        *("--evidence-port", str(ports[4])),
        *("--drain-port", str(ports[5])),
        *("--log-level", "WARNING"),
    )


def _envoy_command(folder: Path, concurrency: int) -> tuple[str, ...]:
    return (
        "moltbot_agent.envoy",
        *("--bootstrap", str(folder / "run" / "envoy.json")),
        *("--concurrency", str(concurrency)),
    )


def _free_ports(address: str, port: int) -> list[int]:
    """The gateway's port, then five free ones; InvalidInput where the given one is taken."""
    with contextlib.ExitStack() as stack:
        found = []
        for host, wanted in ((address, port), (address, 0), *(("127.0.0.1", 0),) * 4):
            listener = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listener.bind((host, wanted))
            except OSError as error:
                raise InvalidInput(
                    f"{host}:{wanted} can't be listened on: {error.strerror}; choose another"
                ) from error
            found.append(listener.getsockname()[1])
        return found


def _system_ca() -> str:
    known = (*_CA_FILES, ssl.get_default_verify_paths().cafile or "")
    return next((file for file in known if os.path.isfile(file)), SYSTEM_CA)  # noqa: PTH113 - may be ""


def _write(folder: Path, compiled: CompiledRoute, manifests: Manifests) -> None:
    """Everything that a pod would have mounted."""
    for name in ("run", "config", "evidence"):
        (folder / name).mkdir()
    for number, part in enumerate(compiled.parts):
        (folder / "config" / f"part-{number:03}").write_bytes(part)
    (folder / "evidence" / "token").write_text(secrets.token_urlsafe())
    for mount in compiled.mounts:
        _write_mount(folder, mount, manifests)
    if compiled.agent.certificate is not None:
        _check_certificate(compiled.agent.certificate.source)


_TOPS: Final = {
    "credential": "credentials",
    "consumer": "consumers",
    "ca": "ca",
    "jwks": "jwks",
    "tls": "tls",
}
"""Folder of each purpose."""


def _check_certificate(folder: Path) -> None:
    """Envoy would not start without a usable pair."""
    try:
        check_pair(*((folder / name).read_bytes() for name in ("tls.crt", "tls.key")))
    except FileNotFoundError as error:
        raise InvalidInput(
            f"the Secret of gateway.tls.secretRef with the key {Path(error.filename).name} is in none of the "
            "files: add it"
        ) from error
    except Unusable as error:
        raise InvalidInput(f"the Secret of gateway.tls.secretRef {error}") from error


def _write_mount(folder: Path, mount: Mount, manifests: Manifests) -> None:
    """Secrets and keys that are missing leave their folder empty, as in a pod."""
    target = folder / _TOPS[mount.purpose] / mount.folder
    target.mkdir(parents=True, exist_ok=True)
    values = manifests.data.get((mount.kind, mount.namespace, mount.name), {})
    if mount.key is None:
        for name, value in values.items():
            (target / name).write_bytes(value)
    elif mount.key in values and mount.path is not None:
        (target / mount.path).write_bytes(values[mount.key])
    elif mount.purpose == "ca":
        raise InvalidInput(
            f"{mount.kind} {mount.namespace}/{mount.name} with the key {mount.key} (a backend's caRef) "
            "is in none of the files: add it"
        )


@contextlib.asynccontextmanager
async def _process(
    folder: Path, name: str, module: str, *arguments: str
) -> AsyncIterator[asyncio.subprocess.Process]:
    """A Python module as a process; its complaints are kept in a file. Ended with the block."""
    with (folder / f"{name}.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", module, *arguments, stderr=log, start_new_session=True
        )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            await asyncio.wait_for(process.wait(), _STOP.total_seconds())
        except TimeoutError:
            process.kill()
            await process.wait()


async def _first_end(processes: Mapping[str, asyncio.subprocess.Process]) -> str:
    waits = {asyncio.create_task(process.wait()): name for name, process in processes.items()}
    try:
        done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
    first = done.pop()
    return f"{waits[first]} ended with code {first.result()}"


async def _ready(asked: Mapping[str, tuple[str, int]], ended: "asyncio.Task[str]", folder: Path) -> None:
    """Wait until every path is answered 200 at its address."""
    deadline = asyncio.get_running_loop().time() + _START.total_seconds()
    for path, (address, port) in asked.items():
        while not await _answers(address, port, path):
            if ended.done():
                raise EnvoyRejected(f"{ended.result()}:\n{_complaints(folder)}")
            if asyncio.get_running_loop().time() > deadline:
                raise EnvoyRejected(f"the gateway was not ready after {_START}:\n{_complaints(folder)}")
            await asyncio.sleep(0.02)


async def _answers(address: str, port: int, path: str) -> bool:
    try:
        reader, writer = await asyncio.open_connection(address, port)
    except OSError:
        return False
    try:
        writer.write(f"GET {path} HTTP/1.1\r\nhost: gateway\r\nconnection: close\r\n\r\n".encode())
        return b" 200 " in await reader.readline()
    except OSError:
        return False
    finally:
        writer.close()


def _complaints(folder: Path) -> str:
    """The end of what agent and Envoy wrote."""
    logs = [(folder / f"{name}.log").read_text(errors="replace")[-4000:] for name in ("agent", "envoy")]
    return "\n".join(filter(None, logs)) or "they said nothing"


def run(
    files: Sequence[Path],
    *,
    route: str | None = None,
    address: str = "127.0.0.1",
    port: int = 8080,
    endpoints: Mapping[str, str] | None = None,
    keys: Path | None = None,
) -> int:
    """Serve until SIGINT or SIGTERM; 0 then, 1 if agent or Envoy ends by itself.

    InvalidInput and EnvoyRejected as :func:`gateway`.
    """
    options = {"route": route, "address": address, "port": port, "endpoints": endpoints or {}, "keys": keys}
    return asyncio.run(_run(read(files), options))


async def _run(manifests: Manifests, options: Mapping[str, Any]) -> int:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with gateway(manifests, **options) as running:
        _tell(running)
        stopped = asyncio.create_task(stop.wait())
        await asyncio.wait({stopped, running.ended}, return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        if stop.is_set():
            return 0
        _say(f"{running.ended.result()}:\n{_complaints(running.folder)}")
        return 1


def _tell(running: Gateway) -> None:
    """Where to go, and what is not as written."""
    compiled = running.compiled
    for rule in compiled.rules:
        if rule.problem is not None:
            _say(f"{'degraded' if rule.serving else 'refused'}: {rule.problem.message}")
    for warning in compiled.warnings:
        _say(f"warning: {warning.message}")
    for ref, file in running.jwks.items():
        _say(f"backend {ref} is sent tokens of a key whose JWKS is {file}")
    _say(f"serving {compiled.agent.namespace}/{compiled.agent.route}, revision {compiled.revision}")
    _say(f"base_url {running.url}/v1")
    _say(f"metrics  http://127.0.0.1:{running.metrics_port}/metrics")


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)  # noqa: T201 - the command's own words; records go to standard output
