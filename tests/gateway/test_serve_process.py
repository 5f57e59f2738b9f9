"""`moltbot serve` as a process: words, codes, signals, and nothing left behind."""

import asyncio
import contextlib
import json
import os
import resource
import signal
import sys
import threading
from pathlib import Path

import httpx
import pytest
import yaml
from free_ports import free_port
from gateway_bed import BODY, CHAT, backend, route, rule, until
from moltbot_provider import Provider

from moltbot_operator import serve
from moltbot_operator.errors import EnvoyRejected, InvalidInput
from moltbot_operator.serve.files import read
from moltbot_operator.serve.options import Options
from moltbot_operator.serve.server import serving
from moltbot_operator.serve.words import Words

SERVE = """
import sys
import threading
import time
from pathlib import Path
from moltbot_operator.serve import run

options = {"state": Path(sys.argv[2]), "metrics_port": 0, "concurrency": 1}
sys.exit(run([Path(sys.argv[1])], port=int(sys.argv[3]), **options))
"""


@contextlib.asynccontextmanager
async def started(file, folder, port=0):
    """The process and what it said until it served; told to stop in any case."""
    variables = {name: value for name, value in os.environ.items() if not name.endswith("RUNTIME_DIR")}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", SERVE, str(file), str(file.parent / "state"), str(port)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**variables, "TMPDIR": str(folder)},
    )
    try:
        said = []
        async with asyncio.timeout(60):
            while not said or not said[-1].startswith("metrics"):
                line = (await process.stderr.readline()).decode()
                assert line, said
                said.append(json.loads(line)["message"])
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
    assert [file.name for file in (tmp_path / "state").rglob("*") if file.is_file()] == ["lock"]


async def test_it_ends_with_1_if_envoy_does(tmp_path):
    file = written(tmp_path, route(rule("all", ["a"])), *backend("a", "http://127.0.0.1:9"))
    async with started(file, tmp_path) as (process, _):
        envoy = next(child for child in _children(process.pid) if b"envoy.json" in _command(child))
        os.kill(envoy, signal.SIGKILL)
        _, said = await process.communicate()
    assert process.returncode == 1
    assert b"Envoy ended with code -9" in said


async def test_a_server_that_was_killed_leaves_nothing_that_the_next_one_does_not_clean(tmp_path):
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    async with Provider(name="a") as a:
        file = written(tmp_path, route(rule("all", ["a"])), *backend("a", a.url))
        async with started(file, temporary) as (process, said):
            url = next(line.split()[1] for line in said if line.startswith("base_url")).removesuffix("/v1")
            children = _children(process.pid)
            process.kill()
            await process.communicate()
        assert len(children) == 2
        await until(lambda: no_one(children))
        assert len(os.listdir(temporary)) == 1  # noqa: PTH208
        async with started(file, temporary, int(url.rpartition(":")[2])) as (process, said):
            assert said[0].startswith("cleaned up after a server that was killed")
            async with httpx.AsyncClient() as client:
                assert (await client.post(url + CHAT, json=BODY)).status_code == 200
            process.terminate()
            await process.communicate()
    assert os.listdir(temporary) == []  # noqa: PTH208


@pytest.mark.parametrize("moment", ["file written", "agent started", "envoy started", "handed over"])
async def test_a_server_that_is_killed_amid_a_reload_is_followed_by_one_of_the_new_file(tmp_path, moment):
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    async with Provider(name="a", event_gap=0.2) as a, Provider(name="b") as b:
        backends = [*backend("a", a.url), *backend("b", b.url)]
        file = written(tmp_path, route(rule("all", ["a"])), *backends)
        async with started(file, temporary) as (process, said), httpx.AsyncClient(timeout=60) as client:
            url = next(line.split()[1] for line in said if line.startswith("base_url")).removesuffix("/v1")
            before = set(_children(process.pid))

            def new(name):
                return [
                    each for each in _children(process.pid) if each not in before and name in _command(each)
                ]

            async def reached():
                if moment == "file written":
                    return True
                if moment == "handed over":
                    answer = await client.post(url + CHAT, json=BODY, headers={"connection": "close"})
                    return answer.headers["x-moltbot-backend"] == "b"
                return bool(new(b"moltbot_agent" if moment == "agent started" else b"envoy.json"))

            body = {**BODY, "stream": True, "max_tokens": 200}  # which keeps the old revision
            async with client.stream("POST", url + CHAT, json=body) as stream:
                await anext(stream.aiter_raw())
                written(tmp_path, route(rule("all", ["b"])), *backends)
                async with asyncio.timeout(30):
                    while not await reached():  # noqa: ASYNC110 - to be killed as soon as it holds
                        await asyncio.sleep(0.001)
                children = before | set(_children(process.pid))
                process.kill()
                await process.communicate()
            await until(lambda: no_one(children))
            async with started(file, temporary, int(url.rpartition(":")[2])) as (second, told):
                assert told[0].startswith("cleaned up after a server that was killed")
                answer = await client.post(url + CHAT, json=BODY)
                assert (answer.status_code, answer.headers["x-moltbot-backend"]) == (200, "b")
                second.terminate()
                await second.communicate()
    assert os.listdir(temporary) == []  # noqa: PTH208


@pytest.mark.parametrize("part", [b"moltbot_agent", b"envoy.json"])
async def test_a_new_revision_that_is_killed_while_it_starts_does_not_end_the_old_one(tmp_path, part):
    async with Provider(name="a") as a, Provider(name="b") as b:
        backends = [*backend("a", a.url), *backend("b", b.url)]
        file = written(tmp_path, route(rule("all", ["a"])), *backends)
        async with started(file, tmp_path) as (process, said), httpx.AsyncClient(timeout=60) as client:
            url = next(line.split()[1] for line in said if line.startswith("base_url")).removesuffix("/v1")
            before = set(_children(process.pid))
            written(tmp_path, route(rule("all", ["b"])), *backends)

            async def killed():
                new = [each for each in set(_children(process.pid)) - before if part in _command(each)]
                for each in new:
                    os.kill(each, signal.SIGKILL)
                return bool(new)

            async def served():
                answer = await client.post(url + CHAT, json=BODY)
                assert answer.status_code == 200
                return answer.headers["x-moltbot-backend"] == "b"

            await until(killed)
            await until(served)


LIMITED = """
import resource
import sys
from moltbot_operator.cli import main

room = int(sys.argv.pop(1))
resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))
sys.exit(main())
"""


@pytest.mark.parametrize("room", [100, 2000], ids=["no state", "no configuration"])
async def test_a_full_disk_at_the_start_is_told_with_the_folder_and_the_remedy(tmp_path, room):
    file = written(tmp_path, route(rule("all", ["a"])), *backend("a", "http://127.0.0.1:9"))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", LIMITED, str(room), "serve", str(file)),
        *("--state", str(tmp_path / "state"), "--port", str(free_port())),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "TMPDIR": str(tmp_path), "XDG_RUNTIME_DIR": ""},
    )
    _, said = await process.communicate()
    assert process.returncode == 1
    assert b"can't be written: File too large; make room there" in said
    assert str(tmp_path).encode() in said
    assert b"Traceback" not in said
    assert not list(tmp_path.glob("moltbot-*"))


async def test_a_full_disk_at_a_reload_changes_nothing_and_it_is_tried_again(tmp_path):
    async with Provider(name="a") as a, Provider(name="b") as b:
        backends = [*backend("a", a.url), *backend("b", b.url)]
        file = written(tmp_path, route(rule("all", ["a"])), *backends)
        async with started(file, tmp_path) as (process, said), httpx.AsyncClient(timeout=60) as client:
            url = next(line.split()[1] for line in said if line.startswith("base_url")).removesuffix("/v1")

            async def by():
                answer = await client.post(url + CHAT, json=BODY)
                assert answer.status_code == 200
                return answer.headers["x-moltbot-backend"]

            endless = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
            resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (100, resource.RLIM_INFINITY))
            written(tmp_path, route(rule("all", ["b"])), *backends)
            told = json.loads(await process.stderr.readline())["message"]
            assert "can't be written: File too large; make room there" in told
            assert "tried again in" in told
            assert await by() == "a"
            resource.prlimit(process.pid, resource.RLIMIT_FSIZE, endless)

            async def served():
                return await by() == "b"

            await until(served)


async def test_a_second_server_of_the_same_address_names_the_first(tmp_path):
    file = written(tmp_path, route(rule("all", ["a"])), *backend("a", "http://127.0.0.1:9"))
    async with started(file, tmp_path) as (process, said):
        port = int(next(line for line in said if line.startswith("base_url")).split(":")[2].split("/")[0])
        with pytest.raises(InvalidInput, match=f"process {process.pid} serves 127.0.0.1:{port} already"):
            async with serving(
                Options(files=(file,), port=port, state=tmp_path / "state"),
                Words(json=False),
                threading.Event(),
            ):
                pass


async def test_an_agent_that_is_killed_is_started_again_and_requests_go_on(tmp_path):
    async with Provider(name="a") as a:
        file = written(tmp_path, route(rule("all", ["a"])), *backend("a", a.url))
        async with started(file, tmp_path) as (process, said):
            url = next(line.split()[1] for line in said if line.startswith("base_url")).removesuffix("/v1")
            agent = next(child for child in _children(process.pid) if b"moltbot_agent" in _command(child))
            async with httpx.AsyncClient() as client:
                os.kill(agent, signal.SIGKILL)
                assert (await client.post(url + CHAT, json=BODY)).status_code == 200

                async def again():
                    return (await client.get(said[-1].split()[1])).status_code == 200

                await until(again)
                assert len(_children(process.pid)) == 2


async def no_one(children):
    return not [child for child in children if _command(child)]


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
