"""Which cluster commands and tests use: decided here and nowhere else.

1. KUBECONFIG names one: that.  2. A Docker daemon runs and `kind` is on PATH: a kind cluster.
3. Linux and root: the one-node bed built here.  4. Else none, and only the api tier can run.
MOLTBOT_BED=node|kind|none overrides 2 to 4.
"""

import os
import shutil
import subprocess
import sys
from typing import Literal

from layout import HOST_KUBECONFIG, PLANE

Cluster = Literal["given", "kind", "node", "none"]

DOCKER_SECONDS = 10


def docker_runs() -> bool:
    """A Docker daemon answers; its client alone is not enough."""
    if shutil.which("docker") is None:
        return False
    try:
        done = subprocess.run(["docker", "info"], capture_output=True, timeout=DOCKER_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


def given() -> str | None:
    """The KUBECONFIG the caller chose; the bed's own does not count."""
    path = os.environ.get("KUBECONFIG")
    return path if path and path not in (str(PLANE.kubeconfig), str(HOST_KUBECONFIG)) else None


def resolve() -> tuple[Cluster, str]:
    """The kind of cluster, and a line that says why."""
    if given():
        return "given", f"using the cluster of KUBECONFIG={given()}"
    forced = os.environ.get("MOLTBOT_BED", "")
    if forced:
        if forced not in ("node", "kind", "none"):
            raise ValueError(f"MOLTBOT_BED={forced}: it may be node, kind or none")
        return forced, f"using {forced}, as MOLTBOT_BED says"  # type: ignore[return-value]
    if shutil.which("kind") and docker_runs():
        return "kind", "using kind: a Docker daemon is running"
    if sys.platform == "linux" and os.geteuid() == 0:
        return "node", "using the one-node bed built from source: Linux and root"
    return "none", (
        "no cluster: KUBECONFIG is not set, there is no Docker daemon with kind, and this is not root on"
        " Linux; only the unit and api tiers can run here."
        " Remedy: run as root on Linux, install kind, or set KUBECONFIG"
    )
