"""make bench-rollout: from a change to promoted, without analysis, less the time that the pods take anyway.

On a whole cluster (the bed, or KUBECONFIG=…), with real pods. Argo Rollouts' controller does the same
beside it, in the same cluster, with the very same pods: a copy of a gateway's pod template. Both are
changed in turn.
"""

import argparse
import asyncio
import contextlib
import json
import secrets
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parents[1] / "demo"), str(HERE.parent / "e2e")]

# ruff: noqa: E402 - these are folders of modules beside this one
import argo_rollouts
import models
from bench_docs import figures, write_section
from report import Samples, publish
from sites import PRO, RELEASE, SYSTEM, backend, route

import cluster as access
from moltbot_operator.kube.client import KubeCluster
from moltbot_operator.kube.connection import Connection
from moltbot_operator.kube.kinds import MOLTBOT_ROUTE, POD, SERVICE, Kind

AIM_SECONDS = 2.0
SCALE_DOWN_SECONDS = 3
PATIENCE_SECONDS = 180
ROUTE, DONOR = "bench", "donor"
LABEL = "moltbot.io/revision"
ROLLOUT = Kind("argoproj.io", "v1alpha1", "rollouts", "Rollout")


def rules(number):
    """Each number makes a revision of its own."""
    failover = {"maxRetries": 1, "perTryTimeout": f"{10 + number}s"}
    return [{"name": "all", "candidates": [{"backend": PRO}], "failover": failover}]


def bench_route(namespace, name, replicas):
    rollout = {"scaleDownDelay": f"{SCALE_DOWN_SECONDS}s"}
    return route(name, namespace, rules(0), gateway={"replicas": replicas}, rollout=rollout)


@dataclass
class Seen:
    """Objects as watches showed them, each version with when it came (seconds of the monotonic clock)."""

    changed: asyncio.Event = field(default_factory=asyncio.Event)
    latest: dict = field(default_factory=dict)
    came: list = field(default_factory=list)

    def add(self, kind, event, manifest):
        key = (kind.kind, manifest["metadata"]["name"])
        self.came.append((time.monotonic(), event, kind.kind, manifest))
        if event == "DELETED":
            self.latest.pop(key, None)
        else:
            self.latest[key] = manifest
        self.changed.set()

    async def until(self, what, probe):
        """When the first true value of `probe` came, and the value."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not (found := probe()):
            self.changed.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.changed.wait(), 1)
            if time.monotonic() > deadline:
                raise SystemExit(f"{what}: not within {PATIENCE_SECONDS} s; {json.dumps(self.status())}")
        return found

    def status(self):
        return {name: each.get("status") for (kind, name), each in self.latest.items() if kind != "Pod"}

    def first(self, since, kind, probe):
        """When a version of an object of `kind` first was as `probe` asks, from `since` on; None."""
        return next(
            (when for when, _, of, each in self.came if of == kind and when >= since and probe(each)), None
        )


async def follow(kube, kind, namespace, seen):
    """Adds everything of a kind and a namespace, from now on."""
    page = None
    async for page in kube.pages(kind, namespace):
        for each in page.items:
            seen.add(kind, "ADDED", each)
    async for event in kube.watch(kind, namespace, since=page.resource_version, lifetime=timedelta(hours=1)):
        if event.type != "BOOKMARK":
            seen.add(kind, event.type, event.manifest)


def is_ready(pod):
    conditions = (pod.get("status") or {}).get("conditions") or []
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


@dataclass(frozen=True)
class Contender:
    """What is changed, and how one sees that the change is promoted."""

    kind: Kind
    name: str
    label: str
    """Of pods, and in the Service's selector: the revision."""
    namespace: str
    replicas: int

    def change(self, number):
        """Merge patch of the spec: another revision."""
        if self.kind is ROLLOUT:
            return {"spec": {"template": {"metadata": {"annotations": {"bench": str(number)}}}}}
        return {"spec": {"rules": rules(number)}}

    def promoted(self, manifest):
        """The revision that serves, once the object says that nothing is left to do; None."""
        status, generation = manifest.get("status") or {}, manifest["metadata"]["generation"]
        if self.kind is ROLLOUT:
            fresh = status.get("observedGeneration") == str(generation)
            serves = status.get("blueGreen", {}).get("activeSelector")
            done = fresh and serves == status.get("stableRS") == status.get("currentPodHash")
            return serves if done else None
        fresh = status.get("observedGeneration") == generation
        done = fresh and status.get("rollout", {}).get("phase") == "Stable"
        return status["revision"]["active"] if done else None

    def revision_of(self, pod):
        """The revision of a pod that is this one's; None for other pods."""
        labels = pod["metadata"]["labels"]
        mine = self.kind is ROLLOUT or labels.get("moltbot.io/route") == self.name
        return labels.get(self.label) if mine else None


async def change(contender, number, kube, seen):
    """Figures of one change, begun when nothing is left of the one before."""
    key = (contender.kind.kind, contender.name)

    def at_rest():
        serves = contender.promoted(seen.latest[key]) if key in seen.latest else None
        pods = [contender.revision_of(each) for (kind, _), each in seen.latest.items() if kind == "Pod"]
        return serves if serves and [each for each in pods if each] == [serves] * contender.replicas else None

    before = await seen.until(f"{contender.name} at rest", at_rest)
    began = time.monotonic()
    await kube.merge(contender.kind, contender.namespace, contender.name, contender.change(number))

    def after():
        serves = contender.promoted(seen.latest[key])
        return serves if serves != before else None

    revision = await seen.until(f"the change of {contender.name} promoted", after)
    ready = {}
    for when, _, kind, each in seen.came:
        if kind == "Pod" and when >= began and contender.revision_of(each) == revision and is_ready(each):
            ready.setdefault(each["metadata"]["name"], when)
    created = seen.first(began, "Pod", lambda each: contender.revision_of(each) == revision)

    def switches(service):
        selects = service["spec"]["selector"].get(contender.label)
        return service["metadata"]["name"] == contender.name and selects == revision

    switched = seen.first(began, "Service", switches)
    told = seen.first(
        began,
        contender.kind.kind,
        lambda each: each["metadata"]["name"] == contender.name and contender.promoted(each) == revision,
    )
    own = max(ready.values()) - created
    return {
        "the change to promoted": (told - began, "s"),
        "of it, the pods' own: created to Ready": (own, "s"),
        "the rest": (told - began - own, "s"),
        "the change to the first pod created": (created - began, "s"),
        "pods Ready to the Service switched": (switched - max(ready.values()), "s"),
    }


async def measure(cluster, namespace, arguments):
    """Samples of all changes, and notes."""
    samples, seen, notes = Samples(), Seen(), []
    where = (namespace, arguments.replicas)
    contenders = {"moltbot": Contender(MOLTBOT_ROUTE, ROUTE, LABEL, *where)}
    connection = await Connection.open(str(cluster.kubeconfig))
    async with contextlib.AsyncExitStack() as stack:
        session = await stack.enter_async_context(connection.session())
        kube = KubeCluster(session, connection.server, timeout=timedelta(seconds=30), identity="bench")
        try:
            if arguments.only != "moltbot":
                await stack.enter_async_context(argo_rollouts.running(cluster))
                template = donated(cluster, namespace)
                cluster.apply(
                    argo_rollouts.manifests(namespace, template, arguments.replicas, SCALE_DOWN_SECONDS)
                )
                contenders["argo-rollouts"] = Contender(
                    ROLLOUT, argo_rollouts.NAME, argo_rollouts.HASH, *where
                )
        except argo_rollouts.LeftOut as error:
            notes.append(f"left out: {error}")
        kinds = (POD, SERVICE, *(each.kind for each in contenders.values()))
        watches = [asyncio.create_task(follow(kube, each, namespace, seen)) for each in kinds]
        try:
            for repetition in range(arguments.repetitions):
                for name, each in contenders.items():
                    seen.came.clear()
                    took = await change(each, repetition + 1, kube, seen)
                    for metric, (value, unit) in took.items():
                        samples.add(name, metric, value, unit)
                print(f"repetition {repetition + 1} of {arguments.repetitions} is done", flush=True)
        finally:
            for each in watches:
                each.cancel()
            for each in await asyncio.gather(*watches, return_exceptions=True):
                if not isinstance(each, asyncio.CancelledError):
                    print(f"a watch ended: {each}", file=sys.stderr)
    return samples, notes


def donated(cluster, namespace):
    """The pod template of a route that never changes, so that what its pods mount stays."""
    (found,) = cluster.list("deployments", namespace, f"moltbot.io/route={DONOR}")
    return found["spec"]["template"]


def prepare(cluster, replicas):
    """A namespace with a simulated model and two routes, both Ready."""
    namespace = f"bench-rollout-{secrets.token_hex(2)}"
    cluster.apply([models.namespace(namespace)])
    cluster.apply([*models.provider(PRO, namespace), backend(PRO, namespace)])
    cluster.apply([bench_route(namespace, ROUTE, replicas), bench_route(namespace, DONOR, 1)])
    for name in (ROUTE, DONOR):
        access.wait_until(
            f"route {name} to be Ready",
            lambda name=name: access.is_settled(cluster.get("moltbotroute", name, namespace)),
            PATIENCE_SECONDS,
        )
    return namespace


def verdict(samples):
    """Whether the aim is met, in a line."""
    middle = statistics.median(samples.values["moltbot", "the rest"])
    met = "met" if middle <= AIM_SECONDS else "NOT met"
    return f"moltbot: {middle:.2f} s beside the pods' own time, aim {AIM_SECONDS:g}: {met}"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=7)
    parser.add_argument("--replicas", type=int, default=1, help="pods of each revision")
    parser.add_argument("--only", choices=["moltbot"], help="without Argo Rollouts")
    parser.add_argument("--write-docs", action="store_true", help="rewrite docs/benchmarks.md")
    arguments = parser.parse_args()
    cluster, why = access.find()
    if cluster is None:
        raise SystemExit(why)
    ours = cluster.is_ours
    was_up = (
        ours
        and subprocess.run([access.BED / "run", "true"], capture_output=True, check=False).returncode == 0
    )
    access.bring_up(cluster)
    try:
        access.install_chart(cluster, RELEASE, SYSTEM)
        namespace = prepare(cluster, arguments.replicas)
        try:
            samples, left_out = asyncio.run(measure(cluster, namespace, arguments))
        finally:
            cluster.kubectl("delete", "namespace", namespace, "--wait=false")
    finally:
        if ours and not was_up:
            subprocess.run([access.BED / "down"], check=True)
    notes = [verdict(samples), *left_out]
    both = ("argo-rollouts", "the rest") in samples.values
    pinned = {"argo-rollouts": argo_rollouts.VERSION} if both else {}
    publish("rollout", samples, notes, **pinned)
    if arguments.write_docs:
        how = f"{arguments.repetitions} changes each in turn, {arguments.replicas} pod(s) a revision"
        write_section("rollout", figures(samples), notes, pinned, how)


if __name__ == "__main__":
    main()
