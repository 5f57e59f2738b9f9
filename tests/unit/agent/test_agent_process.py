"""The agent as a process beside a real Envoy."""

import asyncio
import json
import time

from moltbot_provider import Provider

from moltbot_agent.evidence import fingerprint

BODY = {"model": "m", "messages": []}
TOKEN = {"authorization": "Bearer evidence-token"}


async def ask(client, gateway, key="consumer-key") -> int:
    headers = {"authorization": f"Bearer {key}"}
    async with client.post(gateway.url(), json=BODY, headers=headers) as response:
        await response.read()
        return response.status


async def evidence(client, gateway) -> dict:
    async with client.get(f"http://127.0.0.1:{gateway.evidence_port}/evidence", headers=TOKEN) as response:
        assert response.status == 200
        return await response.json()


async def test_start_to_served_request_and_hot_credentials(make_gateway, client, eventually):
    async with Provider(name="one", expect={"authorization": ["Bearer key-of-one"]}) as one:
        gateway = make_gateway({"one": one.port}, consumers=("web",))
        gateway.secret("consumers/web", {"a": "consumer-key"})
        began = time.monotonic()
        async with gateway.agent() as agent:
            await gateway.healthy(client, agent)
            print(f"agent healthy after {time.monotonic() - began:.3f} s")
            async with gateway.envoy():
                assert await ask(client, gateway) == 200
                assert await ask(client, gateway, "wrong") == 401
                seen = await evidence(client, gateway)
                assert seen["revision"] == "abcdef0123"
                assert seen["envoy"].pop("uptimeS") < 60
                assert seen["envoy"] == {"live": True, "revision": "abcdef0123", "version": "1.40.0"}
                assert seen["problems"] == []
                [first] = seen["credentials"]
                assert (first["backend"], first["present"]) == ("team/one", True)

                one.set_expect({"authorization": ["Bearer rotated"]})
                gateway.secret("credentials/one", {"token": "rotated"})
                await eventually(lambda: _is(client, gateway, 200), 5, "the new credential")
                assert (await evidence(client, gateway))["credentials"][0]["fingerprint"] != first[
                    "fingerprint"
                ]

                gateway.secret("consumers/web", {"a": "consumer-key", "b": "second-key"})
                await eventually(lambda: _is(client, gateway, 200, "second-key"), 5, "the new key")
                both = sorted(fingerprint(b"evidence-token", key) for key in ("consumer-key", "second-key"))
                assert (await evidence(client, gateway))["consumers"] == [{"consumer": "web", "held": both}]
                gateway.secret("consumers/web", {"b": "second-key"})
                await eventually(lambda: _is(client, gateway, 401), 5, "the key's end")
            seen = await evidence(client, gateway)
            assert seen["envoy"] == {"live": False, "revision": None, "version": "", "uptimeS": None}
            agent.terminate()
            log = (await agent.stderr.read()).decode()
            assert await agent.wait() == 0
        assert all(json.loads(line)["level"] for line in log.splitlines())
        for secret in ("key-of-one", "rotated", "consumer-key", "second-key", "evidence-token"):
            assert secret not in log


async def _is(client, gateway, status, key="consumer-key") -> bool:
    return await ask(client, gateway, key) == status


async def test_envoy_starts_without_the_secret_and_picks_it_up(make_gateway, client, eventually):
    async with Provider(name="one", expect={"authorization": ["Bearer late"]}) as one:
        gateway = make_gateway({"one": one.port})
        gateway.secret("credentials/one", {})
        async with gateway.agent() as agent:
            await gateway.healthy(client, agent)
            async with gateway.envoy():
                assert await ask(client, gateway) == 401
                assert one.requests.total == 0
                seen = await evidence(client, gateway)
                nothing = {"present": False, "fingerprint": None, "held": [], "notAfter": None}
                assert seen["credentials"] == [{"backend": "team/one", "kind": "APIKey", **nothing}]
                assert "does not exist" in seen["problems"][0]
                gateway.secret("credentials/one", {"token": "late"})
                await eventually(lambda: _is(client, gateway, 200), 5, "the credential")
                assert (await evidence(client, gateway))["problems"] == []


async def test_agent_dying_and_starting_again_touches_no_traffic(make_gateway, client, eventually):
    async with Provider(name="one") as one:
        gateway = make_gateway({"one": one.port}, consumers=("web",))
        gateway.secret("consumers/web", {"a": "consumer-key"})
        run = gateway.folder / "run"
        async with gateway.agent() as agent:
            await gateway.healthy(client, agent)
            before = {path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in run.iterdir()}
            async with gateway.envoy():
                done, statuses = asyncio.Event(), []

                async def load():
                    while not done.is_set():
                        statuses.append(await ask(client, gateway))

                loading = asyncio.create_task(load())
                agent.kill()
                await agent.wait()
                async with gateway.agent() as second:
                    await gateway.healthy(client, second)
                    await eventually(lambda: len(statuses) > 50, 20, "50 requests")
                    done.set()
                    await loading
                assert set(statuses) == {200}
        after = {path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in run.iterdir()}
        assert after == before


async def test_evidence_needs_the_token_which_may_change(make_gateway, client):
    gateway = make_gateway()
    url = f"http://127.0.0.1:{gateway.evidence_port}/evidence"

    async def status(**headers) -> int:
        async with client.get(url, headers=headers) as response:
            return response.status

    async with gateway.agent() as agent:
        await gateway.healthy(client, agent)
        assert await status() == 401
        assert await status(authorization="Bearer wrong") == 401
        assert await status(authorization="Basic evidence-token") == 401
        assert await status(authorization="Bearer evidence-token") == 200
        gateway.token.write_text("replaced")
        assert await status(authorization="Bearer evidence-token") == 401
        assert await status(authorization="Bearer replaced") == 200
        gateway.token.write_text("")
        assert await status(authorization="Bearer ") == 401


async def run_agent(gateway) -> tuple[int, list[dict]]:
    async with gateway.agent() as agent:
        log = (await agent.stderr.read()).decode()
        return await agent.wait(), [json.loads(line) for line in log.splitlines()]


async def test_damaged_configuration_ends_the_agent_with_a_message(make_gateway, monkeypatch):
    gateway = make_gateway()
    gateway.write_parts()
    parts = sorted((gateway.folder / "config").iterdir())
    parts[-1].write_bytes(b"")
    monkeypatch.setattr(gateway, "write_parts", lambda: None)
    status, log = await run_agent(gateway)
    assert status == 1
    assert "damaged" in log[-1]["message"]
    assert str(gateway.folder / "config") in log[-1]["message"]
    assert not (gateway.folder / "run" / "envoy.json").exists()


async def test_port_in_use_ends_the_agent_with_a_message(make_gateway):
    async with Provider() as taken:
        gateway = make_gateway(metrics_port=taken.port)
        status, log = await run_agent(gateway)
    assert status == 1
    assert "can't listen" in log[-1]["message"]


async def test_envoy_that_hangs_is_not_live_and_known_within_the_operators_2_seconds(make_gateway, client):
    async with Provider() as silent:
        await silent.fault("hang")
        gateway = make_gateway(admin_port=silent.port)
        async with gateway.agent() as agent:
            await gateway.healthy(client, agent)
            began = time.monotonic()
            seen = await evidence(client, gateway)
            assert time.monotonic() - began < 2
    assert seen["envoy"]["live"] is False


async def test_consumer_without_keys_is_locked_out_and_others_are_not(make_gateway, client, eventually):
    async with Provider(name="one") as one:
        gateway = make_gateway({"one": one.port}, consumers=("web", "batch"))
        async with gateway.agent() as agent:
            await gateway.healthy(client, agent)
            async with gateway.envoy():
                assert await ask(client, gateway) == 401
                assert len((await evidence(client, gateway))["problems"]) == 2
                gateway.secret("consumers/batch", {"a": "consumer-key"})
                await eventually(lambda: _is(client, gateway, 200), 5, "the key")
                assert one.requests[0].header("x-client") == "batch"
                assert one.requests[0].credentials == {"authorization": ["Bearer key-of-one"]}
