"""Credentials of each kind replaced under load: no failed request, the old one never after the new one, and
no backend ever gets another's.
"""

import asyncio
import json
import random
import time
from base64 import urlsafe_b64decode

import pytest
from credential_bed import Key, jwt_backend, kill_agent, loading, oauth2_backend, swap
from gateway_bed import backend, route, rule, serving, until
from moltbot_identity import Identity
from moltbot_provider import Provider
from moltbot_provider.verify import SignedTokens

RATE = 200
LIFE = 3.0
"""Seconds that an OAuth 2.0 token lives."""

IN_FLIGHT_S = 1.0
"""How long requests that had their credential already may take until the provider has read them."""


def kid(value: str) -> str:
    head = value.removeprefix("Bearer ").partition(".")[0]
    return json.loads(urlsafe_b64decode(head + "=" * (-len(head) % 4)))["kid"]


class World:
    """Three providers, each with a kind of credential of its own, and a gateway before them."""

    def __init__(self, identity, providers, keys):
        self.identity = identity
        self.providers = providers
        self.keys = keys
        self.api_keys = ["key-0"]
        self.secrets = ["secret-0"]

    def objects(self):
        rules = [
            rule(name, [name], path=f"^/{name}/", failover={"maxRetries": 0})
            for name in sorted(self.providers)
        ]
        urls = {name: provider.url for name, provider in self.providers.items()}
        return [
            route(*rules),
            *backend("apikey", urls["apikey"], key=self.api_keys[0]),
            *oauth2_backend(
                "oauth2", urls["oauth2"], self.identity.token_url, self.secrets[0], scopes=["models"]
            ),
            *jwt_backend("jwt", urls["jwt"], self.keys[0], ttl="30s"),
        ]

    def generation(self, name, value):
        """Which of a backend's successive credentials it is; fails for one of another backend."""
        if name == "apikey":
            return self.api_keys.index(value.removeprefix("Bearer "))
        if name == "oauth2":
            issued = self.identity.issued(value.removeprefix("Bearer "))
            assert issued is not None, "a token that the endpoint never granted"
            return self.secrets.index(issued.secret)
        return [key.jwk["kid"] for key in self.keys].index(kid(value))

    def seen(self, name):
        """(time, generation) of every request that a provider got."""
        found = []
        for record in self.providers[name].requests:
            assert list(record.credentials) == ["authorization"]
            [value] = record.credentials["authorization"]
            found.append((record.at, self.generation(name, value)))
        return found

    def latest(self, name):
        seen = self.seen(name)
        return seen[-1][1] if seen else -1

    def check(self):
        """Order and ownership of every credential that was ever sent."""
        for name, provider in self.providers.items():
            assert not [record.refused for record in provider.requests if record.refused]
            newest, since = 0, 0.0
            for at, generation in self.seen(name):
                if generation > newest:
                    newest, since = generation, at
                assert generation == newest or at < since + IN_FLIGHT_S, (
                    name,
                    generation,
                    newest,
                    at - since,
                )

    async def replace(self, folder, name):
        """The next credential, as rotation does it: the provider takes both, then only the new one."""
        number = len({"apikey": self.api_keys, "oauth2": self.secrets, "jwt": self.keys}[name])
        if name == "apikey":
            self.api_keys.append(f"key-{number}")
            accepted = [f"Bearer {key}" for key in self.api_keys[-2:]]
            self.providers["apikey"].set_expect({"authorization": accepted})
            swap(folder / "default_apikey-key", token=self.api_keys[-1])
        elif name == "oauth2":
            self.secrets.append(f"secret-{number}")
            self.identity.set_client("gateway-oauth2", *self.secrets[-2:])
            swap(folder / "default_oauth2-client", secret=self.secrets[-1])
        else:
            self.keys.append(Key("ES256"))
            self.providers["jwt"].verify.keys = [key.jwk for key in self.keys[-2:]]
            swap(folder / "default_jwt-signing", pem=self.keys[-1].pem)

        async def picked_up():
            return self.latest(name) == number

        await until(picked_up)
        await asyncio.sleep(IN_FLIGHT_S)
        if name == "apikey":
            self.providers["apikey"].set_expect({"authorization": f"Bearer {self.api_keys[-1]}"})
        elif name == "oauth2":
            self.identity.set_client("gateway-oauth2", self.secrets[-1])
        else:
            self.providers["jwt"].verify.keys = [self.keys[-1].jwk]


@pytest.fixture
async def world():
    key = Key("ES256")
    async with Identity({"gateway-oauth2": "secret-0"}, life=LIFE) as identity:

        async def granted(value):
            return identity.verify(value)

        async with (
            Provider(name="apikey", expect={"authorization": "Bearer key-0"}) as apikey,
            Provider(name="oauth2", verify=granted) as oauth2,
            Provider(name="jwt", verify=SignedTokens([key.jwk], "moltbot", "gateway", "jwt")) as jwt,
        ):
            yield World(identity, {"apikey": apikey, "oauth2": oauth2, "jwt": jwt}, [key])


def chat(name):
    return f"/{name}/v1/chat/completions"


@pytest.mark.parametrize("name", ["apikey", "oauth2", "jwt"])
async def test_a_credential_is_replaced_under_load_without_a_failed_request(world, tmp_path, name):
    others = [each for each in world.providers if each != name]
    async with serving(*world.objects(), folder=tmp_path) as bed:
        credentials = bed.running.folder / "credentials"
        url = bed.running.url
        async with (
            loading(url, chat(name), RATE) as load,
            loading(url, chat(others[0]), 10, 4) as second,
            loading(url, chat(others[1]), 10, 4) as third,
        ):
            for _ in range(4):
                await world.replace(credentials, name)
                await asyncio.sleep(0.3)

            async def enough():
                return load.sent > 500

            await until(enough, 60)
    print(f"{name}: {load.sent} requests, {load.rate:.0f} a second, {dict(load.answers)}")
    assert not load.failures
    assert not second.failures
    assert not third.failures
    assert world.latest(name) == 4
    world.check()


async def test_tokens_are_renewed_in_time_and_seldom(world, tmp_path):
    async with (
        serving(*world.objects(), folder=tmp_path) as bed,
        loading(bed.running.url, chat("oauth2"), 100) as load,
    ):
        began = time.time()
        await asyncio.sleep(3 * LIFE)
        lasted = time.time() - began
    assert not load.failures
    world.check()
    granted = [call for call in world.identity.calls if call.outcome == "granted"]
    assert len(granted) == len(world.identity.calls)
    # Two thirds of a life between calls, a tenth less by chance, and one at the start.
    assert len(granted) <= 2 + lasted / (0.55 * LIFE)
    assert len({record.credentials["authorization"][0] for record in world.providers["oauth2"].requests}) >= 4
    assert {(call.authentication, call.scope) for call in granted} == {("Basic", "models")}


async def test_an_agent_killed_at_random_fails_no_request(world, tmp_path):
    world.identity.life = 20.0  # a third of it is more than the longest pause until an agent is back
    draw = random.Random(20261124)  # noqa: S311
    async with serving(*world.objects(), folder=tmp_path) as bed:
        url = bed.running.url
        async with (
            loading(url, chat("oauth2"), 100, 20) as oauth2,
            loading(url, chat("jwt"), 50, 10) as jwt,
            loading(url, chat("apikey"), 50, 10) as apikey,
        ):
            for _ in range(5):
                await kill_agent()
                await asyncio.sleep(draw.uniform(0.2, 2.0))
            await world.replace(bed.running.folder / "credentials", "oauth2")
    for load in (oauth2, jwt, apikey):
        assert not load.failures
        assert load.sent > 100
    world.check()
    granted = [call for call in world.identity.calls if call.outcome == "granted"]
    assert len(granted) < 12  # an agent that starts again does not ask for what it has


async def test_an_endpoint_that_is_down_costs_its_backend_only_and_only_after_expiry(tmp_path):
    async with Identity({"gateway-a": "s"}, life=2.0) as identity:

        async def granted(value):
            return identity.verify(value, leeway=0.5)  # a request may be on its way so long

        async with (
            Provider(name="a", verify=granted) as a,
            Provider(name="b", expect={"authorization": "Bearer key-b"}) as b,
        ):
            failover = {"maxRetries": 2, "backoff": {"base": "1ms", "max": "2ms"}}
            objects = [
                route(
                    rule("both", ["a"], ["b"], path="^/both/", failover=failover),
                    rule("alone", ["b"], path="^/alone/", failover=failover),
                    rule("only", ["a"], path="^/only/", failover=failover),
                ),
                *oauth2_backend("a", a.url, identity.token_url, "s"),
                *backend("b", b.url, key="key-b"),
            ]
            async with (
                serving(*objects, folder=tmp_path) as bed,
                loading(bed.running.url, chat("both"), 100) as load,
            ):

                async def by(name):
                    return (await bed.chat(chat("both"))).headers["x-moltbot-backend"] == name

                await until(lambda: by("a"))
                for kind in ("status", "hang", "malformed"):
                    await identity.fault(kind)
                    failed = time.time()
                    assert await by("a")  # what is there goes on
                    await until(lambda: by("b"))
                    last = max(record.at for record in a.requests)
                    assert last < failed + identity.life + 0.5
                    alone = await bed.chat(chat("only"))
                    assert (alone.status_code, alone.json()["error"]["code"]) == (503, "credential_missing")
                    assert (await bed.chat(chat("alone"))).status_code == 200
                    await identity.clear()
                    await until(lambda: by("a"), 30)
            assert not load.failures
            assert set(load.served_by) == {"a", "b"}
            assert not [record.refused for record in a.requests if record.refused]
            assert {record.credentials["authorization"][0] for record in b.requests} == {"Bearer key-b"}
