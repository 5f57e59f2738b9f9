"""The issuer of keys and the registration of clients, as tests of the product rely on them."""

import asyncio
import base64
import os
import sys
from pathlib import Path

import aiohttp
import pytest
from moltbot_identity import Identity
from moltbot_issuer import Issuer
from moltbot_provider import Provider
from moltbot_provider.verify import Introspection

HERE = Path(__file__).parent
ADMIN = {"authorization": "Bearer admin-s3cret-of-the-issuer"}
FORM = {"grant_type": "client_credentials"}
METADATA = {"client_name": "gateway", "grant_types": ["client_credentials"]}
METADATA |= {"token_endpoint_auth_method": "client_secret_basic"}


async def call(client, method, url, **more):
    async with client.request(method, url, headers=ADMIN, **more) as answer:
        return answer.status, await answer.json()


async def test_a_provider_takes_a_key_from_its_making_to_its_revocation(client):
    async with Issuer() as issuer, Provider(verify=issuer.verify) as provider:
        models = f"{provider.url}/v1/models"
        status, made = await call(client, "POST", f"{issuer.url}/keys", json={"label": "a"})
        assert status == 201
        key = {"authorization": f"Bearer {made['secret']['value']}"}
        async with client.get(models, headers=key) as answer:
            assert answer.status == 200
        assert (await call(client, "DELETE", f"{issuer.url}/keys/{made['id']}"))[0] == 200
        async with client.get(models, headers=key) as answer:
            assert answer.status == 401
        assert (await call(client, "DELETE", f"{issuer.url}/keys/{made['id']}"))[0] == 404
        assert issuer.count() == {"create": 1, "revoke": 2}


@pytest.mark.parametrize(
    ("path", "made", "shown"),
    [
        ("/v1/organization/projects/p/service_accounts?limit=100", {"name": "n"}, "data"),
        ("/api/v1/keys", {"name": "n"}, "data"),
        ("/key/list?size=100", {"key_alias": "n"}, "keys"),
    ],
)
async def test_lists_come_in_pages(client, path, made, shown):
    async with Issuer(page=3) as issuer:
        for number in range(7):
            issuer.keys.make(f"k{number}")
        _, first = await call(client, "GET", issuer.url + path)
        assert len(first[shown]) == 3
        assert made


async def test_a_lost_answer_leaves_a_key(client):
    async with Issuer() as issuer:
        fault = issuer.fault("lost", operation="create", count=1)
        with pytest.raises(aiohttp.ClientError):
            await call(client, "POST", f"{issuer.url}/api/v1/keys", json={"name": "n"})
        assert fault.hits == 1
        assert [key.name for key in issuer.valid()] == ["n"]


async def test_an_alias_of_litellm_is_unique(client):
    async with Issuer() as issuer:
        url = f"{issuer.url}/key/generate"
        assert (await call(client, "POST", url, json={"key_alias": "n"}))[0] == 200
        assert (await call(client, "POST", url, json={"key_alias": "n"}))[0] == 400


async def test_an_update_makes_the_old_secret_and_the_old_registration_token_worthless(client):
    async with Identity() as identity:
        identity.registration.initial_token = "initial"
        register = f"{identity.url}/register"
        async with client.post(register, json=METADATA) as answer:
            assert answer.status == 400  # Authlib's access_denied
        async with client.post(
            register, json=METADATA, headers={"authorization": "Bearer initial"}
        ) as answer:
            assert answer.status == 201
            first = await answer.json()
        assert first["client_secret_expires_at"] == 0

        async def granted(document):
            pair = f"{document['client_id']}:{document['client_secret']}".encode()
            basic = {"authorization": f"Basic {base64.b64encode(pair).decode()}"}
            async with client.post(identity.token_url, data=FORM, headers=basic) as answer:
                return answer.status

        assert await granted(first) == 200
        own = {"authorization": f"Bearer {first['registration_access_token']}"}
        body = {**METADATA, "client_id": first["client_id"]}
        async with client.put(first["registration_client_uri"], json=body, headers=own) as answer:
            assert answer.status == 200
            second = await answer.json()
        assert await granted(first) == 401
        assert await granted(second) == 200
        async with client.get(first["registration_client_uri"], headers=own) as answer:
            assert answer.status == 400
        own = {"authorization": f"Bearer {second['registration_access_token']}"}
        async with client.delete(first["registration_client_uri"], headers=own) as answer:
            assert answer.status == 204
        assert await granted(second) == 401


async def test_a_process_with_its_admin_api(client):
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "moltbot_issuer", "--host", "127.0.0.1", "--port", "0", "--admin-port", "0"),
        *("--admin-key", "a", "--key", "first=sk-first"),
        env={**os.environ, "PYTHONPATH": str(HERE)},
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        line = (await asyncio.wait_for(process.stdout.readline(), 30)).decode().split()
        base, control = f"http://127.0.0.1:{line[2].strip(',')}", f"http://127.0.0.1:{line[5]}"
        assert await Introspection(f"{base}/accepted")("Bearer sk-first") is None
        assert await Introspection(f"{base}/accepted")("Bearer sk-other") is not None
        faults = [{"kind": "status", "status": 500, "operation": "list"}]
        async with client.put(f"{control}/faults", json=faults) as answer:
            assert answer.status == 200
        async with client.put(f"{control}/faults", json=[{"kind": "no"}]) as answer:
            assert answer.status == 400
        async with client.get(f"{base}/keys") as answer:
            assert answer.status == 500
        async with client.get(f"{control}/calls") as answer:
            assert await answer.json() == {"operations": {"list": 1}, "outcomes": {"list status": 1}}
        async with client.get(f"{control}/keys") as answer:
            assert [(key["name"], key["valid"]) for key in await answer.json()] == [("first", True)]
    finally:
        process.terminate()
        assert await asyncio.wait_for(process.wait(), 10) == 0
