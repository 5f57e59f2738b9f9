"""How many workers there are, on a whole cluster: by a person, by autoscalers, by the operator from load."""

import json
import threading
import time
from pathlib import Path

import liar
import models
import pytest
from sites import MAX, PRO, RELEASE, SYSTEM, route

import cluster as access

PERIOD = 5
"""Seconds between two looks of the operator."""

MOST = 4
TARGET = 5
"""Requests in flight per worker."""

NAME = "moltbotroute/assistant"
WORKERS = "app.kubernetes.io/component=worker"
RULE = {"name": "tech", "candidates": [{"backend": PRO}], "coalesce": True}


@pytest.fixture(scope="module", autouse=True)
def assistant(site):
    """A route with one worker, of an operator that looks more often than usual."""
    often = ("extraEnv[0].name=MOLTBOT_SCALE_PERIOD", f"extraEnv[0].value=PT{PERIOD}S")
    access.install_chart(site.cluster, RELEASE, SYSTEM, *often)
    apply(site, replicas=1)
    site.wait_ready()
    running(site, 1)
    yield
    access.install_chart(site.cluster, RELEASE, SYSTEM)


def apply(site, **worker):
    site.cluster.apply([route("assistant", site.namespace, [RULE], worker=worker)])


def scaled(**more):
    """Down after the shortest window that shows one."""
    window = {"scaleDown": {"stabilizationWindow": f"{PERIOD}s"}}
    return {"autoscaling": {"maxReplicas": MOST, "behavior": window, **more}}


def desired(site):
    return (site.route()["status"].get("worker") or {}).get("desired")


def running(site, count, seconds=90):
    """Waits for so many workers that are ready, no fewer and no more."""

    def probe():
        pods = site.pods(WORKERS)
        ready = [
            each
            for pod in pods
            for each in pod["status"].get("conditions", [])
            if each["type"] == "Ready" and each["status"] == "True"
        ]
        return len(pods) == len(ready) == count == desired(site)

    try:
        access.wait_until(f"{count} workers", probe, seconds)
    except TimeoutError as error:
        raise AssertionError(f"{error}: {site.route()['status'].get('worker')}") from error


def autoscaler(site, name):
    found = site.cluster.get("hpa", name, site.namespace)
    return found or {"status": {}}


def test_kubectl_scale_sets_the_number(site):
    site.cluster.kubectl("scale", NAME, "--replicas=2", "-n", site.namespace)
    running(site, 2)
    site.cluster.kubectl("scale", NAME, "--replicas=1", "-n", site.namespace)
    running(site, 1)


def test_kubectl_autoscale_works_on_the_route_in_mode_external(site):
    apply(site, replicas=1, **scaled(mode="External"))
    site.cluster.kubectl("autoscale", NAME, "--min=2", "--max=3", "--cpu=500%", "-n", site.namespace)
    try:
        running(site, 2)
        access.wait_until(
            "the autoscaler to count both",
            lambda: autoscaler(site, "assistant")["status"].get("currentReplicas") == 2,
            90,
        )
    finally:
        site.cluster.kubectl("delete", "hpa", "assistant", "-n", site.namespace)


def test_mode_hpa_makes_an_autoscaler_that_finds_and_scales_the_workers(site):
    cpu = {"name": "cpu", "type": "CPU", "target": 500}
    apply(site, replicas=1, **scaled(mode="HPA", minReplicas=2, metrics=[cpu]))

    def measures():
        found = autoscaler(site, "assistant-worker")["status"].get("currentMetrics") or []
        return [each for each in found if "averageUtilization" in each.get("resource", {}).get("current", {})]

    access.wait_until("the workers' CPU by the metrics server", measures, 120, every=1)
    running(site, 2)


def test_the_operator_follows_a_load_of_ten_times_up_and_down_once(site):
    metric = {"name": "in-flight", "type": "InFlight", "target": TARGET}
    apply(site, **scaled(minReplicas=1, metrics=[metric]))
    running(site, 1)
    seen, over = [1], threading.Event()

    def watch():
        while not over.wait(0.5):
            if (now := desired(site)) != seen[-1]:
                seen.append(now)

    watching = threading.Thread(target=watch)
    watching.start()
    told = {}
    asks = {"path": "/v1/chat/completions", "timeout": 60}
    try:
        with site.outage(PRO, kind="delay", seconds=2):
            usual = site.load(duration=PERIOD, concurrency=2, **asks)
            assert seen == [1]
            step = {"duration": 4 * PERIOD, "concurrency": 10 * 2}
            load = threading.Thread(target=lambda: told.update(site.load(**step, **asks)))
            load.start()
            access.wait_until("more workers", lambda: desired(site) == MOST, 2 * PERIOD + 10)
            load.join()
        running(site, 1, 60)
        time.sleep(PERIOD)  # one more look, which changes nothing
    finally:
        over.set()
        watching.join()
    assert {each[:3] for each in [*usual["answers"], *told["answers"]]} == {"200"}, told
    peak = seen.index(max(seen))
    assert max(seen) == MOST
    assert seen == sorted(seen[: peak + 1]) + sorted(seen[peak + 1 :], reverse=True), seen
    notes = events(site)
    assert any("in-flight is" in note for note in notes["ScaledUp"]), notes
    assert notes["ScaledDown"]


LIES = [
    "moltbot_worker_in_flight 1e300\n",
    "moltbot_worker_in_flight NaN\n",
    "moltbot_worker_in_flight -50\n",
    "<html>nothing that can be read</html>\n",
]


@pytest.fixture
def lying(site):
    """A pod more that is taken for a worker, and what asks it: `told(method, path, json)`."""
    scale(site, minReplicas=1, maxReplicas=2)
    running(site, 1)
    (worker,) = site.pods(WORKERS)
    # without this label no ReplicaSet takes it for one of its own
    labels = {k: v for k, v in worker["metadata"]["labels"].items() if k != "pod-template-hash"}
    spec = models.pod_spec("liar", [])
    spec["containers"][0]["command"] = ["python3", "-c", Path(liar.__file__).read_text()]
    metadata = {"name": "liar", "namespace": site.namespace, "labels": labels}
    site.cluster.apply([{"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}])
    try:
        site.cluster.kubectl(
            "wait", "pod/liar", "-n", site.namespace, "--for=condition=Ready", "--timeout=60s"
        )
        address = site.cluster.get("pod", "liar", site.namespace)["status"]["podIP"]

        def told(method, path, document=None):
            url = f"http://{address}:{liar.PORT}{path}"
            return site.client("http", method=method, url=url, json=document)["body"]

        yield told
    finally:
        site.cluster.kubectl("delete", "pod", "liar", "-n", site.namespace)
    running(site, 1)


def scale(site, rule=RULE, rollout=None, **scaling):
    """The operator scales by requests in flight."""
    metric = {"name": "in-flight", "type": "InFlight", "target": TARGET}
    worker = {"autoscaling": {**scaled(metrics=[metric])["autoscaling"], **scaling}}
    rollout = {"rollout": {"scaleDownDelay": "0s", **rollout}} if rollout else {}
    site.cluster.apply([route("assistant", site.namespace, [rule], worker=worker, **rollout)])


def test_a_pod_that_lies_changes_nothing_until_what_it_says_can_be_true(site, lying):
    def looks(count):
        access.wait_until(
            f"{count} looks at the pod", lambda: int(lying("GET", "/asked")) >= count, PERIOD * count + 60
        )

    def last_change():
        return site.route()["status"]["worker"].get("lastScaleTime")

    before = last_change()
    lying("PUT", "/say", LIES)
    looks(len(LIES) + 1)  # the last of them was counted once another look has begun
    assert (desired(site), last_change()) == (1, before)
    lying("PUT", "/say", ["moltbot_worker_in_flight 50\n"])
    access.wait_until("the workers that 50 requests need", lambda: desired(site) == 2, 60)
    assert last_change() != before


def test_a_rollout_under_way_holds_what_the_load_no_longer_needs(site):
    scale(site, minReplicas=2)
    running(site, 2)
    held = {"rule": {**RULE, "candidates": [{"backend": MAX}]}, "rollout": {"autoPromote": False}}
    scale(site, **held, minReplicas=2)
    access.wait_until("the rollout to wait", lambda: phase(site) == "Paused", 120)
    scale(site, **held, minReplicas=1)
    reason = access.wait_until(
        "the scaler to be held",
        lambda: (said := site.route()["status"]["worker"]["reason"])[:5] == "Held:" and said,
        60,
    )
    assert "a rollout is under way (Paused)" in reason
    assert "in-flight is 0 a worker" in reason
    assert desired(site) == 2
    deployments = site.cluster.list("deployments", site.namespace, WORKERS)
    assert [each["spec"]["replicas"] for each in deployments] == [2, 2]
    scale(site, **{**held, "rollout": {"autoPromote": True}}, minReplicas=1)
    access.wait_until("the end of the rollout", lambda: phase(site) == "Stable", 120)
    running(site, 1)


def phase(site):
    return (site.route()["status"].get("rollout") or {}).get("phase")


def events(site):
    """Reason -> notes of the route's events."""
    text = site.cluster.kubectl("get", "events.events.k8s.io", "-n", site.namespace, "-o", "json")
    found = {}
    for each in json.loads(text)["items"]:
        if each["regarding"]["name"] == "assistant":
            found.setdefault(each["reason"], []).append(each["note"])
    return found
