"""The data plane goes on by itself: agents die under load, and nobody's request fails."""

import random
import threading
import time

import pytest
from sites import route, tech_rule

import cluster as access

KILLS = 12
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
        self.thread = threading.Thread(target=lambda: self.results.update(site.load(**job)))

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
