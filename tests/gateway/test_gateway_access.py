"""Consumers' keys and scopes."""

import asyncio

from gateway_bed import CHAT, backend, keyed, route, rule, secret, serving, until
from moltbot_provider import Provider


def objects(a, b, consumers):
    return [
        route(
            rule("plain", ["a"], path="^/plain/"),
            rule("drawn", {"a": 1, "b": 1}, path="^/drawn/"),
            rule("asked", ["b"], model=["gpt-4o"]),
            consumers=consumers,
        ),
        *backend("a", a.url, key="upstream-a"),
        *backend("b", b.url, key="upstream-b", model="b-v1"),
        secret("web-keys", old="web-1", new="web-2"),
        secret("batch-keys", only="batch-1"),
    ]


async def statuses(bed, **headers):
    paths = ("/plain/v1/chat/completions", "/drawn/v1/chat/completions", CHAT, "/v1/models")
    found = [(await bed.chat(path, **headers)).status_code for path in paths[:3]]
    return [*found, (await bed.client.get(paths[3], headers=headers)).status_code]


async def test_keys_and_scopes(tmp_path):
    consumers = [keyed("web", "a"), keyed("batch", "a", "b"), keyed("nobody")]
    async with (
        Provider(name="a") as a,
        Provider(name="b") as b,
        serving(*objects(a, b, consumers), folder=tmp_path) as bed,
    ):
        assert await statuses(bed) == [401] * 4
        assert await statuses(bed, authorization="Bearer upstream-a") == [401] * 4
        assert await statuses(bed, authorization="Bearer web-1") == [200, 403, 403, 200]
        assert await statuses(bed, authorization="Bearer web-2") == [200, 403, 403, 200]
        assert await statuses(bed, authorization="Bearer batch-1") == [200] * 4
        for header in ("x-api-key", "api-key"):
            answer = await bed.client.post(
                "/plain/v1/chat/completions", content=b"{}", headers={header: "batch-1"}
            )
            assert answer.status_code == 200
        lists = {
            key: (await bed.client.get("/v1/models", headers={"authorization": f"Bearer {key}"})).json()
            for key in ("web-1", "batch-1")
        }
        spoofed = await bed.chat(authorization="Bearer web-1", x_mb_consumer="batch")
        refused = await bed.chat(authorization="Bearer wrong")
        last = await bed.record(refused)
        records = await bed.records()
    assert [model["id"] for model in lists["web-1"]["data"]] == ["a"]
    assert [model["id"] for model in lists["batch-1"]["data"]] == ["a", "b-v1", "gpt-4o"]
    assert spoofed.status_code == 403
    assert spoofed.json()["error"]["code"] == "out_of_scope"
    assert refused.json()["error"]["code"] == "invalid_api_key"
    assert {record["consumer"] for record in records} == {None, "web", "batch"}
    assert last["path"] == CHAT
    for provider, key in ((a, "upstream-a"), (b, "upstream-b")):
        assert provider.requests
        assert all(record.credentials == {"authorization": [f"Bearer {key}"]} for record in provider.requests)
    assert not [1 for record in b.requests if record.header("x-mb-consumer")]


async def test_without_consumers_nobody_gets_in(tmp_path):
    async with (
        Provider(name="a") as a,
        Provider(name="b") as b,
        serving(*objects(a, b, []), folder=tmp_path) as bed,
    ):
        assert await statuses(bed) == [401] * 4
        answer = await bed.chat("/plain/v1/chat/completions")
        assert bed.running.compiled.warnings[0].reason == "NoConsumers"
    assert answer.json()["error"]["code"] == "no_consumers"


async def test_everybody_has_a_scope_too(tmp_path):
    anyone = {"name": "anyone", "auth": {"anonymous": {}}, "backends": ["a"]}
    async with (
        Provider(name="a") as a,
        Provider(name="b") as b,
        serving(*objects(a, b, [anyone]), folder=tmp_path) as bed,
    ):
        assert await statuses(bed) == [200, 403, 403, 200]


async def test_a_key_added_to_the_secret_is_valid_without_a_restart(tmp_path):
    async with (
        Provider(name="a") as a,
        Provider(name="b") as b,
        serving(*objects(a, b, [keyed("web", "a")]), folder=tmp_path) as bed,
    ):
        (bed.running.folder / "consumers" / "web" / "third").write_text("web-3")

        async def taken():
            return (await statuses(bed, authorization="Bearer web-3"))[0] == 200

        await until(taken)
        assert (await statuses(bed, authorization="Bearer web-1"))[0] == 200


async def test_a_changed_credential_is_used_without_a_restart(tmp_path):
    async with (
        Provider(name="a") as a,
        Provider(name="b") as b,
        serving(*objects(a, b, [keyed("web", "a")]), folder=tmp_path) as bed,
    ):
        (bed.running.folder / "credentials" / "default_a-key" / "token").write_text("rotated\n")
        async with asyncio.timeout(20):
            while a.requests[-1:] == [] or a.requests[-1].credentials != {
                "authorization": ["Bearer rotated"]
            }:
                answer = await bed.chat("/plain/v1/chat/completions", authorization="Bearer web-1")
                assert answer.status_code == 200


async def test_an_unusable_credential_is_a_clear_503_and_no_request(tmp_path):
    """Its Secret exists and holds nothing; the compiler leaves out what is known to be missing."""
    async with Provider(name="a") as a, Provider(name="b") as b:
        given = [
            route(rule("all", ["a"], path="^/a/"), rule("both", ["b"], ["a"])),
            *backend("a", a.url, key="\n"),
            *backend("b", b.url),
        ]
        async with serving(*given, folder=tmp_path) as bed:
            await b.fault("status", status=503)
            direct = await bed.chat("/a/v1/chat/completions")
            through = await bed.chat()
    assert not a.requests
    assert (direct.status_code, direct.json()["error"]["code"]) == (503, "credential_missing")
    assert direct.headers["x-moltbot-backend"] == "a"
    assert (through.status_code, through.json()["error"]["code"]) == (503, "credential_missing")
    assert through.headers["x-moltbot-attempts"] == "2"  # b, then a, which is not asked again


async def test_an_unusable_credential_of_a_fallback_goes_on_to_the_next(tmp_path):
    async with Provider(name="a") as a, Provider(name="b") as b, Provider(name="c") as c:
        given = [
            route(rule("all", ["b"], ["a", "c"], failover={"retryOn": ["429"]})),
            *backend("a", a.url, key="\n"),
            *backend("b", b.url),
            *backend("c", c.url),
        ]
        async with serving(*given, folder=tmp_path) as bed:
            await b.fault("status", status=429)
            answer = await bed.chat()
    assert not a.requests
    assert (answer.status_code, answer.headers["x-moltbot-backend"]) == (200, "c")
