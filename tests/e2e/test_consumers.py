"""Consumers by key and by token, and limits, in real pods."""

import json
import time

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey
from sites import BACKUP, MAX, PRO, route, tech_rule

import cluster as access

NAME = "consumers"
CHAT = "/tech/v1/chat/completions"
ISSUER = "https://issuer.example"
SCOPE = [PRO, MAX, BACKUP]


def key_pair(kid):
    return ECKey.generate_key("P-256", {"kid": kid})


def jwks(*keys):
    return json.dumps({"keys": [key.as_dict(private=False) for key in keys]})


def token(key, **claims):
    now = int(time.time())
    all_claims = {"iss": ISSUER, "aud": "assistant", "iat": now, "exp": now + 3600, **claims}
    return jwt.encode({"alg": "ES256", "kid": key.kid}, all_claims, key)


def config_map(where, text):
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "issuer-keys", "namespace": where},
        "data": {"jwks.json": text},
    }


@pytest.fixture(scope="module")
def first_key():
    return key_pair("first")


@pytest.fixture(scope="module", autouse=True)
def served(site, first_key):
    given = route(NAME, site.namespace, [tech_rule()])
    by_token = {
        "issuer": ISSUER,
        "audiences": ["assistant"],
        "jwks": {"configMapRef": {"name": "issuer-keys", "key": "jwks.json"}},
        "claims": {"azp": "web"},
    }
    given["spec"]["consumers"] = [
        {"name": "web", "auth": {"jwt": by_token}, "backends": SCOPE},
        {"name": "batch", "auth": {"apiKey": {"secretRef": {"name": "batch-keys"}}}, "backends": SCOPE},
        {
            "name": "small",
            "auth": {"apiKey": {"secretRef": {"name": "small-keys"}}},
            "backends": SCOPE,
            "limits": {"requestsPerSecond": 1, "burst": 2},
        },
        {"name": "outsider", "auth": {"apiKey": {"secretRef": {"name": "outsider-keys"}}}, "backends": [PRO]},
    ]
    secrets = [
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": f"{name}-keys", "namespace": site.namespace},
            "stringData": {"key": f"{name}-1"},
        }
        for name in ("batch", "small", "outsider")
    ]
    site.cluster.apply([*secrets, config_map(site.namespace, jwks(first_key)), given])
    site.wait_serving(NAME)


def ask(site, credential):
    headers = {"authorization": f"Bearer {credential}"} if credential else {}
    url = f"http://{NAME}.{site.namespace}.svc{CHAT}"
    body = {"model": "auto", "messages": []}
    return site.client("http", method="POST", url=url, json=body, headers=headers)


def error_code(answer):
    return json.loads(answer["body"])["error"]["code"]


def test_a_request_is_who_its_key_or_token_says(site, first_key):
    assert ask(site, token(first_key, azp="web"))["status"] == 200
    assert ask(site, "batch-1")["status"] == 200
    for refused in (
        token(first_key, azp="other"),
        token(first_key, azp="web", aud="elsewhere"),
        token(key_pair("first"), azp="web"),
        token(first_key, azp="web", exp=1),
        "wrong",
        None,
    ):
        assert ask(site, refused)["status"] == 401
    outside = ask(site, "outsider-1")
    assert (outside["status"], error_code(outside)) == (403, "out_of_scope")


def test_a_consumer_above_its_limit_gets_429_and_nobody_else_does(site):
    job = {"headers": {"authorization": "Bearer small-1"}, "count": 100}
    answers = site.load(NAME, **job)["answers"]
    refused = sum(count for answer, count in answers.items() if answer.startswith("429"))
    served = sum(count for answer, count in answers.items() if answer.startswith("200"))
    assert served + refused == 100, answers
    assert refused > 20, "two pods let some 4 through, and 2 more each second"
    assert ask(site, "batch-1")["status"] == 200


def test_new_keys_of_the_issuer_are_taken_up_by_the_pods_that_run(site, first_key):
    before = site.route(NAME)["status"]["revision"]["active"]
    second = key_pair("second")
    assert ask(site, token(second, azp="web"))["status"] == 401
    site.cluster.apply([config_map(site.namespace, jwks(first_key, second))])
    # The kubelet's own pace: it looks at ConfigMaps every minute or so.
    access.wait_until(
        "the second key's tokens", lambda: ask(site, token(second, azp="web"))["status"] == 200, 180
    )
    assert ask(site, token(first_key, azp="web"))["status"] == 200
    assert site.route(NAME)["status"]["revision"]["active"] == before


def test_a_jwks_that_is_none_is_said_in_the_conditions_and_touches_no_other_consumer(site, first_key):
    site.cluster.apply([config_map(site.namespace, "no jwks")])

    def reason():
        conditions = site.route(NAME)["status"]["conditions"]
        return next(each["reason"] for each in conditions if each["type"] == "ResolvedRefs")

    try:
        access.wait_until("the condition", lambda: reason() == "JWKSUnusable", 60)
        assert ask(site, "batch-1")["status"] == 200
    finally:
        site.cluster.apply([config_map(site.namespace, jwks(first_key))])
    access.wait_until("the condition to go", lambda: reason() == "Resolved", 60)
