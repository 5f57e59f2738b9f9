"""The one-node bed itself: that it behaves like a cluster, and that it leaves nothing.

It runs beside a bed that may be up: name and ports are its own.
"""

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
NAMESPACE = "bed-test"
ENVIRONMENT = {
    **{key: value for key, value in os.environ.items() if key != "KUBECONFIG"},
    "MOLTBOT_BED_NAME": "moltbot-testbed-of-tests",
    "MOLTBOT_BED_API_PORT": "16444",
    "MOLTBOT_BED_GATEWAY_PORT": "18081",
}
LOAD_BASE = "import images, base_image; images.load([base_image.archive()]); print(base_image.TAG)"
GROUP_OF_TESTS = "import cgroups; print(*cgroups.pids())"

pytestmark = [
    pytest.mark.bed,
    pytest.mark.skipif(
        sys.platform != "linux" or os.geteuid() != 0, reason="the one-node bed needs root on Linux"
    ),
]


needs_workload = pytest.mark.usefixtures("workload")


def call(*command: str, stdin: str | None = None, seconds: float = 240) -> str:
    """The output of a command of this folder."""
    done = subprocess.run(
        [str(HERE / command[0]), *command[1:]], input=stdin, env=ENVIRONMENT, capture_output=True, text=True,
        timeout=seconds, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


def python(code: str) -> str:
    """Runs code with the modules of this folder, as they are configured for the bed of these tests."""
    return subprocess.run(
        [sys.executable, "-c", code], cwd=HERE, env=ENVIRONMENT, capture_output=True, text=True, check=True
    ).stdout


def kubectl(*args: str, stdin: str | None = None) -> str:
    return call("run", "kubectl", "-n", NAMESPACE, *args, stdin=stdin)


def until(probe: Callable[[], object], seconds: float = 60) -> float:
    """Waits for `probe` to be true; returns after how many seconds it was."""
    started = time.monotonic()
    while not probe():
        assert time.monotonic() - started < seconds, "not within the deadline"
        time.sleep(0.2)
    return time.monotonic() - started


def in_pod(code: str) -> str:
    return kubectl("exec", "client", "--", "python3", "-c", code)


@pytest.fixture(scope="module", autouse=True)
def bed() -> Iterator[None]:
    call("up")
    yield
    call("down")


@pytest.fixture(scope="module")
def workload() -> None:
    """Two replicas of a server, and a client, under the restricted pod security standard."""
    image = python(LOAD_BASE).strip()
    security = {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "runAsNonRoot": True,
        "runAsUser": 65532,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    server = {
        "name": "main",
        "image": image,
        "command": ["python3", "-m", "http.server", "8000", "--directory", "/etc/secret"],
        "securityContext": security,
        "volumeMounts": [{"name": "secret", "mountPath": "/etc/secret"}],
        "readinessProbe": {"httpGet": {"port": 8000, "path": "/word"}, "periodSeconds": 1},
    }
    client = {"name": "main", "image": image, "command": ["sleep", "3600"], "securityContext": security}
    volumes = [{"name": "secret", "secret": {"secretName": "word"}}]
    labels = {"app": "server"}
    enforce = {"pod-security.kubernetes.io/enforce": "restricted"}
    ports = [{"port": 80, "targetPort": 8000, "nodePort": 30080}]
    items: list[dict[str, object]] = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": enforce}},
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "word"}, "stringData": {"word": "first"}},
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "server"},
         "spec": {"type": "NodePort", "selector": labels, "ports": ports}},
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "server"},
         "spec": {"replicas": 2, "selector": {"matchLabels": labels},
                  "template": {"metadata": {"labels": labels},
                               "spec": {"containers": [server], "volumes": volumes}}}},
    ]  # fmt: skip
    kubectl("apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "client"},
        "spec": {"containers": [client]},
    }

    def account() -> str:
        return kubectl("get", "serviceaccounts", "-o", "name")

    until(lambda: "serviceaccount/default" in account())
    kubectl("apply", "-f", "-", stdin=json.dumps(pod))
    kubectl("rollout", "status", "deployment/server", "--timeout=120s")
    kubectl("wait", "--for=condition=Ready", "pod/client", "--timeout=120s")
    # Pods are Ready a moment before kube-proxy knows of them.
    ask = "import urllib.request as r\ntry: print(r.urlopen('http://server/word', timeout=5).read())"
    until(lambda: "first" in in_pod(f"{ask}\nexcept OSError as error: print(error)"))


def test_a_second_start_does_nothing() -> None:
    started = time.monotonic()
    assert "up already" in call("up")
    assert time.monotonic() - started < 10


@needs_workload
def test_pods_find_a_service_by_its_name() -> None:
    url = f"http://server.{NAMESPACE}.svc.cluster.local/word"
    for name in ("http://server/word", url):
        assert "first" in in_pod(f"import urllib.request as r; print(r.urlopen({name!r}, timeout=5).read())")


@needs_workload
def test_there_is_no_outside() -> None:
    code = "import socket; socket.setdefaulttimeout(5); socket.create_connection(({!r}, 80))"
    for host in ("example.com", "192.0.2.1"):
        done = subprocess.run(
            [str(HERE / "run"), "kubectl", "-n", NAMESPACE, "exec", "client", "--", "python3", "-c",
             code.format(host)],
            env=ENVIRONMENT, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert re.search("Name or service not known|No route to host", done.stderr), done.stderr


@needs_workload
def test_pods_reach_the_api_server_with_the_rights_they_have() -> None:
    code = """
import ssl, urllib.request, urllib.error
folder = "/var/run/secrets/kubernetes.io/serviceaccount/"
context = ssl.create_default_context(cafile=folder + "ca.crt")
request = urllib.request.Request("https://kubernetes.default.svc/api/v1/secrets")
request.add_header("Authorization", "Bearer " + open(folder + "token").read())
try:
    urllib.request.urlopen(request, context=context, timeout=5)
except urllib.error.HTTPError as error:
    print(error.code, error.read().decode())
"""
    answer = in_pod(code)
    assert answer.startswith("403")
    assert f"system:serviceaccount:{NAMESPACE}:default" in answer


@needs_workload
def test_pods_that_break_the_restricted_standard_are_refused() -> None:
    root = {"name": "main", "image": "any", "securityContext": {"privileged": True}}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "root"}, "spec": {"containers": [root]}}
    done = subprocess.run(
        [str(HERE / "run"), "kubectl", "-n", NAMESPACE, "apply", "-f", "-"], input=json.dumps(pod),
        env=ENVIRONMENT, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert "violates PodSecurity" in done.stderr


@needs_workload
def test_a_node_port_is_reached_from_the_hosts_loopback() -> None:
    with urllib.request.urlopen("http://127.0.0.1:18081/word", timeout=5) as answer:
        assert answer.read() == b"first"


@needs_workload
def test_logs_port_forward_and_top() -> None:
    assert "GET /word" in kubectl("logs", "deployment/server")
    command = [str(HERE / "run"), "kubectl", "-n", NAMESPACE, "port-forward", "service/server", "0:80"]
    with subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True) as forward:
        assert forward.stdout
        try:
            line = forward.stdout.readline()
            port = re.search(r"127\.0\.0\.1:(\d+)", line)
            assert port, line
            get = f"import urllib.request as r; print(r.urlopen('http://127.0.0.1:{port[1]}/word').read())"
            answer = call("run", "python3", "-c", get)
        finally:
            forward.terminate()
    assert "first" in answer

    def top() -> bool:
        done = subprocess.run(
            [str(HERE / "run"), "kubectl", "top", "pods", "-n", NAMESPACE], env=ENVIRONMENT,
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        return "server-" in done.stdout

    until(top, 120)


@needs_workload
def test_an_updated_secret_reaches_the_pods() -> None:
    kubectl("patch", "secret", "word", "-p", '{"stringData": {"word": "second"}}')
    seconds = until(
        lambda: "second" in kubectl("exec", "deployment/server", "--", "cat", "/etc/secret/word"), 90
    )
    print(f"the secret arrived after {seconds:.1f} s")


@needs_workload
def test_requests_are_in_the_audit_log() -> None:
    log = Path(python("from layout import PLANE; print(PLANE.audit_log)").strip())
    events = [json.loads(line) for line in log.read_text().splitlines()]
    patches = [each for each in events if each["verb"] == "patch" and each["objectRef"].get("name") == "word"]
    assert [each["user"]["username"] for each in patches] == ["admin"]


@needs_workload
def test_a_daemon_that_dies_comes_back() -> None:
    def schedulers() -> list[int]:
        named = [int(pid) for pid in python(GROUP_OF_TESTS).split() if _name(pid) == "kube-scheduler"]
        return sorted(named)

    before = schedulers()
    os.kill(before[0], signal.SIGKILL)
    until(lambda: schedulers() and schedulers() != before)


def _name(pid: str) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""  # ended meanwhile


@needs_workload
def test_a_crashed_bed_is_cleaned_up_by_the_next_start() -> None:
    pids = [int(pid) for pid in python(GROUP_OF_TESTS).split()]
    assert len(pids) > 10
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue  # ended with its parent
    started = time.monotonic()
    assert "node ready" in call("up")
    print(f"up again {time.monotonic() - started:.1f} s after a crash")


def test_half_a_start_is_cleaned_up_by_the_next() -> None:
    call("down")
    with subprocess.Popen([str(HERE / "up")], env=ENVIRONMENT, stdout=subprocess.DEVNULL) as half:
        until(lambda: len(python(GROUP_OF_TESTS).split()) > 3)
        half.kill()
    assert "node ready" in call("up")


def test_nothing_is_left_after_down() -> None:
    mounts, links = Path("/proc/self/mountinfo").read_text(), Path("/proc/net/dev").read_text().count(":")
    call("down")
    assert "nothing is left" in call("down", "--check")
    assert "there was no bed" in call("down")
    assert Path("/proc/self/mountinfo").read_text() == mounts
    assert Path("/proc/net/dev").read_text().count(":") == links
    assert "moltbot-testbed-of-tests" not in mounts
