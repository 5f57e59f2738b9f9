"""Credentials of every kind rotated by the operator under traffic, while it is killed and the issuers fail.

MOLTBOT_TEST_ROTATIONS: how often each credential is rotated (default 1); in each the operator is killed once,
at another step of the machine, and issuers fail otherwise: 6 is the whole table.
MOLTBOT_TEST_RATE: requests a second for each backend (default 15).
"""

import base64
import json
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import models
import pytest
from sites import RELEASE, SYSTEM, route

import cluster as access

ROTATIONS = int(os.environ.get("MOLTBOT_TEST_ROTATIONS", "1"))
RATE = float(os.environ.get("MOLTBOT_TEST_RATE", "15"))

APIKEY, OAUTH2, MANAGED, EXTERNAL = "rot-apikey", "rot-oauth2", "rot-managed", "rot-external"
BACKENDS = (APIKEY, OAUTH2, MANAGED, EXTERNAL)
ISSUER, IDENTITY = "rot-issuer", "rot-identity"
ADMIN_KEY, INITIAL = "admin-s3cret-of-issuer", "initial-s3cret-of-identity"
BOOTSTRAP = "bootstrap-s3cret-of-a-person"
CLAIMS = {"issuer": "moltbot", "subject": "gateway", "audience": "models"}
CACHE = 3
"""Seconds for which the managed key's provider keeps the JWKS."""

ROTATION_S = 300
"""Longest wait for one rotation of all, with a change of leaders in it."""

COMPROMISED_S = 30.0
"""Most that replacing and revoking a leaked key may take on a busy machine; measured and printed."""


def secret(site, name, **values):
    metadata = {"name": name, "namespace": site.namespace}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": values}


def backend(site, name, auth, issuer, **rotation):
    return {
        "apiVersion": "moltbot.io/v1alpha1",
        "kind": "ModelBackend",
        "metadata": {"name": name, "namespace": site.namespace},
        "spec": {
            "provider": "Custom",
            "endpoint": {"service": {"name": name, "port": models.PORT}},
            "timeouts": {"connect": "1s", "firstByte": "2s"},
            "auth": auth,
            "rotation": {"interval": "72h", "overlap": "2s", "issuer": issuer, **rotation},
        },
    }


def on_the_providers_image(site, name, module, *arguments):
    found = models.provider(name, site.namespace)
    container = found[0]["spec"]["template"]["spec"]["containers"][0]
    container["command"], container["args"] = ["python3", "-m", module], list(arguments)
    return found


def put_rotation(site, name, **change):
    patch = json.dumps({"spec": {"rotation": change}})
    place = ("-n", site.namespace, "--type=merge", "-p", patch)
    site.cluster.kubectl("patch", "modelbackend", name, *place)


def credential(site, name):
    found = site.cluster.get("modelbackend", name, site.namespace)
    return (found.get("status") or {}).get("credential") or {}


def now():
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")


@pytest.fixture(scope="module")
def rotating(site):
    """Four backends, one for each kind, and a route to each; every one has its first credential.

    The cluster refuses the operator to write Secrets without its label.
    """
    access.install_chart(site.cluster, RELEASE, SYSTEM, "rbac.secretsPolicy.enabled=true")
    objects = on_the_providers_image(
        site, ISSUER, "moltbot_issuer", "--admin-key", ADMIN_KEY, "--key", f"person={BOOTSTRAP}"
    )
    objects += on_the_providers_image(
        site,
        IDENTITY,
        "moltbot_identity",
        *("--life", "20", "--initial-token", INITIAL),
        *("--base", f"http://{IDENTITY}.{site.namespace}.svc:{models.PORT}"),
    )
    for name in BACKENDS:
        objects += models.provider(name, site.namespace)
    objects += [
        secret(site, "rot-admin", token=ADMIN_KEY),
        secret(site, "rot-initial", token=INITIAL),
        secret(site, "rot-person", token=BOOTSTRAP),
        secret(site, EXTERNAL, token="external-s3cret-0"),
    ]
    base = {each: f"http://{each}.{site.namespace}.svc:{models.PORT}" for each in (ISSUER, IDENTITY)}
    webhook = {"preset": "LiteLLM", "url": base[ISSUER], "secretRef": {"name": "rot-admin", "key": "token"}}
    registration = {
        "registrationUrl": f"{base[IDENTITY]}/register",
        "initialAccessTokenRef": {"name": "rot-initial", "key": "token"},
    }
    managed = {"type": "ManagedKey", "managedKey": {"cacheMaxAge": f"{CACHE}s"}}
    person, theirs = {"name": "rot-person", "key": "token"}, {"name": EXTERNAL, "key": "token"}
    jwt = {**CLAIMS, "ttl": "30s", "signingKey": {"managed": True}}
    objects += [
        backend(
            site,
            APIKEY,
            {"type": "APIKey", "apiKey": {"secretRef": person}},
            {"type": "Webhook", "webhook": webhook},
        ),
        backend(
            site,
            OAUTH2,
            {"type": "OAuth2", "oauth2": {"tokenUrl": f"{base[IDENTITY]}/token"}},
            {"type": "DynamicRegistration", "dynamicRegistration": registration},
        ),
        backend(site, MANAGED, {"type": "JWT", "jwt": jwt}, managed),
        backend(site, EXTERNAL, {"type": "APIKey", "apiKey": {"secretRef": theirs}}, {"type": "External"}),
    ]
    site.cluster.apply(objects)
    for name in (*BACKENDS, ISSUER, IDENTITY):
        status = ("rollout", "status", f"deployment/{name}", "-n", site.namespace, "--timeout=120s")
        site.cluster.kubectl(*status)
    site.admin(APIKEY, "PUT", "/verify", {"introspect": f"{base[ISSUER]}/accepted"})
    site.admin(OAUTH2, "PUT", "/verify", {"introspect": f"{base[IDENTITY]}/introspect"})
    jwks = f"http://{RELEASE}-jwks.{SYSTEM}.svc/jwks/{site.namespace}/{MANAGED}"
    site.admin(MANAGED, "PUT", "/verify", {"jwks_url": jwks, **CLAIMS})
    site.admin(EXTERNAL, "PUT", "/expect", {"authorization": ["Bearer external-s3cret-0"]})
    rules = [
        {
            "name": name,
            "matches": [{"path": {"type": "Prefix", "value": f"/{name}/"}}],
            "candidates": [{"backend": name}],
            "failover": {"maxRetries": 0},
        }
        for name in BACKENDS
    ]
    access.wait_until(
        "the first credential of each",
        lambda: all(credential(site, name).get("version") for name in BACKENDS),
        90,
    )
    site.cluster.apply([route("rotating", site.namespace, rules, gateway={"replicas": 2})])
    site.wait_ready("rotating")

    def answers():
        for name in BACKENDS:
            url = f"http://rotating.{site.namespace}.svc/{name}/v1/chat/completions"
            try:
                if site.client("http", method="POST", url=url, json={"messages": []})["status"] != 200:
                    return False
            except access.CommandFailed:
                return False
        return True

    access.wait_until("every backend to answer", answers, 90)
    yield site
    access.install_chart(site.cluster, RELEASE, SYSTEM)


class Traffic:
    """Requests to every backend while the block runs; none may fail."""

    def __init__(self, site):
        self.site = site
        self.stop = threading.Event()
        self.results = {name: [] for name in BACKENDS}
        self.pool = ThreadPoolExecutor(len(BACKENDS))

    def __enter__(self):
        self.loads = [self.pool.submit(self.load, name) for name in BACKENDS]
        return self

    def load(self, name):
        while not self.stop.is_set():
            path = f"/{name}/v1/chat/completions"
            self.results[name].append(self.site.load("rotating", path, duration=10, rate=RATE, concurrency=4))

    def __exit__(self, kind, *_):
        self.stop.set()
        for load in self.loads:
            load.result()
        self.pool.shutdown()
        if kind is not None:
            return
        for name, results in self.results.items():
            answers = [answer for result in results for answer in result["answers"]]
            errors = [error for result in results for error in result["errors"]]
            assert set(answers) == {f"200 {name}"}, (name, len(errors), errors[:10])
            sent = sum(sum(result["answers"].values()) for result in results)
            print(f"{name}: {sent} requests, none refused")


said_by_killed = {}
"""What the log of each operator said that was killed, which goes with its pod."""


def kill_operator(site):
    """The leader's pod at once, as a node that dies; the standby takes over."""
    lease = site.cluster.get("lease", RELEASE, SYSTEM) or {}
    holder = (lease.get("spec") or {}).get("holderIdentity", "")
    pods = [each["metadata"]["name"] for each in site.cluster.list("pods", SYSTEM, "")]
    [leader] = [name for name in pods if holder.startswith(name)] or pods[:1]
    said_by_killed[leader] = site.cluster.kubectl(
        "logs", leader, "-n", SYSTEM, "--all-containers", "--tail=-1"
    )
    site.cluster.kubectl("delete", "pod", leader, "-n", SYSTEM, "--grace-period=0", "--force")


def settled(site, name, before):
    found = credential(site, name)
    idle = found.get("phase") == "Idle" and not found.get("attempts")
    return idle and found.get("version") != before[name] and not found.get("previousVersion")


STEPS = ("Issued", "Promoted", "Prepared", "Distributed", "Overlap", "Revoked")
"""In the n-th rotation the operator is killed once a backend is seen at the n-th of these, or further."""

ORDER = ("Idle", "Prepared", "Issued", "Verified", "Distributed", "Promoted", "Overlap", "Revoked")

FAULTS = (
    (("lost", "create"), ("error_after", "revoke"), ("status", "register"), ("cut", "delete")),
    (("hang_after", "create"), ("hang", "list"), ("hang", "register"), ("lost", "delete")),
    (("malformed", "create"), ("lost", "revoke"), ("cut", "register"), ("error_after", "delete")),
    (("error_after", "create"), ("cut", "list"), ("limited", "register"), ("status", "delete")),
    (("without_value", "create"), ("hang_after", "revoke"), ("refuse", "register"), ("hang", "delete")),
    (("limited", "create"), ("status", "revoke"), ("status", "register"), ("hang_after", "delete")),
)
"""All of a line in the n-th rotation: keys that are made and nobody hears of, revocations without an answer,
issuers that hang. A client whose registration is lost can't be found by anybody: that is not among them."""


def put_faults(site, number):
    faults = [
        {"kind": kind, "operation": call, "count": 1} for kind, call in FAULTS[(number - 1) % len(FAULTS)]
    ]
    keys = [each for each in faults if each["operation"] in {"list", "create", "revoke"}]
    site.admin(ISSUER, "PUT", "/faults", keys)
    site.admin(IDENTITY, "PUT", "/registration", {"faults": [each for each in faults if each not in keys]})


def wait_for_step(site, number, before):
    """Until a backend is at the step where the operator is to be killed in this rotation."""
    step, names = STEPS[(number - 1) % len(STEPS)], (APIKEY, MANAGED, OAUTH2, EXTERNAL)
    name = names[(number - 1) % len(names)]

    def there():
        found = credential(site, name)
        gone_by = found.get("version") != before[name]
        return gone_by or ORDER.index(found.get("phase") or "Idle") >= ORDER.index(step)

    access.wait_until(f"{name} to be {step}", there, ROTATION_S, every=0.1)
    return f"{name} {credential(site, name).get('phase')}"


def test_every_kind_rotates_under_traffic_while_operator_and_issuers_fail(rotating):
    site = rotating
    with Traffic(site):
        for number in range(1, ROTATIONS + 1):
            before = {name: credential(site, name)["version"] for name in BACKENDS}
            put_faults(site, number)
            value = f"external-s3cret-{number}"
            both = [f"Bearer external-s3cret-{number - 1}", f"Bearer {value}"]
            site.admin(EXTERNAL, "PUT", "/expect", {"authorization": both})
            site.cluster.apply([secret(site, EXTERNAL, token=value)])
            for name in (APIKEY, OAUTH2, MANAGED):
                put_rotation(site, name, rotateAt=now())
            at = wait_for_step(site, number, before)
            kill_operator(site)
            began = time.monotonic()
            for name in BACKENDS:
                access.wait_until(
                    f"{name} to be rotated",
                    lambda name=name, before=before: settled(site, name, before),
                    ROTATION_S,
                )
            print(f"rotation {number}: {time.monotonic() - began:.0f} s, the operator killed at {at}")
            site.admin(EXTERNAL, "PUT", "/expect", {"authorization": [f"Bearer {value}"]})
    valid = [each for each in site.admin(ISSUER, "GET", "/keys") if each["valid"]]
    assert [each["name"] == "person" for each in valid].count(False) == 1, valid
    clients = site.admin(IDENTITY, "GET", "/registration")["clients"]
    assert len(clients) == 1, clients
    for name in BACKENDS:
        kept = site.cluster.list(
            "secrets",
            site.namespace,
            f"moltbot.io/backend={name},app.kubernetes.io/component=credential-version",
        )
        spare = [credential(site, name)["spareVersion"]] if name == MANAGED else []
        names = {f"{name}-credential-{each}" for each in [credential(site, name)["version"], *spare]}
        assert {each["metadata"]["name"] for each in kept} == names
        assert all(each["immutable"] for each in kept)

    def published():
        config = site.cluster.get("configmap", f"{MANAGED}-jwks", site.namespace)
        return len({key["kid"] for key in json.loads(config["data"]["jwks.json"])["keys"]})

    access.wait_until("the JWKS to have the key in use and the spare alone", lambda: published() == 2, 30)


def test_a_leaked_key_is_replaced_and_revoked_in_seconds(rotating):
    site = rotating
    leaked = {name: credential(site, name)["version"] for name in (APIKEY, MANAGED)}
    spare = credential(site, MANAGED)["spareVersion"]
    with Traffic(site):
        time.sleep(2)
        valid = {each["name"] for each in site.admin(ISSUER, "GET", "/keys") if each["valid"]}
        [mine] = [name for name in valid if name.endswith(leaked[APIKEY])]

        def revoked():
            keys = site.admin(ISSUER, "GET", "/keys")
            return all(not each["valid"] for each in keys if each["name"] == mine)

        def retired():
            found = credential(site, MANAGED)
            return found["version"] == spare and not found.get("previousVersion")

        for name, gone in ((APIKEY, revoked), (MANAGED, retired)):
            began = time.monotonic()
            put_rotation(site, name, compromised=leaked[name])
            access.wait_until(f"the leaked key of {name} to be revoked", gone, COMPROMISED_S, every=0.1)
            print(f"{name}: compromised to revoked: {time.monotonic() - began:.1f} s")
    for name in leaked:
        access.wait_until("the rotation to end", lambda name=name: settled(site, name, leaked), 60)


def refused(site, *command, **given):
    """Whether the cluster refuses this to the operator, by the Secret's labels; it is not carried out."""
    operator = f"--as=system:serviceaccount:{SYSTEM}:{RELEASE}"
    try:
        site.cluster.kubectl(*command, "-n", site.namespace, operator, "--dry-run=server", **given)
    except access.CommandFailed as error:
        if "writes only Secrets with the label" not in str(error):
            raise
        return True
    return False


def test_the_operator_may_write_no_secret_but_its_own(rotating):
    site = rotating
    change = ("--type=merge", "-p", json.dumps({"data": {"token": "eA=="}}))
    access.wait_until(
        "the policy to be in force", lambda: refused(site, "patch", "secret", "rot-person", *change), 60
    )
    assert refused(site, "delete", "secret", "rot-person")
    new = secret(site, "somebodys", token="x")
    assert refused(site, "create", "-f", "-", stdin=json.dumps(new))
    new["metadata"]["labels"] = {"app.kubernetes.io/managed-by": "moltbot-operator"}
    assert not refused(site, "create", "-f", "-", stdin=json.dumps(new))
    own = f"{APIKEY}-credential"
    assert not refused(site, "patch", "secret", own, *change)
    labels = {"metadata": {"labels": {"app.kubernetes.io/managed-by": None}}}
    assert refused(site, "patch", "secret", own, "--type=merge", "-p", json.dumps(labels))


def _of_a_test(each):
    """The simulated issuers are given their secrets as arguments."""
    return each["kind"] == "Deployment" and each["metadata"]["name"] in {ISSUER, IDENTITY}


LIMITS = """
import json, pathlib
found = set()
for each in pathlib.Path("/proc").glob("[0-9]*"):
    words = (each / "cmdline").read_bytes().split(b"\\0")
    if any(word in (b"moltbot_agent", b"operator") for word in words):
        lines = (each / "limits").read_text().splitlines()
        found |= {tuple(line.split()[4:6]) for line in lines if line.startswith("Max core file size")}
print(json.dumps(sorted(found)))
"""
"""Prints the limits of core files, soft and hard, of the operator's or agent's processes in a container."""


def test_no_secret_of_the_run_is_in_logs_events_or_status(rotating):
    site = rotating
    values = {ADMIN_KEY, INITIAL, BOOTSTRAP}
    values |= {f"external-s3cret-{number}" for number in range(ROTATIONS + 1)}
    values |= set(site.admin(ISSUER, "GET", "/values"))
    values |= set(site.admin(IDENTITY, "GET", "/registration")["values"])
    found = site.cluster.list("secrets", site.namespace, "moltbot.io/backend")
    assert found
    for each in found:
        held = each["data"].get("value") or each["data"].get("key.pem")
        lines = base64.b64decode(held).decode().splitlines()
        values.add(lines[1] if lines[0].startswith("-----") else lines[0])
    texts = {}
    kinds = "events,modelbackends,moltbotroutes,configmaps,deployments"
    ours = [each for each in site.cluster.list(kinds, site.namespace) if not _of_a_test(each)]
    texts["objects"] = json.dumps([*ours, *site.pods("app.kubernetes.io/component=gateway")])
    assert said_by_killed
    texts |= {f"log of {name}, which was killed": said for name, said in said_by_killed.items()}
    texts[f"objects in {SYSTEM}"] = json.dumps(site.cluster.list("events,pods", SYSTEM))
    pods = [(SYSTEM, each["metadata"]["name"]) for each in site.cluster.list("pods", SYSTEM, "")]
    gateways = site.pods("app.kubernetes.io/component=gateway")
    pods += [(site.namespace, each["metadata"]["name"]) for each in gateways]
    for where, name in pods:
        said = site.cluster.kubectl("logs", name, "-n", where, "--all-containers", "--tail=-1")
        texts[f"log of {name}"] = said
    operators = site.cluster.list("pods", SYSTEM, "app.kubernetes.io/component=operator")
    assert operators
    for each in (*gateways, *operators):
        url = f"http://{each['status']['podIP']}:9090/metrics"
        answer = site.client("http", method="GET", url=url)
        assert answer["status"] == 200
        texts[f"metrics of {each['metadata']['name']}"] = answer["body"]
    for each in (*gateways, *operators):
        place = (each["metadata"]["name"], each["metadata"]["namespace"])
        every = [*each["spec"].get("initContainers", []), *each["spec"]["containers"]]
        [ours] = [one["name"] for one in every if one["name"] in {"agent", "operator"}]
        said = site.cluster.python_in(*place, LIMITS, container=ours)
        assert json.loads(said) == [["0", "0"]], f"{place} ({ours}) may leave its memory in a file: {said}"
    for kind in ("modelbackends", "moltbotroutes", "secrets", "events"):
        said = site.cluster.kubectl("describe", kind, "-n", site.namespace)
        texts[f"what kubectl describes of {kind}"] = said
    values = {value for value in values if value and len(value) > 7}
    assert len(values) > 8
    for where, text in texts.items():
        shown = [value for value in values if value in text]
        assert not shown, f"{where} shows {len(shown)} secret values"
    print(f"{len(values)} secret values are in none of {len(texts)} places")
