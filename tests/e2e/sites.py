"""A namespace with simulated models, what tests put in it, and what they ask of it."""

import contextlib
import json
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import models

import cluster as access

RELEASE = "moltbot-operator"
SYSTEM = "moltbot-system"
PRO, MAX, BACKUP = "dialog-pro", "dialog-max", "code-model-v2"
PROVIDERS = (PRO, MAX, BACKUP)
CLIENT = Path(__file__).with_name("in_pod.py").read_text()


def route(name: str, where: str, rules: list, **spec) -> dict:
    """A route open to everybody in its namespace's network; old pods go at once, unless `spec` says else."""
    used = {each["backend"] for rule in rules for each in rule.get("candidates", [])}
    used |= {each for rule in rules for each in rule.get("fallback", [])}
    consumer = {"name": "anyone", "auth": {"anonymous": {}}, "backends": sorted(used)}
    return {
        "apiVersion": "moltbot.io/v1alpha1",
        "kind": "MoltBotRoute",
        "metadata": {"name": name, "namespace": where},
        "spec": {"rules": rules, "consumers": [consumer], "rollout": {"scaleDownDelay": "0s"}, **spec},
    }


def backend(name: str, where: str, **spec) -> dict:
    """A backend for the simulated model of the same name."""
    service = {"name": name, "port": models.PORT}
    return {
        "apiVersion": "moltbot.io/v1alpha1",
        "kind": "ModelBackend",
        "metadata": {"name": name, "namespace": where},
        "spec": {"provider": "Custom", "model": f"{name}-upstream", "endpoint": {"service": service}, **spec},
    }


def tech_rule(**changes) -> dict:
    """The rule of the product's own example."""
    return {
        "name": "tech",
        "matches": [{"path": {"type": "Regex", "value": "^/tech/"}}],
        "candidates": [{"backend": PRO, "weight": 70}, {"backend": MAX, "weight": 30}],
        "fallback": [BACKUP],
        "failover": {
            "maxRetries": 3,
            "backoff": {"strategy": "Exponential", "base": "25ms", "max": "250ms"},
            "perTryTimeout": "1s",
        },
        **changes,
    }


def lease(cluster) -> dict:
    """The spec of the operator's Lease."""
    (found,) = [
        each for each in cluster.list("leases", SYSTEM) if each["metadata"]["name"].endswith("leader")
    ]
    return found["spec"]


def leader(cluster) -> dict | None:
    """The pod that leads; None while there is none."""
    holder = lease(cluster).get("holderIdentity") or "nobody"
    pods = cluster.list("pods", SYSTEM, "app.kubernetes.io/component=operator")
    return next((each for each in pods if holder.startswith(each["metadata"]["name"])), None)


def kill(cluster, pod) -> None:
    """As a node's death would: without a last word where we can, then gone from the API."""
    if cluster.kind == "node":
        for group in Path("/proc").glob("[0-9]*/cgroup"):
            with contextlib.suppress(OSError):
                if pod["metadata"]["uid"] in group.read_text():
                    os.kill(int(group.parent.name), signal.SIGKILL)
    name = pod["metadata"]["name"]
    where = pod["metadata"]["namespace"]
    cluster.kubectl("delete", "pod", name, "-n", where, "--grace-period=0", "--force", "--wait=false")


@dataclass(frozen=True)
class Site:
    """A namespace with three simulated models and a client pod."""

    cluster: access.Cluster
    namespace: str

    def client(self, do: str, seconds: float = 180, **job) -> dict:
        """Runs a job of in_pod.py."""
        text = json.dumps({"do": do, **job})
        return json.loads(self.cluster.python_in("client", self.namespace, CLIENT, text, seconds=seconds))

    def load(self, name: str = "assistant", path: str = "/tech/v1/chat/completions", **job) -> dict:
        return self.client("load", url=f"http://{name}.{self.namespace}.svc{path}", **job)

    def admin(self, provider: str, method: str, path: str, body=None) -> dict:
        """The admin API of a simulated model."""
        pod = self.pods(f"app.kubernetes.io/name={provider}")[0]
        url = f"http://{pod['status']['podIP']}:{models.ADMIN_PORT}{path}"
        answer = self.client("http", method=method, url=url, json=body)
        assert answer["status"] == 200, answer
        return json.loads(answer["body"])

    def fault(self, provider: str, kind: str, **settings) -> None:
        self.admin(provider, "PUT", "/faults", {"kind": kind, **settings})

    @contextlib.contextmanager
    def outage(self, *providers: str, kind: str, **settings) -> Iterator[None]:
        try:
            for each in providers:
                self.fault(each, kind, **settings)
            yield
        finally:
            for each in providers:
                self.admin(each, "DELETE", "/faults")

    def pods(self, labels: str) -> list[dict]:
        """Pods that are running and not on their way out."""
        found = self.cluster.list("pods", self.namespace, labels)
        return [each for each in found if not each["metadata"].get("deletionTimestamp")]

    def route(self, name: str = "assistant") -> dict:
        found = self.cluster.get("moltbotroute", name, self.namespace)
        assert found is not None
        return found

    def wait_ready(self, name: str = "assistant", seconds: float = 120) -> dict:
        def probe():
            found = self.route(name)
            return found if access.is_settled(found) else None

        try:
            return access.wait_until(f"route {name} to be Ready and settled", probe, seconds)
        except TimeoutError as error:
            raise AssertionError(
                f"{error}: {json.dumps(self.route(name).get('status'), indent=1)}"
            ) from error

    def wait_serving(self, name: str = "assistant", seconds: float = 120) -> dict:
        """Ready, and kube-proxy has heard of it: a new Service answers a little after its route is Ready."""
        found = self.wait_ready(name, seconds)
        url = f"http://{name}.{self.namespace}.svc/tech/v1/models"

        def probe():
            with contextlib.suppress(access.CommandFailed):
                return self.client("http", method="GET", url=url)
            return None

        access.wait_until(f"an answer of {url}", probe, 30)
        return found

    def owned(self, name: str = "assistant") -> dict[tuple[str, str], dict]:
        """(kind, name) -> object of everything that a route owns but pods."""
        kinds = (
            "deployments,services,configmaps,secrets,serviceaccounts,"
            "poddisruptionbudgets.policy,networkpolicies.networking.k8s.io"
        )
        found = self.cluster.list(kinds, self.namespace, f"moltbot.io/route={name}")
        return {(each["kind"], each["metadata"]["name"]): each for each in found}
