"""make bench-operator: the operator as a process of its own against a real API server.

There are no nodes: a stand-in kubelet makes pods Ready at once, and stand-in evidence says that they run
their revision. So an event's way to Programmed has everything in it but the start of the gateway's pods; the
Deployment and ReplicaSet controllers are the real ones. Half of the resources are ModelBackends, half routes.
"""

import argparse
import asyncio
import os
import signal
import statistics
import subprocess
import sys
import time
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import httpx
from report import Samples, publish

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "api"), str(HERE.parent / "cluster"), str(HERE.parent / "provider")]

# ruff: noqa: E402 - these are folders of modules beside this one
import build
from api_bed import ApiBed
from free_ports import free_ports
from standins import OPERATOR_USER, StandInEvidence, StandInKubelet, anyone, backend, route, rule

from moltbot_operator import operator_process
from moltbot_operator.kube.client import KubeCluster
from moltbot_operator.kube.connection import Connection
from moltbot_operator.kube.kinds import MOLTBOT_ROUTE
from moltbot_operator.settings import Settings
from moltbot_operator.telemetry import logging

SIZES = (200, 1_000)
EDITS = 40
IDLE = timedelta(seconds=60)
SETTLE_SECONDS = 900
NAMESPACE = "bench"
CRDS = HERE.parents[1] / "crds"
READS = {"get", "list", "watch"}
TICKS = os.sysconf("SC_CLK_TCK")


def operator_main():
    """What the process under measurement runs: the operator itself, with stand-in evidence."""
    settings = Settings.from_env()
    logging.configure(settings.log_level)
    return asyncio.run(operator_process.run(settings, evidence=StandInEvidence()))


class OperatorProcess:
    """The operator in a process of its own."""

    def __init__(self, bed):
        self.kubeconfig = bed.user_kubeconfig(OPERATOR_USER, ["system:masters"])
        self.log = bed.folder / "operator.log"

    async def start(self):
        """Starts it and waits until it has reconciled all it knows; the seconds that took."""
        health, metrics, _ = free_ports(3)
        self.health, self.metrics = f"http://127.0.0.1:{health}/readyz", f"http://127.0.0.1:{metrics}/metrics"
        env = os.environ | {
            "MOLTBOT_KUBECONFIG": str(self.kubeconfig), "MOLTBOT_OWN_NAMESPACE": NAMESPACE,
            "MOLTBOT_BIND_ADDRESS": "127.0.0.1", "MOLTBOT_HEALTH_PORT": str(health),
            "MOLTBOT_METRICS_PORT": str(metrics), "MOLTBOT_LOG_LEVEL": "warning",
            "MOLTBOT_GATEWAY_IMAGE": "gateway:bench",
        }  # fmt: skip
        started = time.monotonic()
        with self.log.open("ab") as log:
            command = [sys.executable, __file__, "--operator"]
            self.process = subprocess.Popen(command, env=env, stdout=log, stderr=log)  # noqa: ASYNC220
        await self._until("ready and idle", self._idle)
        return time.monotonic() - started

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        if self.process.wait(30) != 0:
            raise SystemExit(f"the operator ended with an error: {self.log.read_text()[-2000:]}")

    async def _until(self, what, probe, seconds=120):
        deadline = time.monotonic() + seconds
        async with httpx.AsyncClient() as client:
            while not await probe(client):
                if self.process.poll() is not None or time.monotonic() > deadline:
                    raise SystemExit(f"the operator is not {what}: {self.log.read_text()[-2000:]}")
                await asyncio.sleep(0.05)

    async def _idle(self, client):
        try:
            if (await client.get(self.health)).status_code != 200:
                return False
            text = (await client.get(self.metrics)).text
        except httpx.HTTPError:
            return False
        values = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
        return float(values["moltbot_cache_synced"]) == 1 and float(values["moltbot_queue_depth"]) == 0

    def cpu_seconds(self):
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def memory_mib(self):
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS:"))


def writes(bed, since=0):
    """Writes of the operator but for its Lease, from the API server's audit log."""
    found = [
        event
        for event in bed.audit_events()
        if event["user"]["username"] == OPERATOR_USER
        and event["verb"] not in READS
        and event.get("objectRef", {}).get("resource") != "leases"
    ]
    return len(found) - since


def programmed(manifest):
    status = manifest.get("status") or {}
    conditions = {each["type"]: each for each in status.get("conditions", [])}
    fresh = status.get("observedGeneration") == manifest["metadata"]["generation"]
    done = fresh and "Reconciling" not in conditions
    return done and conditions.get("Programmed", {}).get("status") == "True"


async def all_programmed(kube, count):
    deadline = time.monotonic() + SETTLE_SECONDS
    while True:
        routes = await kube.list(MOLTBOT_ROUTE, NAMESPACE)
        done = sum(map(programmed, routes))
        if done == count:
            return
        if time.monotonic() > deadline:
            raise SystemExit(f"{done} of {count} routes are Programmed after {SETTLE_SECONDS} s")
        await asyncio.sleep(0.5)


def bench_route(number, rule_name="all"):
    name = f"b{number}"
    return route(NAMESPACE, f"r{number}", [rule(rule_name, name)], consumers=anyone(name))


async def edit(kube, number):
    """Renames a route's rule and waits until the new revision is Programmed; seconds."""
    before = (await kube.get(MOLTBOT_ROUTE, NAMESPACE, f"r{number}"))["status"]["revision"]["active"]
    manifest = bench_route(number, "renamed")
    started = time.monotonic()
    await kube.apply(manifest, manager="bench")
    deadline = started + 60
    while time.monotonic() < deadline:
        found = await kube.get(MOLTBOT_ROUTE, NAMESPACE, f"r{number}")
        if programmed(found) and found["status"]["revision"]["active"] != before:
            return time.monotonic() - started
        await asyncio.sleep(0.02)
    raise SystemExit(f"route r{number} did not become Programmed within 60 s: {found.get('status')}")


@asynccontextmanager
async def client(bed):
    connection = await Connection.open(str(bed.kubeconfig))
    async with connection.session() as session:
        yield KubeCluster(session, connection.server, timeout=timedelta(seconds=30), identity="bench")


async def measure(resources, idle):
    """All figures of one size, on a bed of its own."""
    figures = {}
    count = resources // 2
    with ApiBed() as bed:
        bed.kubectl("apply", "--server-side", "-f", str(CRDS))
        bed.kubectl("wait", "--for=condition=Established", "--timeout=60s", "-f", str(CRDS))
        bed.kubectl("create", "namespace", NAMESPACE)
        operator = OperatorProcess(bed)
        async with client(bed) as kube, StandInKubelet(kube, NAMESPACE):
            await operator.start()
            started = time.monotonic()
            for number in range(count):
                await kube.apply(backend(NAMESPACE, f"b{number}"), manager="bench")
                await kube.apply(bench_route(number), manager="bench")
            await all_programmed(kube, count)
            figures["all new, until Programmed"] = (time.monotonic() - started, "s")
            figures["writes for each new resource"] = (writes(bed) / resources, "writes")
            took = [await edit(kube, each * count // EDITS) for each in range(EDITS)]
            figures["edit to Programmed, p50"] = (statistics.median(took), "s")
            figures["edit to Programmed, p95"] = (statistics.quantiles(took, n=20)[-1], "s")
            figures["memory"] = (operator.memory_mib(), "MiB")
            before = writes(bed)
            operator.stop()
            figures["restart, until idle"] = (await operator.start(), "s")
            figures["CPU of a restart"] = (operator.cpu_seconds(), "s")
            cpu = operator.cpu_seconds()
            await asyncio.sleep(idle.total_seconds())  # what is measured is this time without an event
            figures["CPU at idle"] = (
                (operator.cpu_seconds() - cpu) / idle.total_seconds() * 1000,
                "millicores",
            )
            figures["memory after a restart"] = (operator.memory_mib(), "MiB")
            figures[f"writes, restart and {idle.total_seconds():.0f} s idle"] = (
                writes(bed, before),
                "writes",
            )
            operator.stop()
    return figures


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--operator", action="store_true", help="be the operator under measurement")
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--idle", type=float, default=IDLE.total_seconds(), help="seconds")
    arguments = parser.parse_args()
    if arguments.operator:
        sys.exit(operator_main())
    samples = Samples()
    for repetition in range(arguments.repetitions):
        for size in arguments.sizes:
            figures = asyncio.run(measure(size, timedelta(seconds=arguments.idle)))
            for metric, (value, unit) in figures.items():
                samples.add(f"{size:,} resources", metric, value, unit)
        print(f"repetition {repetition + 1} of {arguments.repetitions} is done", flush=True)
    note = """Pods do not run: a stand-in kubelet makes them Ready and stand-in evidence reports their
    revision, so the start of gateway pods is in no figure. The controller manager writes at most 20 times a
    second (its default), which is most of the time until many new resources are Programmed."""
    kubernetes = next(each.version for each in build.components() if each.name == "kubernetes")
    publish("operator", samples, [" ".join(note.split())], kubernetes=kubernetes)


if __name__ == "__main__":
    main()
