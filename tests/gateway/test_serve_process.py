"""`moltbot serve` as a process: words, codes, signals, and nothing left behind."""

import asyncio
import contextlib
import os
import signal
import sys
from pathlib import Path

import httpx
import pytest
import yaml
from gateway_bed import BODY, CHAT, backend, route, rule
from moltbot_provider import Provider

from moltbot_operator import serve
from moltbot_operator.errors import EnvoyRejected, InvalidInput
from moltbot_operator.serve_files import read

SERVE = """
import sys
from pathlib import Path
from moltbot_operator.serve import run

sys.exit(run([Path(sys.argv[1])], port=0))
"""


@contextlib.asynccontextmanager
async def started(file, folder):
    """The process and what it said until it served; told to stop in any case."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", SERVE, str(file)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "TMPDIR": str(folder)},
    )
    try:
        said = []
        async with asyncio.timeout(60):
            while not said or not said[-1].startswith("metrics"):
                line = (await process.stderr.readline()).decode()
                assert line, said
                said.append(line.strip())
        yield process, said
    finally:
        if process.returncode is None:
            process.terminate()
            await process.communicate()


def written(folder, *objects):
    file = folder / "in.yaml"
    file.write_text(yaml.safe_dump_all(objects))
    return file


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_it_serves_until_it_is_told_to_stop(tmp_path, number):
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    async with Provider(name="a") as a:
        file = written(tmp_path, route(rule("all", ["a", "gone"])), *backend("a", a.url))
        async with started(file, temporary) as (process, said):
            base = next(line.split()[1] for line in said if line.startswith("base_url"))
            async with httpx.AsyncClient() as client:
                answer = await client.post(base.removesuffix("/v1") + CHAT, json=BODY)
                metrics = await client.get(said[-1].split()[1])
            children = _children(process.pid)
            process.send_signal(number)
            output, _ = await process.communicate()
    assert answer.status_code == 200
    assert metrics.status_code == 200
    assert any(line.startswith("degraded: rule all") for line in said)
    assert process.returncode == 0
    assert b'"rule":"all"' in output
    assert len(children) == 2
    assert not [child for child in children if _command(child)]
    assert os.listdir(temporary) == []  # noqa: PTH208 - no pathlib in async tests


async def test_it_ends_with_1_if_envoy_does(tmp_path):
    file = written(tmp_path, route(rule("all", ["a"])), *backend("a", "http://127.0.0.1:9"))
    async with started(file, tmp_path) as (process, _):
        envoy = next(child for child in _children(process.pid) if b"envoy.json" in _command(child))
        os.kill(envoy, signal.SIGKILL)
        _, said = await process.communicate()
    assert process.returncode == 1
    assert b"Envoy ended with code -9" in said


async def test_a_port_that_is_taken(tmp_path):
    manifests = read([written(tmp_path, route(rule("all", ["a"])), *backend("a", "http://127.0.0.1:9"))])
    taken = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    async with taken:
        port = taken.sockets[0].getsockname()[1]
        with pytest.raises(InvalidInput, match=f"127.0.0.1:{port}"):
            async with serve.gateway(manifests, port=port):
                pass


async def test_a_private_ca_that_is_missing(tmp_path):
    endpoint = {"url": "https://a.example", "tls": {"caRef": {"name": "corp"}}}
    manifests = read([written(tmp_path, route(rule("all", ["a"])), *backend("a", "", endpoint=endpoint))])
    with pytest.raises(InvalidInput, match="ConfigMap default/corp"):
        async with serve.gateway(manifests):
            pass


async def test_what_envoy_refuses_is_told_in_its_words(tmp_path):
    endpoint = {"url": "https://a.example", "tls": {"caRef": {"name": "corp"}}}
    config_map = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "corp"},
        "data": {"ca.crt": "junk"},
    }
    file = written(tmp_path, route(rule("all", ["a"])), *backend("a", "", endpoint=endpoint), config_map)
    with pytest.raises(EnvoyRejected, match="certificate"):
        async with serve.gateway(read([file])):
            pass


def _children(pid):
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _command(pid):
    file = Path(f"/proc/{pid}/cmdline")
    return file.read_bytes() if file.exists() else b""
