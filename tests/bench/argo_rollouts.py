"""Argo Rollouts' controller, built from its Go module, beside the cluster; and a Rollout of given pods."""

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path

from measure import free_port, process

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "cluster"))

import build  # noqa: E402 - a folder of modules beside this one

MODULE, VERSION = "github.com/argoproj/argo-rollouts", "v1.10.2"
FOLDER = build.cache_dir() / f"argo-rollouts-{VERSION}"
BUILD_SECONDS = 3600
NAME = "argo"
LABELS = {"app.kubernetes.io/name": NAME}
HASH = "rollouts-pod-template-hash"


class LeftOut(Exception):  # noqa: N818
    """Why it can't be measured here."""


def controller():
    """The controller's binary, built where it is missing, and the folder of its CRDs; LeftOut."""
    binary = FOLDER / "rollouts-controller"
    try:
        source = _source()
        if not binary.exists():
            partial = FOLDER / f".rollouts-controller.{os.getpid()}"
            print(f"building rollouts-controller {VERSION} …", flush=True)
            # In the module's own folder: what its go.mod replaces counts only there.
            command = ["go", "build", "-trimpath", "-ldflags", "-s -w", "-o", str(partial)]
            _go([*command, "./cmd/rollouts-controller"], source)
            partial.rename(binary)
    except (OSError, subprocess.SubprocessError) as error:
        said = (getattr(error, "stderr", None) or str(error)).strip()[-300:]
        raise LeftOut(f"Argo Rollouts {VERSION} can't be built: {said}") from error
    return binary, source / "manifests" / "crds"


def _source():
    FOLDER.mkdir(parents=True, exist_ok=True)
    text = _go(["go", "mod", "download", "-json", f"{MODULE}@{VERSION}"], FOLDER)
    return Path(json.loads(text)["Dir"])


def _go(command, folder):
    # Its go.mod asks for a patch of Go that may be newer than the one here.
    env = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly", "GOTOOLCHAIN": "auto"}
    done = subprocess.run(
        command, cwd=folder, env=env, check=True, capture_output=True, text=True, timeout=BUILD_SECONDS
    )
    return done.stdout


@contextlib.asynccontextmanager
async def running(cluster):
    """The controller as a process of this machine, with the cluster's CRDs in place; its log is yielded."""
    binary, crds = controller()
    files = [each for name in sorted(crds.glob("*-crd.yaml")) for each in ("-f", str(name))]
    cluster.kubectl("apply", "--server-side", *files)
    cluster.kubectl("wait", "--for=condition=Established", "--timeout=60s", *files)
    command = [str(binary), "--kubeconfig", str(cluster.kubeconfig), "--leader-elect=false"]
    command += ["--metricsPort", str(free_port()), "--healthzPort", str(free_port())]
    async with process("argo-rollouts", command) as (_, log):
        yield log


def manifests(namespace, template, replicas, scale_down_seconds):
    """A blue-green Rollout of the pods of `template`, with its Services."""
    labels = {**template["metadata"]["labels"], **LABELS}
    kept = {key: value for key, value in labels.items() if not key.startswith("moltbot.io/")}
    made = {"metadata": {**template["metadata"], "labels": kept}, "spec": template["spec"]}
    ports = [{"name": "http", "port": 80, "targetPort": "http"}]
    for name in (NAME, f"{NAME}-preview"):
        yield {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": name, "namespace": namespace},
            "spec": {"selector": LABELS, "ports": ports},
        }
    blue_green = {
        "activeService": NAME,
        "previewService": f"{NAME}-preview",
        "autoPromotionEnabled": True,
        "scaleDownDelaySeconds": scale_down_seconds,
    }
    yield {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Rollout",
        "metadata": {"name": NAME, "namespace": namespace},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": LABELS},
            "template": made,
            "strategy": {"blueGreen": blue_green},
        },
    }
