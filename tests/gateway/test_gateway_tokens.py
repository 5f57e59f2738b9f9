"""Consumers that show tokens (JWT)."""

import asyncio
import base64
import hmac
import json
import time

import pytest
import pytest_asyncio
from gateway_bed import backend, keyed, route, rule, secret, serving, until
from issuers import Issuer, config_map, published, tokened
from moltbot_provider import Provider
from raw_http import raw

ISS = "https://issuer.example"
KEYS = {"configMapRef": {"name": "keys", "key": "jwks.json"}}

pytestmark = pytest.mark.asyncio(loop_scope="module")


def objects(provider, issuer, consumers):
    return [
        route(
            rule("plain", ["a"], path="^/plain/"),
            rule("drawn", {"a": 1, "b": 1}, path="^/drawn/"),
            consumers=consumers,
        ),
        *backend("a", provider.url, key="upstream-a"),
        *backend("b", provider.url, model="b-v1"),
        config_map("keys", **{"jwks.json": json.dumps(issuer.jwks)}),
        secret("batch-keys", one="batch-1", two="eyJh.eyJi.c"),
    ]


CONSUMERS = [
    tokened("web", "a", "b", iss=ISS, jwks=KEYS, audiences=["gw", "other"], claims={"azp": "web"}),
    tokened("typed", "a", iss=ISS, jwks=KEYS, claims={"level": "3", "beta": "true", "groups": "staff"}),
    tokened("whoever", "b", iss=ISS, jwks=KEYS, audiences=["gw"]),
    keyed("batch", "a"),
]


@pytest.fixture(scope="module")
def issuer():
    return Issuer(ISS)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def provider():
    async with Provider(name="a") as provider:
        yield provider


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bed(provider, issuer, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokens")
    async with serving(*objects(provider, issuer, CONSUMERS), folder=folder) as running:
        yield running


async def asked(bed, token, path="/plain/v1/chat/completions", **headers):
    return await bed.chat(path, authorization=f"Bearer {token}", **headers)


async def known_as(bed, token, **headers):
    """Status, and the consumer's name in the log."""
    answer = await asked(bed, token, **headers)
    return answer.status_code, (await bed.record(answer))["consumer"]


@pytest.mark.parametrize(
    ("claims", "status", "consumer"),
    [
        ({"aud": "gw", "azp": "web"}, 200, "web"),
        ({"aud": ["x", "other"], "azp": "web"}, 200, "web"),
        ({"aud": "gw", "azp": ["mobile", "web"]}, 200, "web"),
        ({"aud": "gw", "azp": "Web"}, 403, "whoever"),
        ({"aud": "gw"}, 403, "whoever"),
        ({"level": 3, "beta": True, "groups": ["a", "staff"]}, 200, "typed"),
        ({"level": 3.0, "beta": True, "groups": "staff"}, 200, "typed"),
        ({"level": "3", "beta": "true", "groups": ["staff"]}, 200, "typed"),
        ({"level": 3, "beta": True, "groups": "staff", "aud": "gw"}, 200, "typed"),
        ({"level": 3, "beta": True, "groups": "staff", "aud": "gw", "azp": "web"}, 200, "web"),
        ({"level": 3.5, "beta": True, "groups": "staff"}, 401, None),
        ({"level": 3, "beta": False, "groups": "staff"}, 401, None),
        ({"level": 3, "beta": None, "groups": "staff"}, 401, None),
        ({"level": 3, "beta": True, "groups": "staff,admin"}, 401, None),
        ({"level": 3, "beta": True, "groups": [["staff"]]}, 401, None),
        ({"level": 3, "beta": True, "groups": {"1": "staff"}}, 401, None),
        ({"level": {"value": 3}, "beta": True, "groups": "staff"}, 401, None),
        ({"aud": "elsewhere", "azp": "web"}, 401, None),
        ({"aud": [], "azp": "web"}, 401, None),
        ({"aud": "gw/", "azp": "web"}, 401, None),
        ({}, 401, None),
    ],
)
async def test_claims_tell_consumers_apart(bed, issuer, claims, status, consumer):
    assert await known_as(bed, issuer.token(**claims)) == (status, consumer)


@pytest.mark.parametrize("kind", ["RS256", "RS384", "PS256", "ES256", "EdDSA"])
async def test_every_kind_of_key_pair(provider, tmp_path, kind):
    issuer = Issuer(ISS, kind)
    consumers = [tokened("web", "a", iss=ISS, jwks=KEYS)]
    async with serving(*objects(provider, issuer, consumers), folder=tmp_path) as bed:
        assert await known_as(bed, issuer.token()) == (200, "web")
        assert (await asked(bed, issuer.token()[:-8] + "AAAAAAAA")).status_code == 401


def signed(issuer, **header):
    return issuer.token(aud="gw", azp="web", header=header)


def encoded(content):
    return base64.urlsafe_b64encode(content).decode().rstrip("=")


def tampered(issuer):
    head, payload, signature = signed(issuer).split(".")
    claims = json.loads(base64.urlsafe_b64decode(payload + "=="))
    return f"{head}.{encoded(json.dumps({**claims, 'level': 3}).encode())}.{signature}"


def public_key_as_secret(issuer):
    """The classic: the issuer's public key as the secret of HMAC."""
    parts = [{"alg": "HS256", "kid": issuer.keys[-1].kid}, issuer.claims(aud="gw", azp="web")]
    text = ".".join(encoded(json.dumps(part).encode()) for part in parts)
    pem = issuer.keys[-1].as_pem(private=False)
    return f"{text}.{encoded(hmac.digest(pem, text.encode(), 'sha256'))}"


BAD = {
    "another key": lambda issuer: issuer.token(aud="gw", azp="web", key=Issuer(ISS).keys[-1]),
    "another key in the token": lambda issuer: issuer.token(
        aud="gw",
        azp="web",
        key=(other := Issuer(ISS)).keys[-1],
        header={"jwk": other.keys[-1].as_dict(private=False)},
    ),
    "unknown kid": lambda issuer: signed(issuer, kid="key-9"),
    "another algorithm than the key's": lambda issuer: signed(issuer, alg="RS384"),
    "PS instead of RS": lambda issuer: signed(issuer, alg="PS256"),
    "no algorithm": lambda issuer: signed(issuer, alg="none"),
    "public key as a secret": public_key_as_secret,
    "expired": lambda issuer: issuer.token(aud="gw", azp="web", exp=int(time.time()) - 90),
    "never expires": lambda issuer: issuer.token(aud="gw", azp="web", exp=None),
    "not yet": lambda issuer: issuer.token(aud="gw", azp="web", nbf=int(time.time()) + 600),
    "unknown issuer": lambda issuer: issuer.token(aud="gw", azp="web", iss="https://other.example"),
    "issuer with a slash": lambda issuer: issuer.token(aud="gw", azp="web", iss=f"{ISS}/"),
    "no issuer": lambda issuer: issuer.token(aud="gw", azp="web", iss=None),
    "no signature": lambda issuer: signed(issuer).rpartition(".")[0] + ".",
    "two parts": lambda issuer: signed(issuer).rpartition(".")[0],
    "tampered": tampered,
    "a key that looks like a token": lambda _: "eyJh.eyJi.c",
    "no token": lambda _: "eyJ",
    "two tokens": lambda issuer: f"{signed(issuer)},Bearer {signed(issuer)}",
}


@pytest.mark.parametrize("name", BAD)
async def test_a_bad_token_is_refused_whatever_else_is_shown(bed, provider, issuer, name):
    before = len(provider.requests)
    token = BAD[name](issuer)
    answer = await asked(bed, token)
    assert (answer.status_code, answer.json()["error"]["type"]) == (401, "invalid_request_error")
    assert answer.json()["error"]["code"] in {"invalid_token", "invalid_api_key"}
    assert token not in answer.text
    assert answer.headers["x-request-id"]
    if token.count(".") == 2 and "," not in token:
        beside = await asked(bed, token, x_api_key="batch-1", api_key="batch-1")
        assert beside.status_code == 401, "a key beside it does not help"
        assert answer.json()["error"]["code"] == "invalid_token"
    assert len(provider.requests) == before


async def test_clocks_may_be_a_minute_apart(bed, issuer):
    now = int(time.time())
    assert (await asked(bed, issuer.token(aud="gw", azp="web", exp=now - 20))).status_code == 200
    assert (await asked(bed, issuer.token(aud="gw", azp="web", nbf=now + 20))).status_code == 200


async def test_a_token_is_only_taken_from_the_authorization_header(bed, issuer):
    token = signed(issuer)
    path = f"/plain/v1/chat/completions?access_token={token}"
    sent = [
        {"x_api_key": token},
        {"api_key": token},
        {"authorization": token},
        {"authorization": f"Basic {token}"},
        {"cookie": f"token={token}"},
        {},
    ]
    for headers in sent:
        assert (await bed.chat(path, **headers)).status_code == 401


async def test_keys_work_beside_tokens(bed):
    for headers in ({"authorization": "Bearer batch-1"}, {"x_api_key": "batch-1"}):
        answer = await bed.chat("/plain/v1/chat/completions", **headers)
        assert answer.status_code == 200
        assert (await bed.record(answer))["consumer"] == "batch"
    for headers in ({"authorization": "Bearer wrong"}, {}):
        refused = await bed.chat("/plain/v1/chat/completions", **headers)
        assert (refused.status_code, refused.json()["error"]["code"]) == (401, "invalid_api_key")


async def test_scopes_hold_for_tokens(bed, provider, issuer):
    before = len(provider.requests)
    path = "/drawn/v1/chat/completions"
    staff = {"level": 3, "beta": True, "groups": "staff"}
    assert (await asked(bed, signed(issuer), path)).status_code == 200
    refused = await asked(bed, issuer.token(**staff), path)
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "out_of_scope")
    assert len(provider.requests) == before + 1
    lists = {}
    for name, token in (("web", signed(issuer)), ("typed", issuer.token(**staff))):
        answer = await bed.client.get("/v1/models", headers={"authorization": f"Bearer {token}"})
        lists[name] = [model["id"] for model in answer.json()["data"]]
    assert lists == {"web": ["a", "b-v1"], "typed": ["a"]}


async def test_no_token_goes_on_or_into_a_log(bed, provider, issuer):
    token = signed(issuer)
    before = len(provider.requests)
    query = f"/plain/v1/chat/completions?token={token}"
    answer = await asked(bed, token, query, x_api_key=token, api_key=token)
    assert answer.status_code == 200
    (arrived,) = provider.requests[before:]
    assert arrived.credentials == {"authorization": ["Bearer upstream-a"]}
    assert not [name for name, _ in arrived.headers if name.lower().startswith("x-mb-")]
    assert all(token not in value for name, value in arrived.headers)
    await bed.record(answer)
    written = bed.log.read_text() + (bed.running.folder / "envoy.log").read_text()
    assert token.split(".")[1] not in written


async def test_a_token_too_large_for_any_server_is_a_clear_431(bed, issuer):
    answer = await asked(bed, issuer.token(aud="gw", azp="web", pad="x" * 70_000))
    assert answer.status_code == 431
    assert answer.json()["error"]["type"] == "invalid_request_error"
    large = issuer.token(aud="gw", azp="web", pad="x" * 20_000)
    assert (await asked(bed, large)).status_code == 200


async def test_two_authorization_headers_are_refused(bed, issuer):
    token = signed(issuer)
    for lines in ((token, "batch-1"), ("batch-1", token), (token, token)):
        sent = "".join(f"Authorization: Bearer {value}\r\n" for value in lines)
        request = f"GET /v1/models HTTP/1.1\r\nhost: x\r\n{sent}\r\n"
        assert (await raw(bed.running.url, request.encode())).status == 401


async def test_keys_of_a_config_map_are_taken_up_without_a_restart(provider, tmp_path):
    issuer = Issuer(ISS)
    consumers = [tokened("web", "a", iss=ISS, jwks=KEYS), keyed("batch", "a")]
    async with serving(*objects(provider, issuer, consumers), folder=tmp_path) as bed:
        file = bed.running.folder / "jwks" / "keys" / "jwks.json"
        first = issuer.token()
        assert (await asked(bed, first)).status_code == 200
        issuer.rotate()
        second = issuer.token()
        assert (await asked(bed, second)).status_code == 401
        failed = 0

        async def answers(token, status):
            nonlocal failed
            failed += (await asked(bed, first)).status_code != 200
            return (await asked(bed, token)).status_code == status

        file.write_text(json.dumps(issuer.jwks))
        await until(lambda: answers(second, 200))
        assert failed == 0, "the old key is valid all the time"
        issuer.keys.pop(0)
        file.write_text(json.dumps(issuer.jwks))
        await until(lambda: answers(first, 401))
        assert (await asked(bed, second)).status_code == 200
        file.write_text("{}")
        await until(lambda: answers(second, 503))
        assert (await asked(bed, second)).json()["error"]["code"] == "issuer_unavailable"
        assert (await bed.chat("/plain/v1/chat/completions", x_api_key="batch-1")).status_code == 200
        file.write_text(json.dumps(issuer.jwks))
        await until(lambda: answers(second, 200))


async def test_an_issuers_outage_touches_no_other(provider, tmp_path):
    one, two = Issuer("https://one.example"), Issuer("https://two.example", "ES256")
    async with published(one) as served, published(two) as other:
        served.fault = "hang"
        consumers = [
            tokened("one", "a", iss=one.iss, jwks={"url": served.url}),
            tokened("two", "a", iss=two.iss, jwks={"url": other.url}),
            keyed("batch", "a"),
        ]
        async with serving(*objects(provider, one, consumers), folder=tmp_path) as bed:
            waiting = [asyncio.create_task(asked(bed, one.token())) for _ in range(40)]
            began = time.monotonic()
            for _ in range(20):
                assert await known_as(bed, two.token()) == (200, "two")
                assert (await asked(bed, "batch-1")).status_code == 200
            assert not all(task.done() for task in waiting) or time.monotonic() - began > 4
            refused = await asyncio.gather(*waiting)
            assert {answer.status_code for answer in refused} == {503}
            assert {answer.json()["error"]["code"] for answer in refused} == {"issuer_unavailable"}
            assert {answer.headers["retry-after"] for answer in refused} == {"5"}
            assert served.asked < 20, "a flood of tokens is no flood at the issuer"
            for fault in ("status", "garbage"):
                served.fault = fault
                assert (await asked(bed, one.token())).status_code == 503
            served.fault = None
            await until(lambda: works(bed, one.token()))
            served.fault = "status"
            assert await works(bed, one.token()), "known keys stay in use"
            assert other.asked < 10, "keys are kept, not fetched for each request"


async def works(bed, token):
    return (await asked(bed, token)).status_code == 200
