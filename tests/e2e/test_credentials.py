"""Credentials of each kind replaced while requests go through real pods: no request fails, and no credential
is sent after its successor.

The Secrets reach the pod by the kubelet, which takes up to a minute and a half.
"""

import hashlib
import itertools
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import models
import pytest
from sites import route

import cluster as access
from moltbot_agent.signing import new_key, public_jwk

APIKEY, OAUTH2, JWT, MANAGED = "cred-apikey", "cred-oauth2", "cred-jwt", "cred-managed"
BACKENDS = (APIKEY, OAUTH2, JWT, MANAGED)
IDENTITY = "cred-identity"
CLAIMS = {"issuer": "moltbot", "subject": "gateway", "audience": "models"}
RATE = 60
"""Requests a second for each backend whose credential is replaced: 180 in all, and a few for the managed."""

LIFE = 6
"""Seconds that an OAuth 2.0 token lives."""

KUBELET_S = 240
"""Longest wait for a changed Secret to be used."""

IN_FLIGHT_S = 3.0


def secret(site, name, **values):
    metadata = {"name": name, "namespace": site.namespace}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": values}


def backend(site, name, auth):
    endpoint = {"service": {"name": name, "port": models.PORT}}
    return {
        "apiVersion": "moltbot.io/v1alpha1",
        "kind": "ModelBackend",
        "metadata": {"name": name, "namespace": site.namespace},
        "spec": {"provider": "Custom", "endpoint": endpoint, "auth": auth},
    }


def identity_pod(site):
    """The identity provider stands on the providers' image."""
    found = models.provider(IDENTITY, site.namespace)
    container = found[0]["spec"]["template"]["spec"]["containers"][0]
    container["command"] = ["python3", "-m", "moltbot_identity"]
    container["args"] = ["--client", "gateway=secret-0", "--life", str(LIFE)]
    return found


class Credentials:
    """What is valid, in the order in which it was made."""

    def __init__(self, site):
        self.site = site
        self.values = {APIKEY: ["key-0"], OAUTH2: ["secret-0"], JWT: [new_key("ES256")]}

    def secret_of(self, name):
        return secret(self.site, name, value=self.values[name][-1])

    def accept(self, name, last):
        """Have the provider accept the `last` so many credentials and no other."""
        valid = self.values[name][-last:]
        if name == APIKEY:
            body = {"authorization": [f"Bearer {value}" for value in valid]}
            self.site.admin(APIKEY, "PUT", "/expect", body)
        elif name == OAUTH2:
            self.site.admin(IDENTITY, "PUT", "/clients", {"gateway": valid})
        else:
            keys = [public_jwk(value, "ES256") for value in valid]
            # The pods share a clock; the verifier's and the signer's differ by nothing but rounding.
            self.site.admin(JWT, "PUT", "/verify", {"keys": keys, **CLAIMS})

    def spans(self, name):
        """When the provider got each credential first and last; fails for a foreign or refused one."""
        seen = self.site.admin(name, "GET", "/credentials")
        issued = self.site.admin(IDENTITY, "GET", "/issued") if name == OAUTH2 else {}
        digests = {
            hashlib.sha256(f"Bearer {value}".encode()).hexdigest(): value for value in self.values[name]
        }
        kids = (
            {public_jwk(value, "ES256")["kid"]: value for value in self.values[name]} if name == JWT else {}
        )
        spans = {}
        for digest, each in seen.items():
            assert each["refused"] == 0, (name, each)
            value = {APIKEY: digests.get(digest), OAUTH2: issued.get(digest), JWT: kids.get(each["kid"])}[
                name
            ]
            assert value in self.values[name], f"{name} got a credential that is not its own"
            first, last = spans.get(value, (each["first"], each["last"]))
            spans[value] = (min(first, each["first"]), max(last, each["last"]))
        return [spans.get(value) for value in self.values[name]]

    def replace(self, name):
        """Both are valid while the pod changes over, then the new one alone."""
        self.values[name].append(new_key("ES256") if name == JWT else f"{name}-{len(self.values[name])}")
        self.accept(name, 2)
        self.site.cluster.apply([self.secret_of(name)])
        access.wait_until(f"{name} to get its new credential", lambda: self.spans(name)[-1], KUBELET_S)
        time.sleep(IN_FLIGHT_S)
        self.accept(name, 1)


@pytest.fixture(scope="module")
def credentials(site):
    made = Credentials(site)
    objects = identity_pod(site)
    for name in BACKENDS:
        objects += models.provider(name, site.namespace)
    objects += [made.secret_of(name) for name in made.values]
    reference = {name: {"name": name, "key": "value"} for name in made.values}
    base = f"http://{IDENTITY}.{site.namespace}.svc:{models.PORT}"
    client = {"tokenUrl": f"{base}/token", "clientId": "gateway", "clientSecretRef": reference[OAUTH2]}
    key, managed = {"secretRef": reference[JWT]}, {"managed": True}
    objects += [
        backend(site, APIKEY, {"type": "APIKey", "apiKey": {"secretRef": reference[APIKEY]}}),
        backend(site, OAUTH2, {"type": "OAuth2", "oauth2": client}),
        backend(site, JWT, {"type": "JWT", "jwt": {**CLAIMS, "signingKey": key}}),
        backend(site, MANAGED, {"type": "JWT", "jwt": {**CLAIMS, "signingKey": managed, "ttl": "30s"}}),
    ]
    site.cluster.apply(objects)
    for name in (*BACKENDS, IDENTITY):
        status = ("rollout", "status", f"deployment/{name}", "-n", site.namespace, "--timeout=120s")
        site.cluster.kubectl(*status)
    for name in made.values:
        made.accept(name, 1)
    site.admin(OAUTH2, "PUT", "/verify", {"introspect": f"{base}/introspect"})
    # The provider of the managed key's backend is given what the operator published, and nothing else.
    published = access.wait_until(
        "the managed key's JWKS",
        lambda: site.cluster.get("configmap", f"{MANAGED}-jwks", site.namespace),
        60,
    )
    keys = json.loads(published["data"]["jwks.json"])["keys"]
    assert [sorted({"d", "p", "q"} & set(key)) for key in keys] == [[]]
    site.admin(MANAGED, "PUT", "/verify", {"keys": keys, **CLAIMS})
    rules = [
        {
            "name": name,
            "matches": [{"path": {"type": "Prefix", "value": f"/{name}/"}}],
            "candidates": [{"backend": name}],
            "failover": {"maxRetries": 0},
        }
        for name in BACKENDS
    ]
    site.cluster.apply([route("credentials", site.namespace, rules, gateway={"replicas": 1})])
    site.wait_ready("credentials")
    url = f"http://credentials.{site.namespace}.svc/{APIKEY}/v1/models"

    def answers():
        try:
            return site.client("http", method="GET", url=url)["status"] == 200
        except access.CommandFailed:  # kube-proxy has not heard of it yet
            return False

    access.wait_until(f"an answer of {url}", answers, 60)
    return made


def load_until(site, name, stop, results, rate):
    """Load in pieces, until told to stop."""
    while not stop.is_set():
        path = f"/{name}/v1/chat/completions"
        results.append(site.load("credentials", path, duration=15, rate=rate, concurrency=8))


def test_no_request_fails_while_every_kind_of_credential_is_replaced(site, credentials):
    stop, results = threading.Event(), {name: [] for name in BACKENDS}
    with ThreadPoolExecutor(len(BACKENDS) * 2) as pool:
        loads = [
            pool.submit(load_until, site, name, stop, results[name], 5 if name == MANAGED else RATE)
            for name in BACKENDS
        ]
        try:
            for _ in range(2):
                list(pool.map(credentials.replace, credentials.values))
        finally:
            stop.set()
        for load in loads:
            load.result()
    for name in BACKENDS:
        answers = [answer for result in results[name] for answer in result["answers"]]
        assert set(answers) == {f"200 {name}"}, [result["errors"] for result in results[name]]
        sent = sum(sum(result["answers"].values()) for result in results[name])
        print(f"{name}: {sent} requests, none failed")
    for name in credentials.values:
        spans = credentials.spans(name)
        assert len(spans) == 3
        assert all(spans)
        for (_, last), (first, _) in itertools.pairwise(spans):
            assert last < first + IN_FLIGHT_S, f"{name} got its old credential after the new one"


def test_agents_report_credentials_and_nothing_secret(site, credentials):
    [pod] = site.pods("moltbot.io/route=credentials")
    metrics = f"http://{pod['status']['podIP']}:9090/metrics"
    text = site.client("http", method="GET", url=metrics)["body"]
    for name in BACKENDS:
        labels = f'backend="{site.namespace}/{name}"'
        assert f"moltbot_agent_credential_present{{{labels}" in text
    assert "moltbot_agent_credential_expiry_seconds" in text
    logs = site.cluster.kubectl("logs", pod["metadata"]["name"], "-n", site.namespace, "-c", "agent")
    for values in credentials.values.values():
        for value in values:
            assert value not in text
            assert value not in logs


@pytest.mark.usefixtures("credentials")
def test_a_token_endpoint_that_is_down_costs_its_backend_only(site):
    site.admin(IDENTITY, "PUT", "/fault", {"kind": "status", "status": 503})
    url = f"http://credentials.{site.namespace}.svc/{OAUTH2}/v1/chat/completions"
    body = {"model": "auto", "messages": []}

    def status():
        return site.client("http", method="POST", url=url, json=body)["status"]

    try:
        access.wait_until("its backend to be without a token", lambda: status() == 503, 30 + LIFE)
        other = url.replace(OAUTH2, APIKEY)
        assert site.client("http", method="POST", url=other, json=body)["status"] == 200
    finally:
        site.admin(IDENTITY, "PUT", "/fault", {})
    access.wait_until("the token to be back", lambda: status() == 200, 60)
