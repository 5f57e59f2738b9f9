"""make bench-gateway: the same load and the same mock upstream through bare Envoy, this gateway and others.

ARGS: --quick (seconds for minutes), --only NAME…, --soak MINUTES (memory of moltbot-full under load, into
build/bench/gateway-soak.json), --write-docs (docs/benchmarks.md from this run).

All gateways run at once and take turns: in each repetition every one gets the same cells, so that a
disturbance meets all alike. Ratios are made within a repetition, against bare Envoy's figure of the same one,
and then their median is taken. CPU time per request (user and system, of the gateway's whole process tree) is
the sturdy figure on a machine that does other things too.
"""

import argparse
import asyncio
import contextlib
import statistics
import subprocess
import tempfile
from dataclasses import replace
from pathlib import Path

from bench_docs import write_docs
from measure import Failed, Load, Target, build
from others import OTHERS, PINS, LeftOut
from ours import OURS
from report import Samples, publish

BARE = "bare-envoy"
AIMS = {"moltbot-plain": 1.15, "moltbot-consumer": 1.15, "moltbot-body": 1.8, "moltbot-full": 2.1}
"""CPU per request over bare Envoy's (design: data-plane.md)."""
HALF_LOAD_CONNECTIONS = 32
PORTS = 3


async def cells(load, target, direct, seconds):
    """Figures of one turn; what is added at half load is over the direct way at the same rate."""
    full = await load.run(target, seconds=seconds)
    at_half = {"seconds": seconds, "connections": HALF_LOAD_CONNECTIONS, "rate": max(5.0, full["rps"] / 2)}
    half = await load.run(target, **at_half)
    base = half if target is direct else await load.run(direct, **at_half)
    one = await load.run(target, seconds=seconds / 2, connections=1)
    streamed = {}
    if target.streams:
        stream = await load.run(target, seconds=seconds / 2, connections=1, stream=True)
        streamed = {"first_token": (stream["first_p50_ms"], "ms")}
    return {
        "rps": (full["rps"], "1/s"),
        "p50": (full["p50_ms"], "ms"),
        "p99": (full["p99_ms"], "ms"),
        "p50_half_load": (half["p50_ms"], "ms"),
        "p99_half_load": (half["p99_ms"], "ms"),
        "added_p50_half_load": (half["p50_ms"] - base["p50_ms"], "ms"),
        "added_p99_half_load": (half["p99_ms"] - base["p99_ms"], "ms"),
        "p50_one_client": (one["p50_ms"], "ms"),
        **streamed,
        "cpu_us_per_request": (full["cpu_us"], "us"),
        "memory": (full["memory_mb"], "MB"),
    }  # fmt: skip


UNKNOWN_OF_DIRECT = ("cpu_us_per_request", "memory", "added_p50_half_load", "added_p99_half_load")
RATIOS = {"rps": "rps_over_bare", "cpu_us_per_request": "cpu_over_bare"}
ADDED_TO_DIRECT = {
    "p50_one_client": "added_p50_one_client",
    "first_token": "added_first_token",
}
"""Over `direct`, in milliseconds."""


def compared(samples, found):
    """Adds ratios to bare Envoy and differences to the direct way, both within one repetition."""
    for name, figures in found.items():
        for metric, shown in RATIOS.items():
            base = found.get(BARE, {}).get(metric, (0, ""))[0]
            if base and name != "direct" and figures[metric][0]:
                samples.add(name, shown, figures[metric][0] / base, "x")
        for metric, shown in ADDED_TO_DIRECT.items():
            if name != "direct" and "direct" in found and metric in figures:
                samples.add(name, shown, figures[metric][0] - found["direct"][metric][0], "ms")


async def started(stack, wanted, ports, folder, samples):
    """Every wanted gateway, running; and the reasons of those that are left out."""
    targets, left_out = {}, {}
    for name, start in {**OURS, **OTHERS}.items():
        if name not in wanted:
            continue
        print(f"starting {name}", flush=True)
        loop = asyncio.get_running_loop()
        begin = loop.time()
        try:
            targets[name], _ = await stack.enter_async_context(start(ports, folder))
        except LeftOut as error:
            left_out[name] = str(error)
            print(f"left out: {name}: {error}", flush=True)
            continue
        samples.add(name, "start", loop.time() - begin, "s")
    return targets, left_out


async def warm(load, targets, left_out, seconds):
    """Each gateway's first requests; those of others that fail are left out, or their streams alone."""
    for name, target in list(targets.items()):
        try:
            await load.run(target, seconds=seconds)
        except Failed as error:
            if name not in OTHERS:
                raise
            del targets[name]
            left_out[name] = str(error)
            continue
        try:
            await load.run(target, seconds=seconds, connections=1, stream=True)
        except Failed as error:
            if name not in OTHERS:
                raise
            targets[name] = replace(target, streams=False)
            left_out[f"{name}'s streams"] = str(error)


@contextlib.asynccontextmanager
async def upstream(program):
    """The mock upstream; its ports."""
    running = await asyncio.create_subprocess_exec(
        str(program), "upstream", "-ports", str(PORTS), stdout=subprocess.PIPE
    )
    try:
        yield [int(port) for port in (await running.stdout.readline()).split()]
    finally:
        running.terminate()
        await running.wait()


async def measured(arguments):
    samples = Samples()
    with tempfile.TemporaryDirectory(prefix="bench-gateway-") as name:
        folder = Path(name)
        program = await asyncio.to_thread(build, folder)
        async with upstream(program) as ports, contextlib.AsyncExitStack() as stack:
            load = Load(program)
            direct = Target("direct", f"127.0.0.1:{ports[0]}", ())
            wanted = arguments.only or ["direct", *OURS, *OTHERS]
            targets, left_out = await started(stack, wanted, ports, folder, samples)
            if arguments.soak:
                return await soak(load, targets, arguments.soak, samples), left_out
            if "direct" in wanted:
                targets = {"direct": direct, **targets}
            await warm(load, targets, left_out, min(2.0, arguments.seconds))
            names = list(targets)
            for repetition in range(arguments.repetitions):
                turn = repetition % len(names)
                found = {}
                for each in [*names[turn:], *names[:turn]]:
                    found[each] = await cells(load, targets[each], direct, arguments.seconds)
                for each in names:
                    for metric, (value, unit) in found[each].items():
                        if each != "direct" or metric not in UNKNOWN_OF_DIRECT:
                            samples.add(each, metric, value, unit)
                compared(samples, found)
                print(f"repetition {repetition + 1} of {arguments.repetitions} is done", flush=True)
    return samples, left_out


async def soak(load, targets, minutes, samples):
    """Memory of moltbot-full over minutes of full load, once a half-minute."""
    target = targets["moltbot-full"]
    seen = []
    for _ in range(round(minutes * 2)):
        found = await load.run(target, seconds=30)
        seen.append(found["memory_mb"])
        print(f"{found['rps']:,.0f} rps, {seen[-1]:.1f} MB", flush=True)
        samples.add(target.name, "soak_memory", seen[-1], "MB")
    tail = seen[len(seen) // 2 :]
    print(f"second half: {min(tail):.1f} to {max(tail):.1f} MB")
    return samples


def verdicts(samples):
    """The aims, and whether this run meets them."""
    lines = []
    median = {key: statistics.median(values) for key, values in samples.values.items()}
    for name, aim in AIMS.items():
        ratio = median.get((name, "cpu_over_bare"))
        if ratio is not None:
            lines.append(f"{name}: CPU {ratio:.2f} x bare Envoy, aim {aim}: {_met(ratio <= aim)}")
        added = median.get((name, "added_p99_half_load"))
        if added is not None:
            lines.append(f"{name}: {added:.2f} ms added to p99 at half load, aim 2: {_met(added < 2)}")
    cpu = [median.get((name, "cpu_us_per_request")) for name in ("moltbot-full", "tensorzero")]
    if None not in cpu:
        lines.append(
            f"moltbot-full: {cpu[0]:.0f} us a request, TensorZero {cpu[1]:.0f}: {_met(cpu[0] < cpu[1])}"
        )
    return lines


def _met(holds):
    return "met" if holds else "NOT met"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="2 repetitions of 1 second a cell")
    parser.add_argument("--only", nargs="+", choices=["direct", *OURS, *OTHERS], help="these alone")
    parser.add_argument("--repetitions", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each cell")
    parser.add_argument("--soak", type=float, metavar="MINUTES", help="only moltbot-full's memory")
    parser.add_argument("--write-docs", action="store_true", help="docs/benchmarks.md from this run")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.repetitions, arguments.seconds = 2, 1.0
    if arguments.soak:
        arguments.only = ["moltbot-full"]
    samples, left_out = asyncio.run(measured(arguments))
    lines = verdicts(samples)
    notes = [*lines, *(f"left out: {name}: {reason}" for name, reason in left_out.items())]
    measured_names = {name for name, _ in samples.values}
    pinned = {name: pin["version"] for name, pin in PINS.items() if name in measured_names}
    publish("gateway-soak" if arguments.soak else "gateway", samples, notes, **pinned)
    if arguments.write_docs:
        how = f"{arguments.repetitions} repetitions of {arguments.seconds:g} s a cell"
        write_docs("gateway", samples, notes, pinned, how)


if __name__ == "__main__":
    main()
