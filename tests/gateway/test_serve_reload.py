"""`moltbot serve` takes over changed files: without a failed request, or not at all."""

import asyncio
import collections
import contextlib
import json
import threading

import aiohttp
import httpx
import pytest
import yaml
from gateway_bed import BODY, CHAT, backend, keyed, route, rule, secret
from gateway_bed import until as until_async
from moltbot_provider import Provider

from moltbot_operator.serve import server as server_module
from moltbot_operator.serve.options import Options
from moltbot_operator.serve.server import serving
from moltbot_operator.serve.words import Words


async def until(holds):
    """Also of what can be seen at once."""

    async def held():
        found = holds()
        return await found if asyncio.iscoroutine(found) else found

    await until_async(held, 60)


class Bed:
    def __init__(self, server, file, words):
        self.server = server
        self.file = file
        self.words = words

    def write(self, *objects, text=None):
        self.file.write_text(yaml.safe_dump_all(flat(objects)) if text is None else text)

    @property
    def revision(self):
        return self.server.active.identity.revision


def flat(objects):
    return [each for given in objects for each in (given if isinstance(given, list) else [given])]


@contextlib.asynccontextmanager
async def served(folder, *objects, concurrency=2):
    file = folder / "in.yaml"
    file.write_text(yaml.safe_dump_all(flat(objects)))
    words = Words(json=False)
    options = Options(
        files=(file,), port=0, state=folder / "state", access_log=folder / "log", concurrency=concurrency
    )
    async with serving(options, words, threading.Event()) as server:
        keeping = asyncio.create_task(server.keep())
        try:
            yield Bed(server, file, words)
        finally:
            keeping.cancel()


class Load:
    """Requests at a steady rate, half of them on new connections; counts what comes of them."""

    def __init__(self, url, rate=200):
        self.url = url
        self.pause = 1 / rate
        self.seen = collections.Counter()

    async def __aenter__(self):
        self.kept = aiohttp.ClientSession()
        self.fresh = aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True, limit=0))
        self.task = asyncio.create_task(self.run())
        return self

    async def __aexit__(self, *_):
        self.task.cancel()
        await asyncio.gather(self.task, *self.tasks, return_exceptions=True)
        await self.kept.close()
        await self.fresh.close()

    async def run(self):
        self.tasks = []
        loop = asyncio.get_running_loop()
        begin = loop.time()
        for number in range(1_000_000):
            self.tasks.append(asyncio.create_task(self.ask(self.fresh if number % 2 else self.kept)))
            await asyncio.sleep(max(0, begin + number * self.pause - loop.time()))

    async def ask(self, session):
        try:
            async with session.post(self.url + CHAT, json=BODY) as answer:
                text = await answer.text()
                name = answer.headers.get("x-moltbot-backend", "")
                self.seen[answer.status if answer.status != 200 else name] += 1
                assert text
        except (aiohttp.ClientError, TimeoutError) as error:
            self.seen[repr(error)] += 1

    def total(self, name):
        return self.seen[name]


async def test_a_changed_file_is_served_without_a_failed_request(tmp_path):
    async with Provider(name="a") as a, Provider(name="b") as b:
        backends = [*backend("a", a.url), *backend("b", b.url)]
        async with served(tmp_path, route(rule("all", ["a"])), backends) as bed, Load(bed.server.url) as load:
            first = bed.revision
            for name in ("b", "a", "b"):
                before = load.total(name)
                bed.write(route(rule("all", [name])), backends)
                await until(lambda name=name, before=before: load.total(name) > before + 50)
            second = bed.revision
            await until(lambda: not bed.server.draining)
    assert set(load.seen) == {"a", "b"}, load.seen
    assert second != first
    assert bed.server.reloads["success"] == 3


async def test_a_stream_ends_whole_though_its_revision_is_replaced(tmp_path):
    async with Provider(name="a", event_gap=0.15) as a:
        async with served(tmp_path, route(rule("all", ["a"])), backend("a", a.url)) as bed:
            body = {**BODY, "stream": True, "max_tokens": 30}
            async with (
                httpx.AsyncClient(base_url=bed.server.url, timeout=60) as client,
                client.stream("POST", CHAT, json=body) as answer,
            ):
                lines = answer.aiter_lines()
                got = [await anext(lines)]
                bed.write(route(rule("other", ["a"])), backend("a", a.url))
                await until(lambda: bed.server.reloads["success"] == 1)
                got += [line async for line in lines]
    assert answer.status_code == 200
    assert "data: [DONE]" in got


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("kind: [", "line 2 column 1"),
        (json.dumps({"apiVersion": "moltbot.io/v1alpha1", "kind": "MoltBotRoute"}), "metadata"),
        ("", "no MoltBotRoute"),
    ],
)
async def test_a_bad_file_changes_nothing_and_is_named(tmp_path, text, said):
    async with Provider(name="a") as a:
        given = (route(rule("all", ["a"])), backend("a", a.url))
        async with served(tmp_path, *given) as bed, httpx.AsyncClient(base_url=bed.server.url) as client:
            before = bed.revision, bed.server.active.gateway.envoy_pid
            bed.write(text=text)
            await until(lambda: bed.server.failure is not None)
            answer = await client.post(CHAT, json=BODY)
            assert answer.status_code == 200
            assert (bed.revision, bed.server.active.gateway.envoy_pid) == before
            assert said in bed.server.failure
            assert "goes on" in bed.words.last[-1]
            bed.write(*given)
            await until(lambda: bed.server.failure is None)
            assert bed.server.active.gateway.envoy_pid == before[1]


async def test_what_envoy_refuses_changes_nothing(tmp_path):
    async with Provider(name="a") as a:
        async with served(tmp_path, route(rule("all", ["a"])), backend("a", a.url)) as bed:
            before = bed.server.active.gateway.envoy_pid
            endpoint = {"url": "https://a.example", "tls": {"caRef": {"name": "corp"}}}
            junk = {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"name": "corp"},
                "data": {"ca.crt": "x"},
            }
            bed.write(route(rule("all", ["a"])), backend("a", "", endpoint=endpoint), junk)
            await until(lambda: bed.server.failure is not None)
            assert bed.server.active.gateway.envoy_pid == before
            assert "certificate" in bed.server.failure
            assert len(list(bed.server.home.run.iterdir())) == 1


async def test_a_new_key_is_taken_without_a_new_revision(tmp_path):
    async with Provider(name="a") as a:
        objects = (route(rule("all", ["a"]), consumers=[keyed("app", "a")]), backend("a", a.url))
        async with served(tmp_path, *objects, secret("app-keys", one="sk-old")) as bed:
            before = bed.revision, bed.server.active.gateway.envoy_pid
            async with httpx.AsyncClient(base_url=bed.server.url) as client:

                async def status(key):
                    answer = await client.post(CHAT, json=BODY, headers={"authorization": f"Bearer {key}"})
                    return answer.status_code

                assert await status("sk-old") == 200
                bed.write(*objects, secret("app-keys", two="sk-new"))

                async def replaced():
                    return await status("sk-new") == 200 and await status("sk-old") == 401

                await until(replaced)
            assert (bed.revision, bed.server.active.gateway.envoy_pid) == before


async def test_a_key_that_can_not_be_used_is_named_once(tmp_path):
    async with Provider(name="a") as a:
        objects = (route(rule("all", ["a"]), consumers=[keyed("app", "a")]), backend("a", a.url))
        async with served(tmp_path, *objects, secret("app-keys", one="sk-1", bad="two\nlines")) as bed:
            first = "consumer app: key bad has more than one line"
            assert [each for each in bed.words.last if first in each], bed.words.last
            bed.write(*objects, secret("app-keys", one="sk-1", bad="two\nlines", worse="\x00"))

            async def told():
                return any("consumer app: key worse" in each for each in bed.words.last)

            await until(told)
            assert len([each for each in bed.words.last if first in each]) == 1
            assert not [each for each in bed.words.last if "sk-1" in each]


async def test_files_of_a_folder_are_served_and_new_ones_noticed(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    async with Provider(name="a") as a:
        (folder / "1.yaml").write_text(yaml.safe_dump_all(flat([route(rule("all", ["a"]))])))
        (folder / "2.yml").write_text(yaml.safe_dump_all(backend("a", a.url)))
        (folder / "README.md").write_text("not a manifest")
        options = Options(
            files=(folder,), port=0, state=tmp_path / "state", access_log=tmp_path / "log", concurrency=1
        )
        async with serving(options, Words(json=False), threading.Event()) as server:
            first = server.active.identity.revision
            keeping = asyncio.create_task(server.keep())
            (folder / "2.yml").write_text(yaml.safe_dump_all(backend("a", a.url, timeouts={"connect": "1s"})))
            await until(lambda: server.active.identity.revision != first)
            keeping.cancel()


async def test_a_reload_that_is_asked_for_needs_no_change(tmp_path):
    async with Provider(name="a") as a:
        async with served(tmp_path, route(rule("all", ["a"])), backend("a", a.url)) as bed:
            bed.server.reload()
            await until(lambda: bed.server.reloads["unchanged"] == 1)


async def test_a_revision_that_reports_another_name_does_not_get_the_port(tmp_path, monkeypatch):
    async def another(_revision):
        raise server_module.MoltBotError("Envoy reports revision x")

    monkeypatch.setattr(server_module, "reports", another)
    async with Provider(name="a") as a:
        async with served(tmp_path, route(rule("all", ["a"])), backend("a", a.url)) as bed:
            before = bed.server.active.gateway.envoy_pid
            bed.write(route(rule("other", ["a"])), backend("a", a.url))
            await until(lambda: bed.server.failure is not None)
            assert bed.server.active.gateway.envoy_pid == before
            assert len(list(bed.server.home.run.iterdir())) == 1
