"""make bench-rollout: from a change to promoted, without analysis, less the time that the pods take anyway.

On a whole cluster (the bed, or KUBECONFIG=…), with real pods.
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
import models
from bench_docs import figures, write_section
from report import Samples, publish
from sites import PRO, RELEASE, SYSTEM, backend, route

import cluster as access
from moltbot_operator.kube.client import KubeCluster
from moltbot_operator.kube.connection import Connection
from moltbot_operator.kube.kinds import MOLTBOT_ROUTE, POD, SERVICE

AIM_SECONDS = 2.0
SCALE_DOWN_SECONDS = 3
PATIENCE_SECONDS = 180
ROUTE = "bench"
LABEL = "moltbot.io/revision"


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


def promoted(manifest):
    """The revision that serves, once the route says that nothing is left to do; None."""
    status = manifest.get("status") or {}
    fresh = status.get("observedGeneration") == manifest["metadata"]["generation"]
    done = fresh and status.get("rollout", {}).get("phase") == "Stable"
    return status["revision"]["active"] if done else None


def revision_of(pod):
    """The revision of a pod of the route under measurement; None for other pods."""
    labels = pod["metadata"]["labels"]
    return labels.get(LABEL) if labels.get("moltbot.io/route") == ROUTE else None


async def change(number, kube, seen, namespace, replicas):
    """Figures of one change, begun when nothing is left of the one before."""
    key = (MOLTBOT_ROUTE.kind, ROUTE)

    def at_rest():
        serves = key in seen.latest and promoted(seen.latest[key])
        pods = [revision_of(each) for (kind, _), each in seen.latest.items() if kind == "Pod"]
        return serves if serves and [each for each in pods if each] == [serves] * replicas else None

    before = await seen.until("the route at rest", at_rest)
    began = time.monotonic()
    await kube.merge(MOLTBOT_ROUTE, namespace, ROUTE, {"spec": {"rules": rules(number)}})

    def after():
        serves = promoted(seen.latest[key])
        return serves if serves != before else None

    revision = await seen.until("the change promoted", after)
    ready = {}
    for when, _, kind, each in seen.came:
        if kind == "Pod" and when >= began and revision_of(each) == revision and is_ready(each):
            ready.setdefault(each["metadata"]["name"], when)
    created = seen.first(began, "Pod", lambda each: revision_of(each) == revision)
    switched = seen.first(
        began,
        "Service",
        lambda each: each["metadata"]["name"] == ROUTE and each["spec"]["selector"][LABEL] == revision,
    )
    told = seen.first(
        began,
        MOLTBOT_ROUTE.kind,
        lambda each: each["metadata"]["name"] == ROUTE and promoted(each) == revision,
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
    """Samples of all changes."""
    samples, seen = Samples(), Seen()
    connection = await Connection.open(str(cluster.kubeconfig))
    async with connection.session() as session:
        kube = KubeCluster(session, connection.server, timeout=timedelta(seconds=30), identity="bench")
        kinds = (POD, SERVICE, MOLTBOT_ROUTE)
        watches = [asyncio.create_task(follow(kube, each, namespace, seen)) for each in kinds]
        try:
            for repetition in range(arguments.repetitions):
                seen.came.clear()
                took = await change(repetition + 1, kube, seen, namespace, arguments.replicas)
                for metric, (value, unit) in took.items():
                    samples.add("moltbot", metric, value, unit)
                print(f"repetition {repetition + 1} of {arguments.repetitions} is done", flush=True)
        finally:
            for each in watches:
                each.cancel()
            for each in await asyncio.gather(*watches, return_exceptions=True):
                if not isinstance(each, asyncio.CancelledError):
                    print(f"a watch ended: {each}", file=sys.stderr)
    return samples


def prepare(cluster, replicas):
    """A namespace with a simulated model and a route that is Ready."""
    namespace = f"bench-rollout-{secrets.token_hex(2)}"
    cluster.apply([models.namespace(namespace)])
    cluster.apply([*models.provider(PRO, namespace), backend(PRO, namespace)])
    cluster.apply([bench_route(namespace, ROUTE, replicas)])
    access.wait_until(
        f"route {ROUTE} to be Ready",
        lambda: access.is_settled(cluster.get("moltbotroute", ROUTE, namespace)),
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
            samples = asyncio.run(measure(cluster, namespace, arguments))
        finally:
            cluster.kubectl("delete", "namespace", namespace, "--wait=false")
    finally:
        if ours and not was_up:
            subprocess.run([access.BED / "down"], check=True)
    notes = [verdict(samples)]
    publish("rollout", samples, notes)
    if arguments.write_docs:
        how = f"{arguments.repetitions} changes in turn, {arguments.replicas} pod(s) a revision"
        write_section("rollout", figures(samples), notes, {}, how)


if __name__ == "__main__":
    main()
