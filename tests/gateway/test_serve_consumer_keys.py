"""`moltbot serve` makes and replaces keys of consumers; clients that follow the file are never refused."""

import asyncio
import contextlib
import json
import signal

import httpx
import yaml
from gateway_bed import BODY, CHAT, backend, route, rule, secret, until
from moltbot_provider import Provider
from serve_bed import past, settled, started, true

WEB = ("consumerKeys", "default/web-key")

OLD = "old-s3cret-of-a-person"


def written(folder, provider, *, rotate_at=None, keys=None, overlap="0s", name="all"):
    """The files; `keys`: what a person has in the Secret (None: there is none, unless for its annotation)."""
    key = {"secretRef": {"name": "web-key"}, "rotation": {"interval": "72h", "overlap": overlap}}
    web = {"name": "web", "auth": {"apiKey": key}, "backends": ["a"]}
    objects = [*backend("a", provider.url), route(rule(name, ["a"]), consumers=[web])]
    if keys is not None or rotate_at is not None:
        held = secret("web-key", **(keys or {}))
        held["metadata"]["annotations"] = {} if rotate_at is None else {"moltbot.io/rotate-at": rotate_at}
        objects.append(held)
    part = folder / "in.part"
    part.write_text(yaml.safe_dump_all(objects))
    part.replace(folder / "in.yaml")


class Keys:
    """The folder in which clients find the key."""

    def __init__(self, folder):
        self.folder = folder / "keys" / "default_web-key.consumer"

    @property
    def now(self):
        return (self.folder / "key").read_text()

    @property
    def valid(self):
        return {each.name: each.read_text() for each in sorted(self.folder.glob("key-*"))}


@contextlib.asynccontextmanager
async def world():
    async with Provider(name="a") as provider, httpx.AsyncClient(timeout=60) as client:
        yield provider, client


async def asked(server, client, key):
    url = server.url.removesuffix("/v1") + CHAT
    return (await client.post(url, json=BODY, headers={"authorization": f"Bearer {key}"})).status_code


async def refused(server, client, key):
    """Wait until it is: gateways hear of it within half a second."""

    async def is_refused():
        return await asked(server, client, key) == httpx.codes.UNAUTHORIZED

    await until(is_refused, 60)


class Load:
    """A client that reads its key again after a 401 (docs/rotation.md), and then is let in."""

    def __init__(self, client, server, keys):
        self.client, self.server, self.keys = client, server, keys
        self.good = self.refused = 0
        self.failed = []

    async def run(self):
        key = self.keys.now
        while True:
            status = await asked(self.server, self.client, key)
            if status == httpx.codes.UNAUTHORIZED:
                self.refused += 1
                key = self.keys.now
                status = await asked(self.server, self.client, key)
            if status == httpx.codes.OK:
                self.good += 1
            else:
                self.failed.append(status)
            await asyncio.sleep(0.02)


async def test_a_key_is_made_and_replaced_under_traffic_and_the_old_one_ends(tmp_path):
    keys = Keys(tmp_path)
    async with world() as (provider, client):
        written(tmp_path, provider)
        async with started(tmp_path) as server:
            first = await settled(server, client, of=WEB)
            one = keys.now
            assert keys.valid == {f"key-{first['version']}": one}
            assert await asked(server, client, one) == 200
            assert await asked(server, client, "another") == 401
            load = Load(client, server, keys)
            loading = asyncio.create_task(load.run())
            written(tmp_path, provider, rotate_at=past())
            second = await settled(server, client, first["version"], WEB)
            two = keys.now
            assert keys.valid == {f"key-{second['version']}": two}
            await refused(server, client, one)
            written(tmp_path, provider, rotate_at=past(), name="another-revision")
            third = await settled(server, client, second["version"], WEB)
            assert await asked(server, client, keys.now) == 200
            await refused(server, client, two)
            metrics = (await client.get(server.front)).text
            loading.cancel()
            await asyncio.gather(loading, return_exceptions=True)
            values = {one, two, keys.now}
        assert load.failed == []
        assert load.good > 20
        assert len(values) == 3
        assert list(keys.valid) == [f"key-{third['version']}"]
        assert 'moltbot_consumer_key_age_seconds{secret="default/web-key"}' in metrics
        assert [each.get("reason") for each in server.said].count("CredentialRotated") == 3
        for value in values:
            assert value not in json.dumps(server.said)
            assert value not in metrics


async def test_both_keys_are_valid_until_the_overlap_is_over(tmp_path):
    keys = Keys(tmp_path)
    async with world() as (provider, client):
        written(tmp_path, provider, overlap="1h")
        async with started(tmp_path) as server:
            version = (await settled(server, client, of=WEB))["version"]
            one = keys.now
            written(tmp_path, provider, overlap="1h", rotate_at=past())
            await until(true(lambda: keys.now != one), 60)
            both = keys.valid
            assert set(both.values()) == {one, keys.now}
            assert await asked(server, client, one) == 200
            assert await asked(server, client, keys.now) == 200
            (keys.folder / f"key-{version}").unlink()  # that one leaked
            await refused(server, client, one)
            assert await asked(server, client, keys.now) == 200


async def test_a_key_in_use_that_is_taken_away_ends_and_another_is_made(tmp_path):
    keys = Keys(tmp_path)
    async with world() as (provider, client):
        written(tmp_path, provider, overlap="1h")
        async with started(tmp_path) as server:
            version = (await settled(server, client, of=WEB))["version"]
            leaked = keys.now
            (keys.folder / f"key-{version}").unlink()
            await settled(server, client, version, WEB)
            assert keys.now != leaked
            await refused(server, client, leaked)
            assert await asked(server, client, keys.now) == 200
            assert list(keys.valid.values()) == [keys.now]


async def test_a_persons_key_is_the_first_one_and_keys_under_other_names_stay(tmp_path):
    keys = Keys(tmp_path)
    async with world() as (provider, client):
        written(tmp_path, provider, keys={"key": OLD, "other": "other-s3cret"})
        async with started(tmp_path) as server:
            version = (await settled(server, client, of=WEB))["version"]
            assert keys.now == OLD
            assert await asked(server, client, OLD) == 200
            written(tmp_path, provider, keys={"key": OLD, "other": "other-s3cret"}, rotate_at=past())
            await settled(server, client, version, WEB)
            await refused(server, client, OLD)
            assert await asked(server, client, keys.now) == 200
            assert await asked(server, client, "other-s3cret") == 200
        async with started(tmp_path) as server:
            assert await asked(server, client, OLD) == 401, "the file has it still"
            assert await asked(server, client, keys.now) == 200
            assert await asked(server, client, "other-s3cret") == 200


async def test_killed_in_a_rotation_the_next_start_goes_on(tmp_path):
    keys = Keys(tmp_path)
    async with world() as (provider, client):
        written(tmp_path, provider)
        async with started(tmp_path) as server:
            version = (await settled(server, client, of=WEB))["version"]
        for kill_at in ("CredentialRotationStarted", "CredentialPromoted"):
            written(tmp_path, provider, rotate_at=past())
            async with started(tmp_path) as server:
                said = server.said
                await until(
                    true(lambda at=kill_at, said=said: any(each.get("reason") == at for each in said)), 60
                )
                server.process.send_signal(signal.SIGKILL)
                await server.process.wait()
            assert keys.now in keys.valid.values()
            async with started(tmp_path) as server:
                assert await asked(server, client, keys.now) == 200, "before anything else is done"
                version = (await settled(server, client, version, WEB))["version"]
                assert keys.valid == {f"key-{version}": keys.now}
                assert await asked(server, client, keys.now) == 200
