"""The operator at work: leader's death, drift, a flip under load, and what deletion leaves."""

import threading
import time

import pytest
from sites import BACKUP, MAX, PRO, kill, leader, lease, route, tech_rule

import cluster as access

LEASE_SECONDS = 15


@pytest.fixture(scope="module", autouse=True)
def assistant(site):
    site.cluster.apply([route("assistant", site.namespace, [tech_rule()])])
    site.wait_serving()


def writes(objects):
    """When the operator last wrote each object: other controllers write their status meanwhile."""
    return {
        key: [
            (entry["operation"], entry["time"])
            for entry in each["metadata"]["managedFields"]
            if entry["manager"] == "moltbot-operator"
        ]
        for key, each in objects.items()
    }


def specs(objects):
    """What of each object is wanted, as opposed to its status and bookkeeping."""
    hidden = ("status", "metadata")
    return {
        key: ({name: value for name, value in each.items() if name not in hidden}, each["metadata"]["labels"])
        for key, each in objects.items()
    }


def test_everything_a_route_owns_is_labelled_and_owned(site):
    owned = site.owned()
    kinds = {kind for kind, _ in owned}
    assert kinds == {
        "Deployment",
        "Service",
        "ConfigMap",
        "Secret",
        "ServiceAccount",
        "PodDisruptionBudget",
        "NetworkPolicy",
    }
    uid = site.route()["metadata"]["uid"]
    for key, each in owned.items():
        (owner,) = each["metadata"]["ownerReferences"]
        assert owner["uid"] == uid, key
        assert owner["controller"] is True, key
        assert each["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "moltbot-operator", key


@pytest.mark.parametrize(
    "kind", ["Deployment", "Service", "ConfigMap", "ServiceAccount", "PodDisruptionBudget", "NetworkPolicy"]
)
def test_a_deleted_object_is_back_within_5_seconds(site, kind):
    before = site.owned()
    name = next(name for found, name in before if found == kind)
    uid = before[kind, name]["metadata"]["uid"]
    site.cluster.kubectl("delete", kind, name, "-n", site.namespace, "--wait=false")
    deadline = time.monotonic() + 5

    def back():
        found = site.cluster.get(kind, name, site.namespace)
        return found and found["metadata"]["uid"] != uid and not found["metadata"].get("deletionTimestamp")

    access.wait_until(f"{kind} {name} to be back", back, max(0.1, deadline - time.monotonic()))
    site.wait_ready()


def test_edits_by_hand_are_undone_within_5_seconds(site):
    before = specs(site.owned())
    where = ("-n", site.namespace)
    (deployment,) = [name for kind, name in before if kind == "Deployment"]
    kubectl, merge = site.cluster.kubectl, ("--type=merge", "-p")
    kubectl("patch", "service", "assistant", *where, *merge, '{"spec":{"selector":{"app":"evil"}}}')
    kubectl("scale", f"deployment/{deployment}", *where, "--replicas=1")
    kubectl("patch", "pdb", "assistant-gw", *where, *merge, '{"spec":{"maxUnavailable":"100%"}}')
    kubectl(
        "label", "networkpolicy", "assistant-gw", *where, "app.kubernetes.io/component=evil", "--overwrite"
    )

    def undone():
        return specs(site.owned()) == before

    access.wait_until("all edits to be undone", undone, 5)
    site.wait_ready()


def test_a_changed_route_flips_under_load_without_a_failed_request(site):
    before = site.route()["status"]["revision"]["active"]
    results = {}
    load = threading.Thread(target=lambda: results.update(site.load(duration=40, concurrency=8)))
    load.start()
    try:
        site.cluster.apply([route("assistant", site.namespace, [tech_rule(candidates=[{"backend": MAX}])])])
        site.wait_ready(seconds=60)
    finally:
        load.join()
    after = site.route()["status"]["revision"]["active"]
    assert after != before
    assert {each[:3] for each in results["answers"]} == {"200"}, results["errors"]
    assert sum(results["answers"].values()) > 500
    served = site.load(count=200)["answers"]
    assert set(served) == {f"200 {MAX}"}
    access.wait_until(
        "the old revision's Deployment to be gone",
        lambda: [name for kind, name in site.owned() if kind == "Deployment"] == [f"assistant-gw-{after}"],
        60,
    )
    site.cluster.apply([route("assistant", site.namespace, [tech_rule()])])
    site.wait_ready()


def test_the_other_replica_takes_over_from_a_killed_leader_and_writes_nothing_twice(site):
    cluster = site.cluster
    site.wait_ready()

    def whole():
        return access.condition(site.route(), "Degraded")["status"] != "True"

    access.wait_until("all pods to be back from the tests before", whole, 60)
    old = lease(cluster)["holderIdentity"]
    before, seen = writes(site.owned()), site.route()["metadata"]["resourceVersion"]
    kill(cluster, leader(cluster))
    killed = time.monotonic()

    def led():
        return lease(cluster).get("holderIdentity", "") not in ("", old)

    access.wait_until("another replica to lead", led, 2 * LEASE_SECONDS)
    took = time.monotonic() - killed
    assert took <= LEASE_SECONDS + 5, took
    # It works: a change is carried out by the new leader ...
    assert all(before.values())
    assert writes(site.owned()) == before
    assert site.route()["metadata"]["resourceVersion"] == seen
    changed = tech_rule(candidates=[{"backend": PRO}], fallback=[BACKUP])
    cluster.apply([route("assistant", site.namespace, [changed])])
    site.wait_ready(seconds=90)
    # ... once: one Deployment of the new revision, written once.
    active = site.route()["status"]["revision"]["active"]
    deployment = site.owned()["Deployment", f"assistant-gw-{active}"]
    assert deployment["metadata"]["generation"] == 1


def test_a_deleted_backend_in_use_shows_on_its_route_and_comes_back(site):
    cluster = site.cluster
    cluster.apply([route("assistant", site.namespace, [tech_rule()])])
    site.wait_ready()
    saved = cluster.get("modelbackend", BACKUP, site.namespace)
    cluster.kubectl("delete", "modelbackend", BACKUP, "-n", site.namespace)

    def shown():
        found = access.condition(site.route(), "ResolvedRefs")
        return found if found["status"] == "False" else None

    said = access.wait_until("ResolvedRefs to be False", shown, 10)
    assert said["reason"] == "BackendNotFound"
    assert BACKUP in said["message"]
    cluster.apply(
        [
            {key: saved[key] for key in ("apiVersion", "kind", "spec")}
            | {"metadata": {"name": BACKUP, "namespace": site.namespace}}
        ]
    )
    access.wait_until("ResolvedRefs", lambda: access.is_true(site.route(), "ResolvedRefs"), 30)
    site.wait_ready()


def test_deleting_a_route_removes_everything_it_owned(site):
    name = "short-lived"
    site.cluster.apply([route(name, site.namespace, [tech_rule()])])
    site.wait_ready(name)
    assert site.owned(name)
    site.cluster.kubectl("delete", "moltbotroute", name, "-n", site.namespace)
    access.wait_until("owned objects to be gone", lambda: not site.owned(name), 60)
    labels = f"moltbot.io/route={name}"
    access.wait_until("pods to be gone", lambda: not site.cluster.list("pods", site.namespace, labels), 60)
