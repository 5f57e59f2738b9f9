"""A whole cluster to work on (KUBECONFIG's, kind, or the test bed), with kubectl and helm on it.

Used by the demo and by the e2e tests.
"""

import importlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
BED = ROOT / "tests" / "cluster"
CHART = ROOT / "charts" / "moltbot-operator"

if str(BED) not in sys.path:
    sys.path.insert(0, str(BED))

# The bed is a folder of programs, not a package.
build, kind_cluster, layout, resolve = map(importlib.import_module, ("build", "kind", "layout", "resolve"))

OPERATOR_IMAGE = os.environ.get("MOLTBOT_IMAGE", "localhost/moltbot:dev")
PROVIDER_IMAGE = os.environ.get("MOLTBOT_PROVIDER_IMAGE", "localhost/moltbot-provider:dev")
"""Images of the operator and of simulated models. A cluster of KUBECONFIG pulls what the variables name."""

Manifest = Mapping[str, Any]


class CommandFailed(Exception):  # noqa: N818
    """A program ended with an error; the message has its command and what it said."""


def run(
    command: list[str],
    *,
    stdin: str | None = None,
    seconds: float = 120,
    env: Mapping[str, str] | None = None,
) -> str:
    """The standard output of a program; CommandFailed when it fails or takes too long."""
    shown = " ".join(command[:6])
    try:
        done = subprocess.run(
            command, input=stdin, capture_output=True, text=True, timeout=seconds, env=env, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise CommandFailed(f"{shown} …: no end within {seconds:.0f} s") from error
    if done.returncode:
        raise CommandFailed(f"{shown} …: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def wait_until(what: str, probe: Callable[[], Any], seconds: float, every: float = 0.25) -> Any:
    """The first true value of `probe`; TimeoutError naming `what` at the deadline."""
    deadline = time.monotonic() + seconds
    while not (value := probe()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {seconds:.0f} s")
        time.sleep(every)
    return value


@dataclass(frozen=True)
class Cluster:
    """One cluster, reached with `kubeconfig`; `kind` says where it came from."""

    kind: str
    kubeconfig: Path

    @property
    def is_ours(self) -> bool:
        """Whether we started it, so that a loopback port leads to one of its node ports."""
        return self.kind != "given"

    def _env(self) -> dict[str, str]:
        return {**os.environ, "KUBECONFIG": str(self.kubeconfig)}

    def kubectl(self, *args: str, stdin: str | None = None, seconds: float = 120) -> str:
        """Output of kubectl."""
        return run([kubectl(), *args], stdin=stdin, seconds=seconds, env=self._env())

    def helm(self, *args: str, seconds: float = 300) -> str:
        """Output of helm."""
        return run([str(build.binaries()["helm"]), *args], seconds=seconds, env=self._env())

    def apply(self, manifests: Iterable[Manifest]) -> None:
        """Server-side apply."""
        stream = "\n".join(json.dumps(each) for each in manifests)
        self.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=stream)

    def get(self, kind: str, name: str, namespace: str) -> dict[str, Any] | None:
        """One object; None when it does not exist."""
        text = self.kubectl("get", kind, name, "-n", namespace, "-o", "json", "--ignore-not-found")
        found: dict[str, Any] | None = json.loads(text) if text.strip() else None
        return found

    def list(self, kind: str, namespace: str, labels: str = "") -> list[dict[str, Any]]:
        """Objects of a kind (or of several: `pods,services`)."""
        selector = ["-l", labels] if labels else []
        text = self.kubectl("get", kind, "-n", namespace, "-o", "json", "--show-managed-fields", *selector)
        items: list[dict[str, Any]] = json.loads(text)["items"]
        return items

    def python_in(
        self, pod: str, namespace: str, code: str, *args: str, container: str = "", seconds: float = 120
    ) -> str:
        """Output of a Python program run in a pod of one of our images."""
        chosen = ["-c", container] if container else []
        command = ["exec", "-n", namespace, pod, *chosen, "--", "python3", "-c", code, *args]
        return self.kubectl(*command, seconds=seconds)


def kubectl() -> str:
    """The bed's kubectl, else the machine's."""
    built = build.binaries()["kubectl"]
    return str(built) if built.exists() else "kubectl"


def find() -> tuple[Cluster | None, str]:
    """The cluster to use, not necessarily up yet, and a line that says why; None where there can be none."""
    kind, why = resolve.resolve()
    if kind == "none":
        return None, why
    if kind == "kind":
        return Cluster(kind, kind_cluster.kubeconfig()), why
    return Cluster(kind, Path(resolve.given() or layout.HOST_KUBECONFIG)), why


def bring_up(cluster: Cluster) -> None:
    """Starts the cluster if it is ours and not up, and gives it our images; programs write to our output."""
    if cluster.is_ours:
        subprocess.run([BED / "up"], check=True)
        subprocess.run([BED / "image"], check=True)
    elif "MOLTBOT_IMAGE" not in os.environ or "MOLTBOT_PROVIDER_IMAGE" not in os.environ:
        raise CommandFailed(
            "a cluster of KUBECONFIG cannot see images of this machine: push them to a registry it pulls"
            " from and name them by MOLTBOT_IMAGE and MOLTBOT_PROVIDER_IMAGE"
        )


def install_chart(cluster: Cluster, release: str, namespace: str, *settings: str) -> None:
    """Installs or upgrades the chart with our image, and waits for it; `settings` are NAME=VALUE."""
    repository, _, tag = OPERATOR_IMAGE.rpartition(":")
    values = [f"image.repository={repository}", f"image.tag={tag}", *settings]
    if cluster.kind == "node":
        # The tag stays the same when the image changes: only another pod template brings new pods.
        marks = json.loads((layout.RUNTIME / "images.json").read_text())
        values.append(f"podAnnotations.moltbot\\.io/image=inputs-{marks[OPERATOR_IMAGE]}")
    chosen = [each for value in values for each in ("--set", value)]
    command = ["upgrade", "--install", release, str(CHART), "--namespace", namespace, "--create-namespace"]
    cluster.helm(*command, "--wait", "--timeout", "3m", *chosen)


def condition(obj: Manifest | None, kind: str) -> Mapping[str, Any]:
    """A condition of an object; an empty one, Unknown, while there is none."""
    conditions = ((obj or {}).get("status") or {}).get("conditions") or []
    missing = {"status": "Unknown", "reason": "", "message": "not reported yet"}
    return next((each for each in conditions if each["type"] == kind), missing)


def is_true(obj: Manifest | None, kind: str) -> bool:
    """Whether a condition is True for the object's present generation."""
    found = condition(obj, kind)
    generation = (obj or {}).get("metadata", {}).get("generation")
    return bool(found["status"] == "True" and found.get("observedGeneration", generation) == generation)


def is_settled(route: Manifest | None) -> bool:
    """Whether a route serves its present spec: Ready alone may be true of the revision before."""
    return is_true(route, "Ready") and condition(route, "Reconciling")["status"] != "True"
