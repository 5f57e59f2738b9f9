"""make bench-autoscale: our scaler beside a real HorizontalPodAutoscaler, with the same loads.

Real are etcd, API server, controller manager and the HPA's object (what `mode: HPA` makes); pods only seem to
run. The bench serves the custom and external metrics APIs over recorded loads. Each scaler has workers of its
own that share the load. Whenever the HPA asks, our scaler looks too; compared is how many workers each has
afterwards. It fails where one is not within 1 of what the other had at the same sync, the one before it or
the one after it. ARGS: --only NAME…, --trace, --write-docs (docs/benchmarks.md from this run).
"""

import argparse
import asyncio
import base64
import json
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

from bench_docs import write_section
from report import FOLDER, ROOT, versions
from rich.console import Console
from rich.table import Table

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "cluster"), str(HERE.parent / "provider")]

# ruff: noqa: E402 - the bed is in a folder beside this one
import build
from api_bed import ApiBed
from free_ports import free_port
from hpa_fleets import Pods
from hpa_metrics import PERIOD, VERSIONS, MetricsApi
from hpa_objects import deployment, horizontal, metrics_apis
from hpa_shapes import SECONDS, SHAPES
from hpa_verdict import COLUMNS, judged, show, summed

from moltbot_operator.kube.client import KubeCluster
from moltbot_operator.kube.connection import Connection

FLAGS = {
    # A Service of type ExternalName leads to loopback, which no endpoint may be.
    "apiserver": ("--enable-aggregator-routing=false",),
    "controllers": (
        f"--horizontal-pod-autoscaler-sync-period={PERIOD}s",
        f"--concurrent-horizontal-pod-autoscaler-syncs={len(SHAPES)}",
        "--kube-api-qps=500",
        "--kube-api-burst=1000",
    ),
}


async def until(what, probe, seconds, *checks):
    deadline = time.monotonic() + seconds
    while not probe():
        for check in checks:
            check()
        if time.monotonic() > deadline:
            raise SystemExit(f"{what}: not within {seconds:.0f} s")
        await asyncio.sleep(0.2)


async def compared(bed, shapes):
    """The tracks of all loads, which run at the same time."""

    async def kubectl(*args, manifests=()):
        listed = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(manifests)})
        await asyncio.to_thread(bed.kubectl, *args, stdin=listed)

    connection = await Connection.open(str(bed.kubeconfig))
    port = free_port()
    authority = bed.plane.authority()
    starts = {name: shape.start for name, shape in shapes.items()}
    async with connection.session() as session:
        kube = KubeCluster(session, connection.server, timeout=timedelta(seconds=30), identity="bench")
        async with Pods(kube, starts) as pods:
            api = MetricsApi(kube, pods, shapes)
            runner = await api.serve(authority, port)
            try:
                ca = base64.b64encode(authority.ca.read_bytes()).decode()
                await kubectl("apply", "-f", "-", manifests=metrics_apis(port, ca))
                names = [f"apiservice/{version}.{group}" for group, (version, _, _) in VERSIONS.items()]
                await kubectl("wait", "--for=condition=Available", "--timeout=60s", *names)
                made = [each for name, shape in shapes.items() for each in deployment(name, shape)]
                await kubectl("apply", "-f", "-", manifests=made)
                for name, shape in shapes.items():
                    ready = lambda: len(pods.running(name)) == shape.workers  # noqa: B023, E731
                    await until(f"pods of {shape.name}", ready, 60, pods.check)
                made = [horizontal(name, shape) for name, shape in shapes.items()]
                await kubectl("apply", "-f", "-", manifests=made)
                over = lambda: all(track.seconds[-1:] > [SECONDS] for track in api.tracks.values())  # noqa: E731
                await until("all loads to be over", over, SECONDS + 45, pods.check)
            finally:
                await runner.cleanup()
    return api.tracks.values()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", default=[], help="loads by the beginning of their names")
    parser.add_argument("--trace", action="store_true", help="show every sync")
    parser.add_argument("--logs", type=Path, help="keep the daemons' logs in this folder")
    parser.add_argument("--write-docs", action="store_true", help="docs/benchmarks.md from this run")
    arguments = parser.parse_args()
    only = tuple(arguments.only) or ("",)
    shapes = {f"load-{at}": shape for at, shape in enumerate(SHAPES) if shape.name.startswith(only)}
    if not shapes:
        parser.error(f"no load begins with {' or '.join(only)}")
    with ApiBed(arguments.logs, **FLAGS) as bed:
        tracks = asyncio.run(compared(bed, shapes))
    rows, records, wrong = [], [], []
    for track in tracks:
        figures, faults = summed(track)
        rows.append([str(figures[column]) for column in COLUMNS])
        records.append({**figures, "looks": list(judged(track))})
        wrong += [f"{track.shape.name}: {fault}" for fault in faults]
        if arguments.trace or faults:
            print(track.shape.name)
            show(track)
    pinned = {"kubernetes": kubernetes_version()}
    publish(rows, records, versions(**pinned))
    for fault in wrong:
        print(f"FAILED: {fault}")
    if arguments.write_docs:
        lines = [COLUMNS.values(), ["---"] * len(COLUMNS), *rows]
        table = [f"| {' | '.join(cells)} |" for cells in lines]
        write_section("autoscale", table, wrong, pinned, f"a sync each {PERIOD} s, {SECONDS} s a load")
    return 1 if wrong else 0


def publish(rows, records, stated):
    """Prints the table and writes the file, which has every sync."""
    table = Table(
        title="bench-autoscale: workers after each sync, ours beside the HPA's", title_justify="left"
    )
    for column in COLUMNS.values():
        table.add_column(column, justify="left" if column == "load" else "right")
    for row in rows:
        table.add_row(*row)
    FOLDER.mkdir(parents=True, exist_ok=True)
    path = FOLDER / "autoscale.json"
    path.write_text(json.dumps({"versions": stated, "loads": records}, indent=1) + "\n")
    console = Console(highlight=False, width=140)
    console.print(table)
    console.print(", ".join(f"{key} {value}" for key, value in stated.items()), soft_wrap=True)
    console.print(f"written to {path.relative_to(ROOT)}")


def kubernetes_version():
    program = str(build.binaries()["kube-controller-manager"])
    return subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout.split()[
        -1
    ]


if __name__ == "__main__":
    sys.exit(main())
