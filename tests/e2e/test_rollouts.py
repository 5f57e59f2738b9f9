"""Rollouts on a whole cluster, under plain and streamed requests: nothing fails, whatever dies.

MOLTBOT_TEST_FLIPS: changes of the route in a row (default 3); MOLTBOT_TEST_KILLS: how often the leading
operator is killed (default 3); MOLTBOT_TEST_STREAM: seconds that a stream lasts (default 8);
MOLTBOT_TEST_RATE: plain requests a second (default 40); MOLTBOT_TEST_EDITS: edits that supersede each other,
one every 2 s (default 5).
"""

import collections
import json
import os
import threading
import time

import models
import pytest
from in_pod import BODY
from sites import MAX, PRO, backend, kill, leader, route

import cluster as access

FLIPS = int(os.environ.get("MOLTBOT_TEST_FLIPS", "3"))
KILLS = int(os.environ.get("MOLTBOT_TEST_KILLS", "3"))
STREAM = float(os.environ.get("MOLTBOT_TEST_STREAM", "8"))
GAP = 0.25
RATE = int(os.environ.get("MOLTBOT_TEST_RATE", "40"))
EDITS = int(os.environ.get("MOLTBOT_TEST_EDITS", "5"))
SLOW = "rollout-slow"


def changed(site, number, candidate=PRO, fallback=(), name="rolling", **rollout):
    """The route; each number is a revision of its own."""
    plain = {
        "name": "plain",
        "matches": [{"path": {"type": "Prefix", "value": "/tech"}}],
        "candidates": [{"backend": candidate}],
        "fallback": [*fallback],
        "failover": {"maxRetries": 1, "perTryTimeout": f"{10 + number}s"},
    }
    slow = {"name": "slow", "candidates": [{"backend": SLOW}]}
    gateway = {"replicas": 1}
    rollout = {"scaleDownDelay": "2s", **rollout}
    return route(name, site.namespace, [plain, slow], gateway=gateway, rollout=rollout)


@pytest.fixture(scope="module", autouse=True)
def rolling(site):
    site.cluster.apply(
        [*models.provider(SLOW, site.namespace, ["--event-gap", str(GAP)]), backend(SLOW, site.namespace)]
    )
    site.cluster.kubectl("rollout", "status", f"deployment/{SLOW}", "-n", site.namespace, "--timeout=60s")
    site.cluster.apply([changed(site, 0)])
    site.wait_serving("rolling")


def state(site, name="rolling"):
    return site.route(name)["status"]


def stable(site, previous, seconds=120):
    """The status once another revision than `previous` serves and nothing is under way."""

    def probe():
        found = site.route("rolling")
        fresh = found["status"]["observedGeneration"] == found["metadata"]["generation"]
        status = found["status"]
        done = fresh and status["rollout"]["phase"] == "Stable"
        return status if done and status["revision"]["active"] != previous else None

    return told(site, "the rollout to complete", probe, seconds)


def told(site, what, probe, seconds, name="rolling"):
    """As `wait_until`, and with the route's own words if it does not come."""
    try:
        return access.wait_until(what, probe, seconds)
    except TimeoutError as error:
        raise AssertionError(f"{error}: {json.dumps(state(site, name), indent=1)}") from error


class Traffic:
    """Plain and streamed requests until the block ends; not one may fail or be cut."""

    def __init__(self, site):
        self.site, self.plain, self.whole, self.problems = site, 0, 0, []
        self.seconds = 0.0
        self.stop = threading.Event()
        self.threads = [threading.Thread(target=each) for each in (self._plain, self._streams)]

    def _plain(self):
        began = time.monotonic()
        while not self.stop.is_set():
            found = self.site.load(
                "rolling", duration=STREAM / 2, concurrency=16, rate=RATE, close=True, seconds=120
            )
            for answer, count in found["answers"].items():
                if answer.startswith("200 "):
                    self.plain += count
                else:
                    self.problems.append(f"{count} x {answer}: {found['errors']}")
        self.seconds = time.monotonic() - began

    def _streams(self):
        url = f"http://rolling.{self.site.namespace}.svc/v1/chat/completions"
        body = {"max_tokens": int(STREAM / GAP)}
        while not self.stop.is_set():
            found = self.site.client(
                "streams", url=url, body=body, duration=2, concurrency=4, seconds=STREAM + 180
            )
            self.whole += found["whole"]
            self.problems += found["cut"]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, kind, *_):
        self.stop.set()
        for thread in self.threads:
            thread.join()
        if kind is None:
            assert not self.problems, self.problems
            assert self.plain > 100
            assert self.whole >= 4


def test_flips_in_a_row_cost_no_request_and_cut_no_stream(site):
    with Traffic(site) as traffic:
        for number in range(1, FLIPS + 1):
            before = state(site)["revision"]["active"]
            site.cluster.apply([changed(site, number, (PRO, MAX)[number % 2])])
            stable(site, before)
    per_second = traffic.plain / traffic.seconds
    print(
        f"{FLIPS} flips in {traffic.seconds:.0f} s: {traffic.plain} requests, {per_second:.0f} a second, "
        f"{traffic.whole} streams, none failed"
    )


class Kept:
    """Clients that keep their connections, from before a switch until some seconds after its first answer."""

    def __init__(self, site, provider):
        self.site, self.after = site, f"200 {provider}"
        self.thread = threading.Thread(target=self._run)

    def _run(self):
        self.found = self.site.load(
            "rolling", duration=150, concurrency=4, rate=20, until=[self.after, 13], seconds=200
        )

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, kind, *_):
        self.thread.join()
        if kind is None:
            assert all(each.startswith("200 ") for each in self.found["answers"]), self.found["errors"]
            times = self.found["times"]
            began = next(at for at, answer in times if answer == self.after)
            stayed = max((at - began for at, answer in times if answer != self.after), default=0)
            assert times[-1][0] - began > 10, "they went on for a while"
            assert stayed < 8, "all of them came over, though the pods from before still run"
            print(f"the last kept connection came over after {stayed:.2f} s")


def test_the_spec_from_before_is_switched_to_without_new_pods_and_kept_connections_come_along(site):
    before = state(site)["revision"]["active"]
    kept = {"scaleDownDelay": "90s"}
    old, new = changed(site, 99, MAX, **kept), changed(site, 100, **kept)
    site.cluster.apply([changed(site, 99, MAX)])
    before = stable(site, before)["revision"]["active"]
    access.wait_until("the pods from before to go", lambda: revisions(site) == [before], 60)
    with Kept(site, PRO):
        site.cluster.apply([new])
        stable(site, before)
    labels = "moltbot.io/route=rolling"

    def pods():
        return {pod["metadata"]["uid"] for pod in site.pods(labels)}

    there = pods()
    assert len(there) == 2
    with Kept(site, MAX):
        began = time.monotonic()
        site.cluster.apply([old])
        access.wait_until(
            "the Service to select the revision before", lambda: selected(site) == before, 30, every=0.05
        )
        print(f"back after {time.monotonic() - began:.2f} s")
    assert stable(site, None)["revision"]["active"] == before
    assert pods() == there


def selected(site, name="rolling"):
    """The revision that users are led to."""
    return site.cluster.get("service", name, site.namespace)["spec"]["selector"]["moltbot.io/revision"]


def revisions(site, name="rolling"):
    """Those that have a Deployment."""
    found = site.cluster.list("deployments", site.namespace, f"moltbot.io/route={name}")
    return [each["metadata"]["labels"]["moltbot.io/revision"] for each in found]


def healthy(site):
    """The revision of the first spec, once it serves: answers come from PRO."""
    site.cluster.apply([changed(site, 0)])
    return stable(site, None)["revision"]["active"]


def failed(site, name="rolling", seconds=120):
    """What the status says of the revision that was given up."""

    def probe():
        found = site.route(name)
        fresh = found["status"]["observedGeneration"] == found["metadata"]["generation"]
        rollout = found["status"]["rollout"]
        return rollout["failed"] if fresh and rollout["phase"] == "Failed" else None

    return told(site, "the revision to be given up", probe, seconds, name)


def test_a_revision_that_answers_errors_is_refused_by_its_tests_or_rolled_back_by_its_users(site):
    before = healthy(site)
    asked = {"path": "/tech/v1/chat/completions", "body": json.dumps(BODY)}
    errors = {"name": "success", "query": "SuccessRate", "successCondition": ">= 0.95"}
    analysis = {"interval": "2s", "count": 3, "minimumSampleSize": 10, "metrics": [errors]}
    with site.outage(MAX, kind="status", status=500):
        site.cluster.apply([changed(site, 300, MAX, testing={"requests": [asked]})])
        found = failed(site)
        assert found["reason"] == "TestsFailed", found
        assert asked["path"] in found["message"]
        assert state(site)["revision"]["active"] == before
        site.cluster.apply([changed(site, 301, MAX, analysis=analysis)])
        answers, stop = collections.Counter(), threading.Event()

        def users():
            # They keep their connections, which are led from the pods from before to the new ones.
            while not stop.is_set():
                found = site.load("rolling", duration=8, concurrency=8, rate=RATE, seconds=120)
                answers.update(found["answers"])

        load = threading.Thread(target=users)
        load.start()
        try:
            found = failed(site)
        finally:
            stop.set()
            load.join()
        assert found["reason"] == "AnalysisFailed", found
        assert "success 0" in found["message"]
        assert state(site)["revision"]["active"] == before
    assert any(each.startswith("500") for each in answers), "users saw it for a while"
    assert site.load("rolling", count=50)["answers"] == {f"200 {PRO}": 50}, "and no longer"


GATE = """
import http.server, time
class Gate(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        if self.path == "/hangs":
            time.sleep(600)
        self.send_response(403)
        self.end_headers()
        self.wfile.write(b"not on a Friday")
http.server.ThreadingHTTPServer(("", 8080), Gate).serve_forever()
"""


def gate(site):
    """A pod and a Service whose answer to any question is no, or none."""
    labels = {"app.kubernetes.io/name": "gate"}
    spec = models.pod_spec("gate", [], [8080])
    spec["containers"][0]["command"] = ["python3", "-c", GATE]
    spec["containers"][0]["readinessProbe"] = {"tcpSocket": {"port": 8080}, "periodSeconds": 1}
    metadata = {"name": "gate", "namespace": site.namespace, "labels": labels}
    ports = {"selector": labels, "ports": [{"port": 80, "targetPort": 8080}]}
    return [
        {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec},
        {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": ports},
    ]


def analysis(*metrics, **more):
    settings = {"interval": "2s", "count": 2, "minimumSampleSize": 5, "metrics": metrics}
    return {"analysis": {**settings, **more}}


P95 = {"name": "p95", "query": "LatencyP95", "successCondition": "<= 1"}
SUCCESS = {"name": "success", "query": "SuccessRate", "successCondition": ">= 0.95"}
SLO = {"name": "slo", "source": "Prometheus", "query": "up", "successCondition": ">= 1"}
CRASHING = {"containers": [{"name": "envoy", "env": [{"name": "PYTHONHOME", "value": "/nowhere"}]}]}
NOWHERE = {"nodeSelector": {"moltbot.io/test": "no-such-node"}}
FAILING = {
    "crashing": ("ProgressDeadlineExceeded", "0 of 1 pods"),
    "homeless": ("ProgressDeadlineExceeded", "is not scheduled"),
    "refused": ("GateRefused", "not on a Friday"),
    "hanging": ("GateTimedOut", "No verdict in time"),
    "sourceless": ("AnalysisSourceDown", "slo"),
    "slow": ("AnalysisFailed", "p95"),
}
"""Routes by how their new revision fails: the reason, and what the message tells."""


def bad(site, name):
    """The spec whose revision fails."""
    address = f"http://gate.{site.namespace}.svc"
    settings = {
        "crashing": {"progressDeadline": "15s"},
        "homeless": {"progressDeadline": "15s"},
        "refused": {"gates": [{"url": f"{address}/refuses"}]},
        "hanging": {"gates": [{"url": f"{address}/hangs", "timeout": "5s"}], "progressDeadline": "40s"},
        "sourceless": analysis({**SLO, "url": f"{address}:9090"}),
        "slow": analysis(P95, interval="5s"),
        "quiet": analysis(SUCCESS),
    }[name]
    found = changed(site, 1, MAX if name == "slow" else PRO, name=name, **settings)
    if name in {"crashing", "homeless"}:
        found["spec"]["gateway"]["podTemplate"] = {"spec": CRASHING if name == "crashing" else NOWHERE}
    return found


@pytest.fixture(scope="class")
def before(site):
    """What served before, by route."""
    names = [*FAILING, "quiet"]
    site.cluster.apply([*gate(site), *(changed(site, 0, name=name) for name in names)])
    for name in names:
        site.wait_serving(name)
    site.cluster.kubectl("wait", "pod/gate", "-n", site.namespace, "--for=condition=Ready")
    serving = {name: state(site, name)["revision"]["active"] for name in names}
    stop, answers = threading.Event(), collections.Counter()

    def users():
        while not stop.is_set():
            found = site.load("slow", duration=8, concurrency=20, rate=8, seconds=120)
            answers.update(found["answers"])

    # Two, so that one is there while the other begins anew: each measurement needs requests.
    load = [threading.Thread(target=users) for _ in range(2)]
    with site.outage(MAX, kind="slow_first_byte", seconds=2):
        for each in load:
            each.start()
        try:
            site.cluster.apply([bad(site, name) for name in names])
            yield serving
        finally:
            stop.set()
            for each in load:
                each.join()
    site.cluster.kubectl("delete", "moltbotroutes", *names, "-n", site.namespace, "--wait=false")
    assert all(answer.startswith("200 ") for answer in answers), answers


class TestRevisionsThatFail:
    """Each with a route of its own, all of them at the same time."""

    @pytest.mark.parametrize("name", FAILING)
    def test_it_is_given_up_with_its_reason_and_what_served_before_serves(self, site, before, name):
        found = failed(site, name)
        reason, words = FAILING[name]
        assert found["reason"] == reason, found
        assert words in found["message"]
        assert selected(site, name) == state(site, name)["revision"]["active"] == before[name]
        assert site.load(name, count=20)["answers"] == {f"200 {PRO}": 20}
        access.wait_until("the bad revision to go", lambda: revisions(site, name) == [before[name]], 120)

    def test_without_requests_there_is_no_verdict_and_abort_goes_back(self, site, before):
        def paused():
            rollout = state(site, "quiet")["rollout"]
            return rollout if rollout["phase"] == "Paused" else None

        found = told(site, "the rollout to pause", paused, 120, "quiet")
        assert found["stage"] == "Inconclusive"
        assert "0 requests, fewer than 5" in found["message"]
        assert selected(site, "quiet") == found["revision"] != before["quiet"]
        given_up = bad(site, "quiet")
        given_up["spec"]["rollout"]["abort"] = found["revision"]
        site.cluster.apply([given_up])
        assert failed(site, "quiet")["reason"] == "Aborted"
        assert selected(site, "quiet") == before["quiet"]


def test_edits_that_supersede_each_other_leave_what_serves_alone_until_the_last(site):
    before = state(site)["revision"]["active"]
    held = changed(site, 500, autoPromote=False)
    with Traffic(site):
        for number in range(EDITS):
            held = changed(site, 500 + number, autoPromote=False)
            site.cluster.apply([held])
            time.sleep(2)  # the pace of the edits is what is tested
            assert selected(site) == before
        held["spec"]["rollout"]["autoPromote"] = True
        site.cluster.apply([held])
        after = stable(site, before)["revision"]["active"]
    access.wait_until("one revision to be left", lambda: revisions(site) == [after], 120)


def test_a_revision_that_passes_tests_drill_and_analysis_is_promoted(site):
    before = state(site)["revision"]["active"]
    asked = {"path": "/tech/v1/chat/completions", "body": json.dumps(BODY)}
    metrics = [
        {"name": "success", "query": "SuccessRate", "successCondition": ">= 0.95"},
        {"name": "p95", "query": "LatencyP95", "successCondition": "<= 50 * active"},
    ]
    analysis = {"interval": "4s", "count": 2, "minimumSampleSize": 5, "metrics": metrics}
    testing = {"requests": [asked], "faultDrill": True}

    def served():
        return site.admin(PRO, "GET", "/requests?after=999999999")["total"]

    with Traffic(site):
        quiet = served()
        access.wait_until("users' requests", lambda: served() > quiet + RATE, 60)
        site.cluster.apply([changed(site, 302, fallback=[MAX], testing=testing, analysis=analysis)])
        status = stable(site, before)
    assert status["revision"]["stable"][0] == before


def test_an_operator_killed_at_its_transitions_flips_once_and_costs_no_request(site):
    kills, number, switches = 0, 200, 0
    with Traffic(site) as traffic:
        while kills < KILLS:
            number += 1
            before = state(site)["revision"]["active"]
            site.cluster.apply([changed(site, number)])
            seen, serves = set(), [before]
            deadline = time.monotonic() + 300
            while time.monotonic() < deadline:
                status = state(site)
                rollout = status["rollout"]
                serving = selected(site)
                if serving != serves[-1]:
                    serves.append(serving)
                where = (rollout["phase"], serving == before)
                completed = rollout["phase"] == "Stable" and serving != before
                if completed and (kills >= KILLS or where in seen):
                    break
                if where not in seen and (found := leader(site.cluster)):
                    seen.add(where)
                    kills += 1
                    kill(site.cluster, found)
                time.sleep(0.05)
            after = stable(site, before)["revision"]["active"]
            assert serves == [before, after], "one flip"
            switches += 1
            print(f"{kills} kills, {switches} switches: {traffic.plain} requests", flush=True)
            assert not traffic.problems, traffic.problems

    access.wait_until("one revision to be left", lambda: revisions(site) == [after], 120)
    assert kills >= KILLS
