"""The same commands on kind, where a Docker daemon runs. Not tried on the machines this was made on."""

import subprocess
from pathlib import Path

import build
import layout

NAME = "moltbot-bed"
CONFIG = f"""
kind: Cluster
apiVersion: kind.x-k8s.io/v1alpha4
nodes:
  - role: control-plane
    extraPortMappings:
      - containerPort: {layout.GATEWAY_NODE_PORT}
        hostPort: {layout.GATEWAY_PORT}
        listenAddress: 127.0.0.1
"""


def kubeconfig() -> Path:
    return build.cache_dir() / "kind.kubeconfig"


def _kind(*args: str, stdin: str | None = None) -> str:
    done = subprocess.run(["kind", *args], input=stdin, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"kind {' '.join(args)} failed: {done.stderr.strip()}")
    return done.stdout


def leftovers() -> list[str]:
    return [f"kind cluster {NAME}"] if NAME in _kind("get", "clusters").split() else []


def up() -> str:
    for component in build.components(node=False):
        build.build(component)
    kubeconfig().parent.mkdir(parents=True, exist_ok=True)
    if not leftovers():
        _kind("create", "cluster", f"--name={NAME}", "--config=-", "--wait=180s",
              f"--kubeconfig={kubeconfig()}", stdin=CONFIG)  # fmt: skip
    return f"export KUBECONFIG={kubeconfig()}"


def down() -> str:
    _kind("delete", "cluster", f"--name={NAME}", f"--kubeconfig={kubeconfig()}")
    kubeconfig().unlink(missing_ok=True)
    return f"deleted the kind cluster {NAME}"


def load(tag: str) -> None:
    """Gives an image of the Docker daemon to the cluster."""
    _kind("load", "docker-image", tag, f"--name={NAME}")
