"""make bench-worker: what the worker's hop costs, and kept answers beside those of others.

ARGS: --quick (seconds for minutes), --only NAME…, --write-docs (docs/benchmarks.md from this run).

One worker process calls the mock upstream, where a pod's calls the gateway. Everything runs at once and takes
turns, as in bench_gateway.py: ratios to bare Envoy and differences are made within a repetition.
"""

import argparse
import asyncio
import contextlib
import json
import sys
import tempfile
from functools import partial
from importlib.metadata import version
from pathlib import Path

from bench_docs import write_docs
from bench_gateway import upstream
from measure import (
    MODEL,
    Failed,
    Load,
    Target,
    body_of,
    build,
    first_bytes,
    free_port,
    process,
    until_answers,
)
from others import PINS, LeftOut, litellm, portkey
from ours import bare_envoy
from report import Samples, publish

BARE, PLAIN = "bare-envoy", "worker-forward"
KEY = "sk-bench-listener"
BODY = body_of(temperature=0)
"""Deterministic, as what is kept must be."""

COLUMNS = {
    "rps": "max rps",
    "p50": "p50 ms",
    "p99": "p99 ms",
    "cpu_us_per_request": "CPU µs a request",
    "cpu_over_bare": "over bare Envoy",
    "first_token": "first token ms, one client",
    "added_first_token": "added by the guard ms",
    "memory": "memory MB",
}


@contextlib.asynccontextmanager
async def worker(features, ports, folder):
    """A worker as its pod runs it, with one rule of these features."""
    (folder / "key").write_text(KEY)
    port = free_port()
    rule = {
        "name": "chat",
        "choices": [{"route": "chat/0", "chain": ["pro"]}],
        "backends": {"pro": {"model": f"{MODEL}-v1"}},
        "consumers": ["web"],
        **features,
    }
    config = {
        "namespace": "team",
        "route": "bench",
        "revision": "r1",
        "gateway": {"url": f"http://127.0.0.1:{ports[0]}", "key": str(folder / "key")},
        "rules": [rule],
        "host": "127.0.0.1",
        "port": port,
        "metrics_port": 0,
        "evidence_port": 0,
        "evidence_token": str(folder / "token"),
    }
    file = folder / f"worker-{port}.json"
    file.write_text(json.dumps(config))
    command = [sys.executable, "-m", "moltbot_worker", "--config", str(file), "--settle-s", "0"]
    headers = (f"x-mb-worker-key: {KEY}", "x-mb-rule: chat", "x-mb-consumer: web")
    async with process("worker", [*command, "--log-level", "WARNING"]) as (pid, _):
        target = Target(
            "worker",
            f"127.0.0.1:{port}",
            (pid,),
            headers=headers,
            body=BODY,
            version=version("moltbot-operator"),
        )
        yield target, await until_answers(target)


CASES = {
    BARE: bare_envoy,
    PLAIN: partial(worker, {}),
    "worker-guard": partial(worker, {"stream": {"recover": "Continue"}}),
    "worker-hit": partial(worker, {"cache": {}, "coalesce": True}),
    "litellm-forward": litellm,
    "litellm-hit": partial(litellm, cached=True),
    "portkey-forward": portkey,
    "portkey-hit": partial(portkey, cached=True),
}
HITS = {
    "worker-hit": "x-moltbot-cache: hit",
    "litellm-hit": "x-litellm-cache-key:",
    "portkey-hit": "x-portkey-cache-status: hit",
}
"""What an answer must say (in lower case) to count as kept."""

STREAMED = (PLAIN, "worker-guard")
OTHERS = {name: name.partition("-")[0] for name in CASES if name.partition("-")[0] in PINS}


async def cells(load, name, target, seconds):
    """Figures of one turn."""
    full = await load.run(target, seconds=seconds)
    found = {
        "rps": (full["rps"], "1/s"),
        "p50": (full["p50_ms"], "ms"),
        "p99": (full["p99_ms"], "ms"),
        "cpu_us_per_request": (full["cpu_us"], "us"),
        "memory": (full["memory_mb"], "MB"),
    }
    if name in STREAMED:
        stream = await load.run(target, seconds=seconds, connections=1, stream=True)
        found["first_token"] = (stream["first_p50_ms"], "ms")
    return found


def compared(samples, found):
    """Adds ratios to bare Envoy, and what the guard adds to the first token."""
    for name, figures in found.items():
        if BARE in found and figures["cpu_us_per_request"][0]:
            ratio = figures["cpu_us_per_request"][0] / found[BARE]["cpu_us_per_request"][0]
            samples.add(name, "cpu_over_bare", ratio, "x")
    if set(STREAMED) <= set(found):
        plain, guarded = (found[name]["first_token"][0] for name in STREAMED)
        samples.add("worker-guard", "added_first_token", guarded - plain, "ms")


async def ready(load, name, target):
    """LeftOut where it does not do what its name says."""
    try:
        await load.run(target, seconds=1.0)
    except Failed as error:
        raise LeftOut(str(error)) from error
    if name in HITS:
        said = (await first_bytes(target)).lower()
        if HITS[name] not in said:
            told = next((line for line in said.splitlines() if "cache" in line), "nothing of a cache")
            raise LeftOut(f"its answer is not a kept one: it says {told}")


async def measured(arguments):
    samples, targets, left_out = Samples(), {}, {}
    with tempfile.TemporaryDirectory(prefix="bench-worker-") as name:
        folder = Path(name)
        program = await asyncio.to_thread(build, folder)
        load = Load(program)
        async with upstream(program) as ports, contextlib.AsyncExitStack() as stack:
            for case in arguments.only or CASES:
                print(f"starting {case}", flush=True)
                try:
                    target, _ = await stack.enter_async_context(CASES[case](ports, folder))
                    await ready(load, case, target)
                except LeftOut as error:
                    if case not in OTHERS:
                        raise
                    left_out[case] = str(error)
                    continue
                targets[case] = target
            names = list(targets)
            for repetition in range(arguments.repetitions):
                turn = repetition % len(names)
                found = {}
                for each in [*names[turn:], *names[:turn]]:
                    found[each] = await cells(load, each, targets[each], arguments.seconds)
                for each in names:
                    for metric, (value, unit) in found[each].items():
                        samples.add(each, metric, value, unit)
                compared(samples, found)
                print(f"repetition {repetition + 1} of {arguments.repetitions} is done", flush=True)
    return samples, left_out


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="2 repetitions of 1 second a cell")
    parser.add_argument("--only", nargs="+", choices=list(CASES), help="these alone")
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each cell")
    parser.add_argument("--write-docs", action="store_true", help="docs/benchmarks.md from this run")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.repetitions, arguments.seconds = 2, 1.0
    samples, left_out = asyncio.run(measured(arguments))
    notes = [f"left out: {name}: {reason}" for name, reason in left_out.items()]
    measured_names = {name for name, _ in samples.values}
    pinned = {pin: PINS[pin]["version"] for name, pin in OTHERS.items() if name in measured_names}
    publish("worker", samples, notes, **pinned)
    if arguments.write_docs:
        how = f"{arguments.repetitions} repetitions of {arguments.seconds:g} s a cell"
        write_docs("worker", samples, notes, pinned, how, columns=COLUMNS)


if __name__ == "__main__":
    main()
