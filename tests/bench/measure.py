"""Load on one gateway, and what it costs: latencies by the generator, CPU time and memory by /proc."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "provider"))

from free_ports import free_port  # noqa: E402, F401 - for all benchmarks; a module of a folder beside this one

SOURCES = HERE / "gateway_load"
MODEL = "bench"
SIZE = 1024
TICKS = os.sysconf("SC_CLK_TCK")


def body_of(**more):
    """A chat request of 1 KB."""
    given = {"model": MODEL, **more, "messages": [{"role": "user", "content": ""}]}
    missing = SIZE - len(json.dumps(given, separators=(",", ":")))
    given["messages"][0]["content"] = "x" * missing
    return json.dumps(given, separators=(",", ":"))


BODY = body_of()


class Failed(Exception):  # noqa: N818
    """More than one request in a thousand was not answered by 200."""


@dataclass(frozen=True)
class Target:
    """Where to send requests, and whose CPU time counts."""

    name: str
    address: str
    roots: tuple[int, ...]
    """Process ids whose trees are the gateway; none for `direct`."""
    path: str = "/v1/chat/completions"
    headers: tuple[str, ...] = ()
    body: str = BODY
    version: str = ""
    streams: bool = True

    def streamed(self):
        return self.body.replace('{"model"', '{"stream":true,"model"', 1)


def build(folder):
    """The mock upstream and load generator, built by Go."""
    program = folder / "gateway_load"
    subprocess.run(["go", "build", "-o", str(program), "."], cwd=SOURCES, check=True)
    return program


@contextlib.asynccontextmanager
async def process(name, command, env=None):
    """A process of its own group, with its log; ended with the block."""
    with tempfile.TemporaryDirectory(prefix=f"bench-{name}-") as folder:
        log = Path(folder) / "log"
        with log.open("wb") as output:
            started = await asyncio.create_subprocess_exec(
                *command,
                stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True, cwd=folder,
                env={**os.environ, **(env or {})},
            )  # fmt: skip
        try:
            yield started.pid, log
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(started.pid, signal.SIGTERM)
            try:
                await asyncio.wait_for(started.wait(), 10)
            except TimeoutError:
                os.killpg(started.pid, signal.SIGKILL)
                await started.wait()


async def until_answers(target, seconds=60):
    """Seconds from now until the first 200; TimeoutError with the last answer."""
    loop = asyncio.get_running_loop()
    begin, said = loop.time(), "nothing"
    while loop.time() - begin < seconds:
        try:
            said = await asyncio.wait_for(first_bytes(target), 10)
        except (OSError, TimeoutError) as error:
            said = repr(error)
        if said.startswith("HTTP/1.1 200"):
            return loop.time() - begin
        await asyncio.sleep(0.01)
    raise TimeoutError(said[:500])


async def first_bytes(target):
    """The first 2,000 bytes of one answer, as text."""
    host, port = target.address.split(":")
    reader, writer = await asyncio.open_connection(host, port)
    try:
        extra = "".join(f"{header}\r\n" for header in target.headers)
        writer.write(
            f"POST {target.path} HTTP/1.1\r\nhost: {target.address}\r\ncontent-type: application/json\r\n"
            f"connection: close\r\ncontent-length: {len(target.body)}\r\n{extra}\r\n{target.body}".encode()
        )
        return (await reader.read(2000)).decode(errors="replace")
    finally:
        writer.close()


class Load:
    """Runs the generator against targets."""

    def __init__(self, program):
        self.program = program

    async def run(self, target, *, seconds, connections=16, rate=0.0, stream=False):
        """The generator's figures, with `cpu_us` a request and `memory_mb`."""
        command = [str(self.program), "load", "-address", target.address, "-path", target.path]
        command += ["-body", target.streamed() if stream else target.body, "-seconds", str(seconds)]
        command += ["-connections", str(connections), "-rate", str(rate)]
        for header in target.headers:
            command += ["-header", header]
        before = cpu_seconds(target.roots)
        running = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
        output, _ = await running.communicate()
        used = cpu_seconds(target.roots) - before
        found = json.loads(output)
        if found["requests"] == 0 or found["failed"] > found["requests"] / 1000:
            count = found["failed"] + found["requests"]
            raise Failed(f"{found['failed']} of {count} requests failed: {found['reason']}")
        found["rps"] = found["requests"] / found["seconds"]
        found["cpu_us"] = used * 1e6 / found["requests"]
        found["memory_mb"] = memory_mb(target.roots)
        return found


def tree(roots):
    """The processes below `roots`, themselves included."""
    children = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                parent = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
                children.setdefault(parent, []).append(int(entry.name))
    found, left = [], list(roots)
    while left:
        found.append(left.pop())
        left += children.get(found[-1], [])
    return found


def cpu_seconds(roots):
    """User and system time of the trees, and of their children that have ended."""
    total = 0
    for pid in tree(roots):
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
            total += sum(int(field) for field in fields[11:15])
    return total / TICKS


def memory_mb(roots):
    """Resident memory of the trees; shared pages count once for each process."""
    total = 0
    for pid in tree(roots):
        with contextlib.suppress(OSError):
            lines = Path(f"/proc/{pid}/status").read_text().splitlines()
            total += sum(int(line.split()[1]) for line in lines if line.startswith("VmRSS:"))
    return total / 1024
