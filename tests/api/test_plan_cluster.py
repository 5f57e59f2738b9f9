"""`moltbot plan` against a real API server: what the files would change there, read only."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from moltbot_operator.constants import API_VERSION as API

EXAMPLES = Path(__file__).parents[2] / "examples"

pytestmark = pytest.mark.api


@pytest.fixture
def plan(api_bed, namespace):
    """Runs it as a shell would; returns (exit code, document)."""

    def run(*files):
        arguments = [*map(str, files), "-n", namespace, "-o", "json", "--detailed-exit-code"]
        command = [sys.executable, "-m", "moltbot_operator.cli", "plan", *arguments]
        env = {
            "KUBECONFIG": str(api_bed.kubeconfig),
            "PYTHONPATH": ":".join(sys.path),
            "HOME": "/nonexistent",
        }
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode in {0, 3}, done.stderr
        return done.returncode, json.loads(done.stdout)

    return run


def versions(api_bed, namespace):
    listed = api_bed.kubectl("get", "mbr,mb", "-n", namespace, "-o", "json")
    return {
        each["metadata"]["name"]: each["metadata"]["resourceVersion"] for each in json.loads(listed)["items"]
    }


def test_a_route_that_is_new_the_same_and_changed(api_bed, namespace, plan, tmp_path):
    files = EXAMPLES / "backends.yaml", EXAMPLES / "assistant.yaml"
    code, told = plan(*files)
    (route,) = told["routes"]
    assert (code, route["route"], route["revision"]["before"]) == (3, f"{namespace}/assistant", None)

    for file in files:
        api_bed.kubectl("apply", "-n", namespace, "-f", str(file))
    before = versions(api_bed, namespace)
    code, told = plan(*files)
    assert (code, told["changed"]) == (0, False)
    assert told["routes"][0]["changes"] == told["routes"][0]["requests"] == []

    changed = tmp_path / "assistant.yaml"
    changed.write_text(files[1].read_text().replace("weight: 70", "weight: 30"))
    code, told = plan(changed)  # the backends are those of the cluster
    (route,) = told["routes"]
    assert code == 3
    assert [(each["name"], each["respect"]) for each in route["changes"]] == [("dialog", "first attempts")]
    assert {each["after"]["rule"] for each in route["requests"]} == {"dialog"}
    assert versions(api_bed, namespace) == before


def test_a_backend_of_another_namespace_that_is_only_aggregated_is_the_clusters(
    api_bed, namespace, plan, tmp_path
):
    other = f"{namespace}-models"
    api_bed.kubectl("create", "namespace", other)

    def backend(name, where):
        spec = {
            "provider": "Custom",
            "endpoint": {"url": f"http://{name}.example"},
            "allowedRoutes": {"namespaces": "All"},
        }
        meta = {"name": name, "namespace": where}
        return {"apiVersion": API, "kind": "ModelBackend", "metadata": meta, "spec": spec}

    names = ["one", "three", f"{other}/two"]
    rule = {"name": "all", "candidates": [{"backend": "one"}]}
    rule["aggregate"] = {"strategy": "FirstSuccess", "backends": names}
    anyone = {"name": "all", "auth": {"anonymous": {}}, "backends": names}
    spec = {"rules": [rule], "consumers": [anyone]}
    route = {
        "apiVersion": API,
        "kind": "MoltBotRoute",
        "metadata": {"name": "votes", "namespace": namespace},
        "spec": spec,
    }
    file = tmp_path / "all.yaml"
    backends = [backend("one", namespace), backend("three", namespace), backend("two", other)]
    file.write_text(yaml.safe_dump_all([*backends, route]))
    api_bed.kubectl("apply", "-f", str(file))

    rule["aggregate"] = {**rule["aggregate"], "backends": names[:2]}
    file.write_text(yaml.safe_dump(route))
    _, told = plan(file)
    uses = [each for each in told["routes"][0]["changes"] if each["respect"] == "use"]
    assert [(each["name"], each["before"]) for each in uses] == [(f"{other}/two", "used")]
