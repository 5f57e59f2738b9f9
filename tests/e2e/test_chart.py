"""The chart: installs, answers its own test, can be upgraded, and leaves the CRDs behind."""

import json

from sites import RELEASE, SYSTEM

import cluster as access

CRDS = {"modelbackends.moltbot.io", "moltbotroutes.moltbot.io"}


def crds(cluster):
    items = json.loads(cluster.kubectl("get", "crds", "-o", "json"))["items"]
    return {each["metadata"]["name"] for each in items}


def test_two_replicas_become_ready_under_the_restricted_standard(installed):
    installed.kubectl("label", "namespace", SYSTEM, "pod-security.kubernetes.io/enforce=restricted")
    installed.kubectl("rollout", "restart", "deployment", "-n", SYSTEM)
    installed.kubectl("rollout", "status", "deployment", "-n", SYSTEM, "--timeout=120s", seconds=130)
    (deployment,) = installed.list("deployments", SYSTEM)
    assert deployment["status"]["readyReplicas"] == 2


def test_helm_test_passes(installed):
    said = installed.helm("test", RELEASE, "--namespace", SYSTEM, "--timeout", "2m")
    assert "Succeeded" in said


def test_uninstall_keeps_crds_and_resources_and_installing_again_takes_them_over(installed):
    where = "e2e-kept"
    kept = {
        "apiVersion": "moltbot.io/v1alpha1",
        "kind": "ModelBackend",
        "metadata": {"name": "kept", "namespace": where},
        "spec": {"provider": "Custom", "endpoint": {"url": "http://model.example/v1"}},
    }
    installed.apply([{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": where}}, kept])
    installed.helm("uninstall", RELEASE, "--namespace", SYSTEM, "--wait")
    assert crds(installed) >= CRDS
    assert installed.get("modelbackend", "kept", where)
    access.install_chart(installed, RELEASE, SYSTEM)
    access.install_chart(installed, RELEASE, SYSTEM, "logLevel=debug")  # an upgrade
    reported = access.wait_until(
        "the operator to report on the backend that was kept",
        lambda: access.is_true(installed.get("modelbackend", "kept", where), "Accepted"),
        60,
    )
    assert reported
    installed.kubectl("delete", "namespace", where, "--wait=true")
