"""How the one-node bed is, seen from outside."""

import json
import subprocess
from pathlib import Path

import build
import cgroups
import layout
from layout import HOST_KUBECONFIG, LOOPBACK, NODE_NAME, PLANE
from probe import status
from processes import wait_until

HERE = Path(__file__).resolve().parent
ADDONS = ("coredns",)
"""Deployments of kube-system without which the bed does not count as up."""

PATIENCE = 60
"""How long a bed that was up may be unwell, on a busy machine, before it counts as broken; seconds."""


def kubectl(*args: str, stdin: str | None = None, seconds: float = 60) -> str:
    """The output of kubectl on the bed, from outside its network."""
    done = subprocess.run(
        [str(build.binaries()["kubectl"]), f"--kubeconfig={HOST_KUBECONFIG}", *args],
        input=stdin, capture_output=True, text=True, timeout=seconds, check=False,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"kubectl {' '.join(args)}: {done.stderr.strip()}")
    return done.stdout


def init_pid() -> int | None:
    """The node's first process, as seen from outside."""
    ours = Path("/proc/self/ns/pid").readlink()
    for pid in sorted(cgroups.pids()):
        folder = Path("/proc", str(pid))
        try:
            lines = (folder / "status").read_text().splitlines()
            ids = next(line.split()[1:] for line in lines if line.startswith("NSpid:"))
            command = (folder / "cmdline").read_bytes().split(b"\0")
            first = ids[-1] == "1" and (folder / "ns" / "pid").readlink() != ours
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has ended meanwhile
        if first and str(HERE / "node.py").encode() in command:
            return pid
    return None


def is_up() -> bool:
    """A bed of these versions was started to the end, and is well (or gets well soon)."""
    versions = (HERE / "versions.toml").read_bytes()
    if init_pid() is None or not layout.VERSIONS.exists() or layout.VERSIONS.read_bytes() != versions:
        return False
    try:
        wait_until("the bed to be well", _well, PATIENCE, every=1)
    except (TimeoutError, RuntimeError, subprocess.TimeoutExpired) as error:
        print(f"the bed that is there is broken: {error}")
        return False
    return True


def _well() -> bool:
    return answers() and node_ready() and not addons_missing()


def answers() -> bool:
    """The API server is ready and reached from the host."""
    return status(PLANE, "/readyz", LOOPBACK, layout.API_PORT) == 200


def node_ready() -> bool:
    for item in json.loads(kubectl("get", "nodes", "-o", "json"))["items"]:
        conditions = {each["type"]: each["status"] for each in item["status"].get("conditions", [])}
        if item["metadata"]["name"] == NODE_NAME and conditions.get("Ready") == "True":
            return True
    return False


def addons_missing() -> list[str]:
    """Those of ADDONS that are not available yet."""
    found = json.loads(kubectl("get", "deployments", "-n", "kube-system", "-o", "json"))["items"]
    available = {each["metadata"]["name"] for each in found if each["status"].get("availableReplicas")}
    return [name for name in ADDONS if name not in available]
