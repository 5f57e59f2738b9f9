"""The JWKS over HTTP, from what a cluster says, with a verifier that keeps it."""

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from moltbot_agent.config import SignedToken
from moltbot_agent.signing import new_key, public_jwk, sign, signing_key
from moltbot_operator.errors import ClusterError, NotFound
from moltbot_operator.jwks_http import JwksServer
from moltbot_operator.kube.kinds import CONFIG_MAP, MODEL_BACKEND

sys.path.insert(0, str(Path(__file__).parents[1] / "provider"))

CLAIMS = {"issuer": "moltbot", "subject": "gateway", "audience": "models"}


class OneCluster:
    """Backends and ConfigMaps in a dictionary; `down`: no answer; `hangs`: none for ever."""

    def __init__(self) -> None:
        self.objects: dict[tuple[Any, str, str], dict[str, Any]] = {}
        self.gets = 0
        self.down = self.hangs = False

    async def get(self, kind, namespace, name):
        self.gets += 1
        if self.hangs:
            await asyncio.Event().wait()
        if self.down:
            raise ClusterError("no answer")
        if (kind, namespace, name) not in self.objects:
            raise NotFound(f"{kind} {namespace}/{name}", 404)
        return self.objects[kind, namespace, name]

    def backend(self, name="pro", *, managed=True, **managed_key):
        signing = {"managed": True} if managed else {"secretRef": {"name": "own", "key": "pem"}}
        auth = {"type": "JWT", "jwt": {**CLAIMS, "signingKey": signing}}
        spec = {"provider": "Custom", "endpoint": {"url": "https://m.example"}, "auth": auth}
        if managed_key:
            spec["rotation"] = {"issuer": {"type": "ManagedKey", "managedKey": managed_key}}
        meta = {"namespace": "models", "name": name, "uid": f"uid-{name}"}
        self.objects[MODEL_BACKEND, "models", name] = {"metadata": meta, "spec": spec}

    def publish(self, *keys, name="pro-jwks", owner="uid-pro"):
        meta = {"name": name, "ownerReferences": [{"uid": owner, "controller": True}]}
        data = {"jwks.json": json.dumps({"keys": list(keys)})}
        self.objects[CONFIG_MAP, "models", name] = {"metadata": meta, "data": data}


@pytest.fixture
def cluster():
    return OneCluster()


@pytest.fixture
async def served(cluster):
    """URL of the server, a clock to set, and a client."""
    clock = [0.0]
    async with (
        JwksServer(cluster, lambda: clock[0], address="127.0.0.1", port=0) as server,
        aiohttp.ClientSession() as client,
    ):
        yield f"http://127.0.0.1:{server.port}/jwks", clock, client


async def read(client, url, **headers):
    async with client.get(url, headers=headers) as answer:
        return answer.status, await answer.text(), answer.headers


async def test_the_set_is_served_with_how_long_it_may_be_kept(cluster, served):
    url, _, client = served
    key = public_jwk(new_key("ES256"), "ES256")
    cluster.backend(cacheMaxAge="90s", configMapName="elsewhere")
    cluster.publish(key, name="elsewhere")
    status, text, headers = await read(client, f"{url}/models/pro")
    assert (status, json.loads(text)) == (200, {"keys": [key]})
    assert headers["content-type"].startswith("application/jwk-set+json")
    assert headers["cache-control"].startswith("public, max-age=90,")
    status, text, _ = await read(client, f"{url}/models/pro", **{"if-none-match": headers["etag"]})
    assert (status, text) == (304, "")


async def test_a_verifier_that_keeps_the_set_takes_tokens_of_the_key(cluster, served):
    from moltbot_provider import Provider
    from moltbot_provider.verify import FetchedKeys

    url, _, client = served
    pem = new_key("ES256")
    cluster.backend()
    cluster.publish(public_jwk(pem, "ES256"))
    wanted = SignedToken(**CLAIMS, algorithm="ES256", ttl_s=60)
    verify = FetchedKeys(f"{url}/models/pro", **CLAIMS)
    async with Provider(verify=verify) as provider:
        for number in range(3):
            token, _ = sign(signing_key(pem, "ES256"), wanted, time.time() + number)
            head = {"authorization": f"Bearer {token}"}
            assert (await read(client, f"{provider.url}/v1/models", **head))[0] == 200
        foreign, _ = sign(signing_key(new_key("ES256"), "ES256"), wanted, time.time())
        head = {"authorization": f"Bearer {foreign}"}
        assert (await read(client, f"{provider.url}/v1/models", **head))[0] == 401
    assert (verify.fetched, verify.max_age) == (1, 300)
    await verify.close()


async def test_only_sets_of_backends_with_managed_keys_are_shown(cluster, served):
    url, _, client = served
    cluster.backend("given", managed=False)
    cluster.publish({"kid": "x"}, name="given-jwks", owner="uid-given")
    cluster.backend("foreign")
    cluster.publish({"kid": "x"}, name="foreign-jwks", owner="uid-somebody")
    cluster.backend("none-yet")
    for place in ("given", "foreign", "none-yet", "absent", "..", "A", "a" * 64, "%2e%2e", "x%2Fy"):
        status, text, headers = await read(client, f"{url}/models/{place}")
        assert status == 404, place
        assert "kid" not in text
        assert "max-age" not in headers.get("cache-control", "")


async def test_the_api_server_is_asked_once_in_a_while_whoever_asks(cluster, served):
    url, clock, client = served
    cluster.backend()
    cluster.publish({"kid": "a"})
    await asyncio.gather(*(read(client, f"{url}/models/{name}") for name in ["pro", "absent"] * 30))
    assert cluster.gets <= 3  # the backend, its ConfigMap, and the one that is absent
    cluster.publish({"kid": "b"})
    clock[0] = 4.9
    assert '"a"' in (await read(client, f"{url}/models/pro"))[1]
    clock[0] = 5.0
    assert '"b"' in (await read(client, f"{url}/models/pro"))[1]


@pytest.mark.parametrize("way", ["down", "hangs"])
async def test_what_was_known_is_served_while_the_api_server_is_away(way, cluster, served):
    url, clock, client = served
    cluster.backend()
    cluster.publish({"kid": "a"})
    assert (await read(client, f"{url}/models/pro"))[0] == 200
    setattr(cluster, way, True)
    clock[0] = 600.0
    status, text, _ = await read(client, f"{url}/models/pro")
    assert (status, '"a"' in text) == (200, True)
    status, _, headers = await read(client, f"{url}/models/never-seen")
    assert (status, headers["retry-after"]) == (503, "5")


async def test_a_verifier_may_go_on_with_what_it_has_while_no_replica_answers(cluster):
    from moltbot_provider.verify import FetchedKeys

    pem = new_key("ES256")
    cluster.backend(cacheMaxAge="1s")
    cluster.publish(public_jwk(pem, "ES256"))
    wanted = SignedToken(**CLAIMS, algorithm="ES256", ttl_s=60)
    token = f"Bearer {sign(signing_key(pem, 'ES256'), wanted, time.time())[0]}"
    foreign = f"Bearer {sign(signing_key(new_key('ES256'), 'ES256'), wanted, time.time())[0]}"
    async with JwksServer(cluster, time.monotonic, address="127.0.0.1", port=0) as server:
        verify = FetchedKeys(f"http://127.0.0.1:{server.port}/jwks/models/pro", **CLAIMS)
        assert await verify(token) is None
    verify._until = 0.0  # its time is over, and nobody answers
    assert await verify(token) is None
    assert "can't be verified" in await verify(foreign)
    verify._until = verify._stale = 0.0
    assert "can't be fetched" in await verify(token)
    await verify.close()
