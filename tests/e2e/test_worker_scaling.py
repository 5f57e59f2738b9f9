"""How many workers there are, on a whole cluster: by a person, by autoscalers, by the operator from load."""

import json
import threading
import time

import pytest
from sites import PRO, RELEASE, SYSTEM, route

import cluster as access

PERIOD = 5
"""Seconds between two looks of the operator."""

MOST = 4
TARGET = 5
"""Requests in flight per worker."""

NAME = "moltbotroute/assistant"
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
        pods = site.pods("app.kubernetes.io/component=worker")
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


def events(site):
    """Reason -> notes of the route's events."""
    text = site.cluster.kubectl("get", "events.events.k8s.io", "-n", site.namespace, "-o", "json")
    found = {}
    for each in json.loads(text)["items"]:
        if each["regarding"]["name"] == "assistant":
            found.setdefault(each["reason"], []).append(each["note"])
    return found
