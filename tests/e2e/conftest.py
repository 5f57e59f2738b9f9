"""One cluster with the chart installed for all e2e tests; a namespace of its own for each module.

A cluster that was not up before is taken down again, unless MOLTBOT_KEEP_CLUSTER is set.
"""

import contextlib
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent.parent / "demo"), str(HERE.parent / "matrix")]

import models  # noqa: E402
from sites import PROVIDERS, RELEASE, SYSTEM, Site, backend  # noqa: E402

import cluster as access  # noqa: E402


def pytest_collection_modifyitems(items):
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.e2e)


@pytest.fixture(scope="session")
def cluster() -> Iterator[access.Cluster]:
    found, why = access.find()
    if found is None:
        pytest.skip(why)
    was_up = (
        not found.is_ours
        or subprocess.run([access.BED / "run", "true"], capture_output=True, check=False).returncode == 0
    )
    access.bring_up(found)
    yield found
    if not was_up and not os.environ.get("MOLTBOT_KEEP_CLUSTER"):
        subprocess.run([access.BED / "down"], check=True)


@pytest.fixture(scope="session")
def installed(cluster) -> Iterator[access.Cluster]:
    """The cluster with the chart installed; it goes at the end unless it was there before."""
    was_there = RELEASE in cluster.helm("list", "--namespace", SYSTEM, "--short").split()
    access.install_chart(cluster, RELEASE, SYSTEM)
    yield cluster
    if was_there or os.environ.get("MOLTBOT_KEEP_CLUSTER"):
        return
    cluster.helm("uninstall", RELEASE, "--namespace", SYSTEM, "--wait")
    cluster.kubectl("delete", "namespace", SYSTEM, "--wait=true")


@pytest.fixture(scope="module")
def site(installed, request) -> Iterator[Site]:
    """A namespace of this module's own, with models, backends and a client, and no route yet."""
    module = request.module.__name__.rpartition(".")[2].removeprefix("test_").replace("_", "-")
    name = f"e2e-{module}-{secrets.token_hex(2)}"
    installed.apply([models.namespace(name)])
    objects = [each for provider in PROVIDERS for each in models.provider(provider, name)]
    objects += [backend(each, name) for each in PROVIDERS]
    spec = models.pod_spec("client", [])
    spec["containers"][0]["command"] = ["python3", "-c", "import signal; signal.pause()"]
    metadata = {"name": "client", "namespace": name, "labels": {"app.kubernetes.io/name": "client"}}
    objects.append({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
    installed.apply(objects)
    installed.kubectl("wait", "pod", "--all", "-n", name, "--for=condition=Ready", "--timeout=90s")
    yield Site(installed, name)
    # The namespace controller comes back only after half of a pod's grace period, so the gateways go first.
    # This is no test: a pod that is still draining must not fail the ones before.
    installed.kubectl("delete", "moltbotroutes", "--all", "-n", name)
    with contextlib.suppress(TimeoutError):
        access.wait_until(
            "gateway pods to be gone",
            lambda: not installed.list("pods", name, "app.kubernetes.io/component=gateway"),
            30,
        )
    installed.kubectl("delete", "namespace", name, "--wait=false")
