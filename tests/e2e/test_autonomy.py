"""The data plane goes on by itself: agents die or the operator is away, and no request fails.

MOLTBOT_TEST_OUTAGE: seconds that the operator is away (default 45); tokens live a tenth of that.
"""

import os
import random
import threading
import time

import models
import pytest
from sites import BACKUP, SYSTEM, backend, route, tech_rule

import cluster as access

KILLS = 12
OUTAGE = float(os.environ.get("MOLTBOT_TEST_OUTAGE", "45"))
LIFE = max(4, OUTAGE / 10)
RATE = 50
"""Requests a second while the operator is away."""

IDENTITY, GUARDED = "auto-identity", "auto-guarded"
KILL = """
import os, signal, sys
for pid in filter(str.isdigit, os.listdir('/proc')):
    try:
        words = open(f'/proc/{pid}/cmdline', 'rb').read().split(b'\\0')
    except OSError:
        continue
    if int(pid) != os.getpid() and set(words) & {each.encode() for each in sys.argv[1:]}:
        os.kill(int(pid), signal.SIGKILL)
        print('killed')
"""
AGENT, SUPERVISOR = "moltbot_agent", "moltbot_agent.supervisor"


@pytest.fixture(scope="module", autouse=True)
def assistant(site):
    site.cluster.apply([route("assistant", site.namespace, [tech_rule()])])
    site.wait_serving()


def gateways(site):
    return [each["metadata"]["name"] for each in site.pods("app.kubernetes.io/component=gateway")]


def kill(site, pod, *modules):
    """Ends these programs of a gateway pod; whether there were any."""
    said = site.cluster.python_in(pod, site.namespace, KILL, *modules, container="envoy")
    return "killed" in said


class Load:
    """Requests on connections of their own while the block runs; all must have been answered well."""

    def __init__(self, site, **job):
        self.results = {}
        job = {"duration": 45, "concurrency": 8, "close": True} | job
        limit = job["duration"] + 120
        self.thread = threading.Thread(target=lambda: self.results.update(site.load(seconds=limit, **job)))

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, kind, *_):
        self.thread.join()
        if kind is None:
            answers = self.results["answers"]
            assert {each[:3] for each in answers} == {"200"}, (answers, self.results["errors"])
            assert sum(answers.values()) > 500


def test_agents_killed_at_random_in_all_pods_cost_no_request(site):
    chosen = random.Random(1)  # noqa: S311 -- the same kills each time
    with Load(site):
        for _ in range(KILLS):
            pod = chosen.choice(gateways(site))
            access.wait_until("an agent to kill", lambda pod=pod: kill(site, pod, AGENT), 30)
            time.sleep(chosen.uniform(0, 2))  # when they die is the point
    assert all(not container["restartCount"] for container in agents(site))


def agents(site):
    pods = site.pods("app.kubernetes.io/component=gateway")
    return [each for pod in pods for each in pod["status"]["initContainerStatuses"]]


def test_a_whole_agent_container_that_dies_costs_no_request(site):
    pod = gateways(site)[0]
    with Load(site, duration=20):
        assert kill(site, pod, AGENT, SUPERVISOR)
        access.wait_until("the container to be back", lambda: all(a["ready"] for a in agents(site)), 60)


@pytest.fixture
def guarded(site):
    """A route whose candidate takes only tokens that the identity provider knows, and has a breaker."""
    identity = models.provider(IDENTITY, site.namespace)
    container = identity[0]["spec"]["template"]["spec"]["containers"][0]
    container["command"] = ["python3", "-m", "moltbot_identity"]
    container["args"] = ["--client", "gateway=auto-secret", "--life", str(LIFE)]
    metadata = {"name": GUARDED, "namespace": site.namespace}
    kept = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {"s": "auto-secret"}}
    base = f"http://{IDENTITY}.{site.namespace}.svc:{models.PORT}"
    client = {"tokenUrl": f"{base}/token", "clientId": "gateway"}
    client["clientSecretRef"] = {"name": GUARDED, "key": "s"}
    breaker = {"errorRatePercent": 50, "minimumRequests": 5, "interval": "1s", "ejectionTime": "2s"}
    asked = backend(
        GUARDED, site.namespace, auth={"type": "OAuth2", "oauth2": client}, circuitBreaker=breaker
    )
    site.cluster.apply([*identity, *models.provider(GUARDED, site.namespace), kept, asked])
    for name in (IDENTITY, GUARDED):
        status = ("rollout", "status", f"deployment/{name}", "-n", site.namespace, "--timeout=120s")
        site.cluster.kubectl(*status)
    site.admin(GUARDED, "PUT", "/verify", {"introspect": f"{base}/introspect"})
    rule = tech_rule(candidates=[{"backend": GUARDED}], fallback=[BACKUP])
    site.cluster.apply([route("guarded", site.namespace, [rule])])
    site.wait_serving("guarded")


@pytest.fixture
def no_operator(site):
    deployment = ("deployment/moltbot-operator", "-n", SYSTEM)
    site.cluster.kubectl("scale", *deployment, "--replicas=0")
    access.wait_until("the operator to be gone", lambda: not site.cluster.list("pods", SYSTEM), 60)
    yield
    site.cluster.kubectl("scale", *deployment, "--replicas=2")
    site.cluster.kubectl("rollout", "status", *deployment, "--timeout=120s", seconds=130)


@pytest.mark.usefixtures("guarded", "no_operator")
def test_without_the_operator_tokens_failover_and_ejection_go_on(site):
    def issued():
        return len(site.admin(IDENTITY, "GET", "/issued"))

    def asked():
        return site.admin(GUARDED, "GET", "/requests?after=999999999")["total"]

    def left_out():
        before = asked()
        time.sleep(1)  # of load
        return asked() - before < RATE / 5

    before, began = issued(), time.monotonic()
    with Load(site, name="guarded", duration=OUTAGE, rate=RATE, close=False):
        time.sleep(OUTAGE / 3)  # tokens end meanwhile, more than once
        assert not left_out()
        with site.outage(GUARDED, kind="status", status=503):
            access.wait_until("the failing backend to be left out", left_out, 30)
        access.wait_until("the backend to be back", lambda: not left_out(), 60)
    lives = (time.monotonic() - began) / LIFE
    assert issued() - before >= lives - 1, "tokens were renewed by the agents alone"
