"""The identity provider as a process, and the provider that verifies what it grants."""

import asyncio
import os
import re
import sys
from pathlib import Path

from aiohttp import web
from free_ports import free_ports
from moltbot_identity import Identity
from moltbot_provider import Provider
from moltbot_provider.admin import admin_app
from moltbot_provider.verify import Introspection

HERE = Path(__file__).parent
BODY = {"model": "m", "messages": []}


async def test_a_process_with_its_admin_api(client):
    port, admin = free_ports(2)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "moltbot_identity", "--host", "127.0.0.1", "--port", str(port)),
        *("--admin-port", str(admin), "--client", "gateway=one", "--life", "5"),
        env={**os.environ, "PYTHONPATH": str(HERE)},
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert b"identity provider" in await asyncio.wait_for(process.stdout.readline(), 30)
        base, control = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{admin}"
        form = {"grant_type": "client_credentials", "client_id": "gateway", "client_secret": "one"}
        async with client.post(f"{base}/token", data=form) as answer:
            token = (await answer.json())["access_token"]
        async with client.post(f"{base}/introspect", data={"token": token}) as answer:
            assert (await answer.json())["active"] is True
        async with client.get(f"{control}/issued") as answer:
            assert list((await answer.json()).values()) == ["one"]
        async with client.put(f"{control}/clients", json={"gateway": ["two"]}) as answer:
            assert answer.status == 200
        async with client.post(f"{base}/token", data=form) as answer:
            assert (answer.status, (await answer.json())["error"]) == (401, "invalid_client")
        async with client.put(f"{control}/fault", json={"kind": "status", "status": 503}) as answer:
            assert answer.status == 200
        async with client.post(f"{base}/token", data=form) as answer:
            assert answer.status == 503
        async with client.get(f"{control}/calls") as answer:
            assert await answer.json() == {"granted": 1, "invalid_client": 1, "status": 1}
    finally:
        process.terminate()
        assert await asyncio.wait_for(process.wait(), 10) == 0


async def test_a_provider_takes_what_is_active_and_tells_what_it_saw(client):
    async with Identity({"gateway": "s"}) as identity, Provider(name="p") as provider:
        provider.verify = Introspection(f"{identity.url}/introspect")
        form = {"grant_type": "client_credentials", "client_id": "gateway", "client_secret": "s"}
        async with client.post(identity.token_url, data=form) as answer:
            token = (await answer.json())["access_token"]
        statuses = []
        for value in (f"Bearer {token}", "Bearer made-up", None):
            headers = {"authorization": value} if value else {}
            async with client.post(
                f"{provider.url}/v1/chat/completions", json=BODY, headers=headers
            ) as answer:
                statuses.append(answer.status)
        assert statuses == [200, 401, 401]
        runner = web.AppRunner(admin_app(provider))
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        async with client.get(f"http://127.0.0.1:{runner.addresses[0][1]}/credentials") as answer:
            seen = list((await answer.json()).values())
        await runner.cleanup()
        await provider.verify.close()
        assert [(each["count"], each["refused"], each["kid"]) for each in seen] == [
            (1, 0, None),
            (1, 1, None),
        ]


def test_the_image_has_the_version_that_the_tests_have():
    def pinned(file: Path) -> tuple[str, set[str]]:
        part = re.search(r"^authlib==(\S+)(( \\\n    --hash=\S+)+)", file.read_text(), re.MULTILINE)
        return part[1], set(re.findall(r"sha256:\w+", part[2]))

    assert pinned(HERE / "requirements.txt") == pinned(HERE.parent.parent / "requirements-dev.lock")
