"""Workers on a whole cluster: two pods of a route's own, and the chart's Redis between them.

The first thing that happens to them is that all are killed while requests are under way and one runs a job;
that job's lease ends while the other tests run, and the last one looks for it.
"""

import importlib
import json
import re
import threading
import time

import pytest
from sites import BACKUP, MAX, PRO, RELEASE, SYSTEM, kill, route

import cluster as access

REDIS = f"{RELEASE}-redis"
WORKERS = "app.kubernetes.io/component=worker"
pytestmark = pytest.mark.usefixtures("killed")
LEASE = 60
"""Seconds after which the job of a worker that died is taken over."""


def asked(content, **more):
    return {"model": "auto", "messages": [{"role": "user", "content": content}], **more}


KEPT = asked("the same", temperature=0)


def rule(name, backend, **asks):
    """All requests below /NAME/; the backup is what saves a stream."""
    matches = [{"path": {"type": "Regex", "value": f"^/{name}/"}}]
    return {"name": name, "matches": matches, "candidates": [{"backend": backend}], **asks}


RULES = [
    rule("kept", PRO, cache={"ttl": "10m"}),
    rule("shared", PRO, coalesce=True),
    rule("guarded", PRO, fallback=[BACKUP], failover={"stream": {"stall": "5s", "recover": "Hold"}}),
    rule("later", MAX, **{"async": {"queue": "reports"}}),
]


@pytest.fixture(scope="module")
def store(site):
    """The chart's Redis, and its password where the route is."""
    image = []
    if site.cluster.kind == "node":
        images = importlib.import_module("images")
        images.load([images.redis_archive()])
        image = [f"redis.bundled.image={images.REDIS}"]
    access.install_chart(site.cluster, RELEASE, SYSTEM, "redis.bundled.enabled=true", *image)
    made = site.cluster.get("secret", REDIS, SYSTEM)
    metadata = {"name": "redis", "namespace": site.namespace}
    copy = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": made["data"]}
    site.cluster.apply([copy])
    yield {
        "url": f"redis://{REDIS}.{SYSTEM}.svc:6379/0",
        "secretRef": {"name": "redis", "key": "password"},
    }
    access.install_chart(site.cluster, RELEASE, SYSTEM)


@pytest.fixture(scope="module")
def assistant(site, store):
    """The URL of a route with two workers that answer."""
    worker = {"replicas": 2, "store": store}
    site.cluster.apply([route("assistant", site.namespace, RULES, worker=worker)])
    site.wait_ready()
    ready(site)
    access.wait_until("answers by a worker", lambda: post(site, "kept", KEPT).get("x-moltbot-cache"), 60)
    return f"http://assistant.{site.namespace}.svc"


def post(site, rule, body, **headers):
    """The headers of an answer, with `status` and `body`."""
    path = f"http://assistant.{site.namespace}.svc/{rule}/v1/chat/completions"
    try:
        answer = site.client("http", method="POST", url=path, json=body, headers=headers)
    except access.CommandFailed:  # a new Service leads nowhere for a moment
        return {}
    told = {name.lower(): value for name, value in answer["headers"].items()}
    return {**told, "status": answer["status"], "body": answer["body"]}


def submitted(site, content, fault, **settings):
    """Id of a job that meets a fault. A gateway that has not met its workers yet would call by itself."""

    def taken():
        site.fault(MAX, fault, **settings)
        return post(site, "later", asked(content)).get("x-moltbot-job")

    return access.wait_until("a job to be taken", taken, 60)


def job(site, name):
    url = f"http://assistant.{site.namespace}.svc/v1/jobs/{name}"
    return json.loads(site.client("http", method="GET", url=url)["body"])


def workers(site):
    return site.pods(f"{WORKERS},moltbot.io/route=assistant")


def ready(site, count=2):
    def probe():
        found = workers(site)
        return len(found) == count and all(
            each["type"] != "Ready" or each["status"] == "True"
            for pod in found
            for each in pod["status"].get("conditions", [{"type": "Ready", "status": "False"}])
        )

    access.wait_until(f"{count} workers to be ready", probe, 120)


def metrics(site, pod):
    """Name with labels -> value."""
    url = f"http://{pod['status']['podIP']}:9090/metrics"
    text = site.client("http", method="GET", url=url)["body"]
    return {name: float(value) for name, value in re.findall(r"(?m)^(moltbot_worker\S+) (\S+)$", text)}


def measured(site, name):
    """What each worker says of it."""
    return [metrics(site, pod).get(name, 0) for pod in workers(site)]


def calls(site, provider):
    return site.admin(provider, "GET", "/requests?after=999999999")["total"]


@pytest.fixture(scope="module")
def killed(site, assistant):
    """All workers killed while one runs a job and requests come: the job's id, and what clients were told."""
    name = submitted(site, "a report", "hang", count=1)
    access.wait_until("the job to run", lambda: sum(measured(site, "moltbot_worker_in_flight")), 30)
    told = {}
    asks = {
        "url": f"{assistant}/kept/v1/chat/completions",
        "told": "x-moltbot-cache",
        "close": True,
        "concurrency": 8,
        "rate": 100,
    }
    load = threading.Thread(target=lambda: told.update(site.client("load", body=KEPT, duration=20, **asks)))
    load.start()
    time.sleep(5)  # of load before, and the rest after
    before = workers(site)
    for pod in before:
        kill(site.cluster, pod)
    load.join()
    ready(site)
    assert not {pod["metadata"]["uid"] for pod in before} & {pod["metadata"]["uid"] for pod in workers(site)}
    return name, told


def test_all_workers_killed_under_load_cost_no_request(killed):
    _, told = killed
    assert {each[:3] for each in told["answers"]} == {"200"}, told
    assert told["answers"]["200 hit"] > 100
    assert told["answers"]["200 "] > 0, "some were answered without any worker"


def test_what_was_kept_outlives_the_workers_and_both_new_ones_give_it(site):
    def by_both():
        assert post(site, "kept", KEPT)["status"] == 200
        return all(measured(site, 'moltbot_worker_cache_total{result="hit",rule="kept"}'))

    access.wait_until("hits of both workers", by_both, 90)
    asks_before = calls(site, PRO)
    assert post(site, "kept", KEPT)["x-moltbot-cache"] == "hit"
    assert calls(site, PRO) == asks_before


def test_identical_requests_in_flight_share_their_calls(site):
    before = calls(site, PRO)
    url = f"http://assistant.{site.namespace}.svc/shared/v1/chat/completions"
    with site.outage(PRO, kind="delay", seconds=4):
        told = site.client("load", url=url, body=asked("one"), count=40, concurrency=40)
    assert {each[:3] for each in told["answers"]} == {"200"}, told
    assert 1 <= calls(site, PRO) - before <= 10


def test_a_stream_that_is_cut_comes_whole_from_the_next_backend(site):
    url = f"http://assistant.{site.namespace}.svc/guarded/v1/chat/completions"
    with site.outage(PRO, kind="stream_cut", after=3):
        told = site.client("stream", url=url)
    assert told["status"] == 200
    assert f"server={BACKUP}" in told["text"].replace('"', "")
    assert PRO not in told["text"]
    assert told["text"].rstrip().endswith("data: [DONE]")


def test_depth_and_age_of_the_queue_are_metrics_until_the_jobs_have_ended(site):
    depth, age = (f'moltbot_worker_queue_{name}{{queue="reports"}}' for name in ("depth", "age_seconds"))
    waiting = measured(site, depth)[0]
    taken = [submitted(site, f"report {number}", "hang") for number in range(3)]
    access.wait_until("jobs in the queue", lambda: min(measured(site, depth)) >= waiting + 3, 30)
    assert min(measured(site, age)) > 0
    site.admin(MAX, "DELETE", "/faults")
    for each in taken:
        url = f"http://assistant.{site.namespace}.svc/v1/jobs/{each}"
        assert site.client("http", method="DELETE", url=url)["status"] == 200
    access.wait_until("the queue to be shorter", lambda: max(measured(site, depth)) <= waiting, LEASE - 15)


def test_a_job_outlives_the_workers_that_died_with_it(site, killed):
    name, _ = killed

    def ended():
        found = job(site, name)
        return found if found["status"] not in {"queued", "running"} else None

    found = access.wait_until("the job to have ended", ended, LEASE + 120, every=1)
    assert found["status"] == "succeeded"
    assert found["tries"] > 1
    assert found["response"]["status_code"] == 200
