"""`moltbot serve` with rules that need a worker: it works, changes, dies and ends with the server."""

import asyncio
import contextlib
import os
import signal
import threading

import httpx
import yaml
from gateway_bed import BODY, CHAT, backend, route, rule
from moltbot_provider import Provider
from test_serve_process import _children, _command, no_one, started
from test_serve_reload import Load, served, until

from moltbot_operator.serve.options import Options
from moltbot_operator.serve.server import serving
from moltbot_operator.serve.words import Words

CACHED = {**BODY, "temperature": 0}


async def in_use(bed):
    await bed.server.active.gateway.worker.used()


async def test_answers_are_kept_and_calls_in_flight_shared(tmp_path):
    async with Provider(name="a", delay=2) as a:
        objects = (route(rule("all", ["a"], cache={"ttl": "10m"}, coalesce=True)), backend("a", a.url))
        async with (
            served(tmp_path, *objects) as bed,
            httpx.AsyncClient(base_url=bed.server.url, timeout=60) as client,
        ):
            await in_use(bed)
            answers = await asyncio.gather(*(client.post(CHAT, json=CACHED) for _ in range(20)))
            again = await client.post(CHAT, json=CACHED)
    assert {each.status_code for each in answers} == {200}
    assert again.headers["x-moltbot-cache"] == "hit"
    assert len(a.requests) == 1
    assert "x-moltbot-coalesced" in {name for each in answers for name in each.headers}


async def test_a_job_is_taken_and_its_result_given(tmp_path):
    async with Provider(name="a") as a:
        objects = (route(rule("all", ["a"], **{"async": {}})), backend("a", a.url))
        async with (
            served(tmp_path, *objects) as bed,
            httpx.AsyncClient(base_url=bed.server.url, timeout=60) as client,
        ):
            await in_use(bed)
            taken = await client.post(CHAT, json=BODY, headers={"x-moltbot-async": "true"})
            assert taken.status_code == 202, taken.text
            where = f"/v1/jobs/{taken.json()['id']}"

            async def succeeded():
                return (await client.get(where)).json()["status"] == "succeeded"

            await until(succeeded)


async def test_a_worker_that_is_killed_costs_no_request_and_comes_back(tmp_path):
    async with Provider(name="a") as a:
        objects = (route(rule("all", ["a"], coalesce=True, cache={"ttl": "10m"})), backend("a", a.url))
        async with served(tmp_path, *objects) as bed, Load(bed.server.url, rate=50) as load:
            await in_use(bed)
            worker = bed.server.active.gateway.worker
            killed = worker.pid
            before = load.total("a")
            os.kill(killed, signal.SIGKILL)
            await until(lambda: worker.ends == 1 and worker.pid not in {None, killed})
            await in_use(bed)
            await until(lambda: load.total("a") > before + 50)
        assert any("the worker ended with code -9" in line for line in bed.words.last)
    assert set(load.seen) == {"a"}, load.seen


async def test_a_changed_file_brings_a_worker_of_its_own_without_a_failed_request(tmp_path):
    async with Provider(name="a") as a, Provider(name="b") as b:
        backends = [*backend("a", a.url), *backend("b", b.url)]

        def routed(name):
            return route(rule("all", [name], coalesce=True))

        async with (
            served(tmp_path, routed("a"), backends) as bed,
            Load(bed.server.url, rate=100) as load,
            httpx.AsyncClient(base_url=bed.server.url, timeout=60) as client,
        ):
            await in_use(bed)
            first = bed.server.active.gateway.worker.pid
            bed.write(routed("b"), backends)
            await until(lambda: load.total("b") > 50)
            worker = bed.server.active.gateway.worker
            assert await asyncio.to_thread(worker.state) == {"ready": True, "message": "", "ends": 0}
            assert worker.pid != first
            await until(lambda: not bed.server.draining)
            assert not _command(first)
            bed.write(route(rule("all", ["a"])), backends)
            await until(lambda: bed.server.active.gateway.worker is None)
            assert (await client.post(CHAT, json=BODY)).status_code == 200
    assert set(load.seen) == {"a", "b"}, load.seen


async def test_a_revision_whose_worker_does_not_stay_up_is_not_taken_over(tmp_path, monkeypatch):
    async with Provider(name="a") as a:
        async with served(tmp_path, route(rule("all", ["a"])), backend("a", a.url)) as bed:
            before = bed.revision
            monkeypatch.setattr("moltbot_operator.serve.worker.WORKER_CONFIG", "nothing.json")
            bed.write(route(rule("all", ["a"], coalesce=True)), backend("a", a.url))
            await until(lambda: bed.server.failure is not None)
            assert bed.revision == before
            assert "the worker does not stay up" in bed.server.failure
            assert "nothing.json" in bed.server.failure
            assert len(list(bed.server.home.run.iterdir())) == 1


async def test_a_revision_that_leaves_ends_its_jobs_first(tmp_path):
    async with Provider(name="a", delay=8) as a:
        objects = [route(rule("all", ["a"], **{"async": {}})), backend("a", a.url)]
        async with (
            served(tmp_path, *objects) as bed,
            httpx.AsyncClient(base_url=bed.server.url, timeout=60) as client,
        ):
            await in_use(bed)
            taken = await client.post(CHAT, json=BODY, headers={"x-moltbot-async": "true"})
            assert taken.status_code == 202
            bed.write(route(rule("other", ["a"])), backend("a", a.url))
            await until(lambda: bed.server.active.gateway.worker is None)
            await until(lambda: not bed.server.draining)
    assert [each.outcome for each in a.requests] == ["answered"]


async def test_it_warms_up_and_tells_how_the_worker_stands(tmp_path):
    templates = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "templates"},
        "data": {"one.jsonl": '{"messages":[{"role":"user","content":"hi"}],"model":"m","temperature":0}'},
    }
    warm = {"ttl": "10m", "warmUp": {"configMapRef": {"name": "templates"}}}
    async with Provider(name="a") as a:
        file = tmp_path / "in.yaml"
        objects = [route(rule("all", ["a"], cache=warm)), *backend("a", a.url), templates]
        file.write_text(yaml.safe_dump_all(objects))
        async with started(file, tmp_path) as (_, said), httpx.AsyncClient(timeout=60) as client:
            where = said[-1].split()[1].removesuffix("/metrics")

            async def ready():
                return ((await client.get(f"{where}/status")).json()["worker"] or {}).get("ready", False)

            await until(ready)
            text = (await client.get(f"{where}/metrics")).text
    assert any("a worker stands by for: all" in line for line in said)
    assert 'moltbot_worker_warm_up_total{outcome="warm"} 1.0' in text
    assert "moltbot_serve_worker_ends_total 0" in text
    assert text.count("# TYPE process_cpu_seconds_total") <= 1
    assert len(a.requests) == 1


async def test_nothing_is_left_of_a_server_that_is_killed(tmp_path):
    async with Provider(name="a") as a:
        file = tmp_path / "in.yaml"
        file.write_text(yaml.safe_dump_all([route(rule("all", ["a"], coalesce=True)), *backend("a", a.url)]))
        async with started(file, tmp_path) as (process, _):
            await until(lambda: len(_children(process.pid)) == 3)
            children = _children(process.pid)
            process.kill()
            await process.communicate()
        await until(lambda: no_one(children))


async def test_a_store_that_is_away_costs_the_feature_alone(tmp_path):
    store = {"type": "Redis", "url": "redis://127.0.0.1:9/0"}
    async with Provider(name="a") as a:
        file = tmp_path / "in.yaml"
        given = route(rule("all", ["a"], cache={"ttl": "10m"}), worker={"store": store})
        file.write_text(yaml.safe_dump_all([given, *backend("a", a.url)]))
        options = Options(files=(file,), port=0, state=tmp_path / "state", access_log=tmp_path / "log")
        async with contextlib.AsyncExitStack() as stack:
            server = await stack.enter_async_context(serving(options, Words(json=False), threading.Event()))
            await server.active.gateway.worker.used()
            client = await stack.enter_async_context(httpx.AsyncClient(base_url=server.url, timeout=60))
            answer = await client.post(CHAT, json=CACHED)
    assert answer.status_code == 200
    assert answer.headers["x-moltbot-cache"] == "bypass;reason=store"
