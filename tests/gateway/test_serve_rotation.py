"""`moltbot serve` rotates credentials under traffic, with its state on disk, and survives being killed."""

import asyncio
import contextlib
import json
import signal

import httpx
import pytest
import yaml
from gateway_bed import BODY, CHAT, backend, route, rule, secret, until
from moltbot_issuer import Issuer
from moltbot_provider import Provider
from serve_bed import past, settled, started, true

FIRST = "first-s3cret-of-a-person"


def written(folder, issuer, provider, *, key=FIRST, **rotation):
    webhook = {"preset": "LiteLLM", "url": issuer.url, "secretRef": {"name": "admin", "key": "token"}}
    given = {"interval": "72h", "overlap": "0s", "issuer": {"type": "Webhook", "webhook": webhook}}
    objects = backend(
        "a",
        provider.url,
        key=key,
        timeouts={"connect": "1s", "firstByte": "2s"},
        rotation={**given, **rotation},
    )
    if key is None:
        reference = {"secretRef": {"name": "not-there", "key": "token"}}
        objects[0]["spec"]["auth"] = {"type": "APIKey", "apiKey": reference}
    objects += [route(rule("all", ["a"])), secret("admin", token=issuer.admin_key)]
    part = folder / "in.part"
    part.write_text(yaml.safe_dump_all(objects))
    part.replace(folder / "in.yaml")


class Load:
    """Requests one after another; those that could not be sent are counted apart (the server is down)."""

    def __init__(self, client, server):
        self.client, self.server = client, server
        self.good, self.bad = 0, []

    async def run(self):
        while True:
            answer = await self.client.post(self.server.url.removesuffix("/v1") + CHAT, json=BODY)
            if answer.status_code == httpx.codes.OK:
                self.good += 1
            else:
                self.bad.append(answer.text)
            await asyncio.sleep(0.02)


@contextlib.asynccontextmanager
async def world(**first):
    async with Issuer() as issuer, Provider(name="a", verify=issuer.verify) as provider:
        if first:
            issuer.keys.make("person").value = first["value"]
        async with httpx.AsyncClient(timeout=60) as client:
            yield issuer, provider, client


async def test_a_credential_is_replaced_under_traffic_and_the_old_one_revoked(tmp_path):
    async with world(value=FIRST) as (issuer, provider, client):
        written(tmp_path, issuer, provider)
        async with started(tmp_path) as server:
            load = Load(client, server)
            loading = asyncio.create_task(load.run())
            adopted = await settled(server, client)
            written(tmp_path, issuer, provider, rotateAt=past())
            second = await settled(server, client, adopted["version"])
            written(tmp_path, issuer, provider, rotateAt=past())
            third = await settled(server, client, second["version"])
            valid = [key.name for key in issuer.valid() if key.name != "person"]
            metrics = (await client.get(server.front)).text
            loading.cancel()
            await asyncio.gather(loading, return_exceptions=True)
        assert load.bad == []
        assert load.good > 20
        assert [name for name in valid if name.endswith(third["version"])] == valid  # the first is a person's
        assert 'moltbot_credential_age_seconds{backend="default/a"}' in metrics
        said = json.dumps(server.said)
        reasons = [each.get("reason") for each in server.said]
        assert reasons.count("CredentialRotated") == 2
        stored = [each.name for each in (tmp_path / "keys" / "default_a.rotation").glob("version-*")]
        assert stored == [f"version-{third['version']}.json"]
        for value in (FIRST, issuer.admin_key, *(key.value for key in issuer.keys.all)):
            assert value not in said
            assert value not in metrics


async def test_the_first_credential_is_issued_where_there_is_none(tmp_path):
    async with world() as (issuer, provider, client):
        written(tmp_path, issuer, provider, key=None)
        async with started(tmp_path) as server:
            await settled(server, client)

            async def answers():
                sent = await client.post(server.url.removesuffix("/v1") + CHAT, json=BODY)
                return sent.status_code == httpx.codes.OK

            await until(answers, 60)
        assert len(issuer.valid()) == 1


async def test_killed_at_any_moment_of_a_rotation_the_next_start_goes_on(tmp_path):
    """In the phases as they pass; tests/unit/serve kills it before and after each write and call."""
    async with world(value=FIRST) as (issuer, provider, client):
        written(tmp_path, issuer, provider)
        async with started(tmp_path) as server:
            version = (await settled(server, client))["version"]
        for kill_at in ("CredentialRotationStarted", "CredentialPromoted"):
            written(tmp_path, issuer, provider, rotateAt=past())
            async with started(tmp_path) as server:
                reached = true(
                    lambda at=kill_at, server=server: any(s.get("reason") == at for s in server.said)
                )
                await until(reached, 60)
                server.process.send_signal(signal.SIGKILL)
                await server.process.wait()
            async with started(tmp_path) as server:
                version = (await settled(server, client, version))["version"]
                answer = await client.post(server.url.removesuffix("/v1") + CHAT, json=BODY)
                assert answer.status_code == httpx.codes.OK, answer.text
            valid = [key.name for key in issuer.valid() if key.name != "person"]
            assert len(valid) == 1
            assert valid[0].endswith(version)


async def test_a_second_server_does_not_rotate_the_same_credential(tmp_path):
    async with world(value=FIRST) as (issuer, provider, client):
        written(tmp_path, issuer, provider)
        async with started(tmp_path) as server:
            await settled(server, client)
            with pytest.raises(AssertionError, match="another server rotates this credential"):
                async with started(tmp_path):
                    pass
