"""make bench-serve: from `moltbot serve` to the first answer, and what a changed file costs under load.

Cold start: a fresh process with examples/models.config.json and three simulated models; until the first 200
of a chat completion through the gateway. "warm files" means that Python's compiled modules are there, as
after an installation; without them each module is compiled first. Reload: at 200 requests a second, half of
them on new connections, from the write of the file until the new backend answers; and requests that failed.
"""

import argparse
import asyncio
import collections
import contextlib
import http.client
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import aiohttp
from bench_docs import figures, write_section
from measure import free_port
from report import interleaved, publish

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "provider"))

from moltbot_provider import Provider  # noqa: E402

MODELS = ("dialog-pro", "dialog-max", "code-model-v2")
BODY = json.dumps({"model": "auto", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 2})
PATH = "/tech/v1/chat/completions"
RATE = 200
LIMIT_S = 60
AIM_MS = 900


@contextlib.contextmanager
def serving(file, ports, state, port, **variables):
    """A server in a process of its own."""
    endpoints = [
        part
        for name, at in zip(MODELS, ports, strict=True)
        for part in ("--endpoint", f"{name}=http://127.0.0.1:{at}")
    ]
    command = [sys.executable, "-m", "moltbot_operator.cli", "serve", str(file), "-p", str(port), "--no-view"]
    command += ["--metrics-port", "0", "--state", str(state), "--access-log", str(state / "log"), *endpoints]
    with Path(state, "errors").open("w+") as errors:
        process = subprocess.Popen(command, stderr=errors, env={**os.environ, **variables})
        try:
            yield process
        except SystemExit:
            errors.seek(0)
            sys.stderr.write(f"the server ended: {process.poll()}; it said:\n{errors.read()}")
            raise
        finally:
            process.terminate()
            process.wait()


def first_answer(process, port, began):
    while time.perf_counter() < began + LIMIT_S and process.poll() is None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            connection.request("POST", PATH, BODY, {"content-type": "application/json"})
            if connection.getresponse().status == http.client.OK:
                return time.perf_counter() - began
        except (OSError, http.client.HTTPException):
            time.sleep(0.002)
        finally:
            connection.close()
    sys.exit("no answer")


def cold(ports, folder, **variables):
    """Seconds to the first answer, and CPU seconds of the command and its children."""
    port = free_port()
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.perf_counter()
    with serving(ROOT / "examples" / "models.config.json", ports, folder, port, **variables) as process:
        seconds = first_answer(process, port, began)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"first answer": (seconds * 1000, "ms"), "CPU, start to end": (cpu * 1000, "ms")}


async def reload(folder, repetitions):
    """Figures of each change, and how many requests there were and failed."""
    seen = collections.Counter()
    figures = []
    async with contextlib.AsyncExitStack() as stack:
        providers = [await stack.enter_async_context(Provider(name=name)) for name in MODELS]
        ports = [provider.url.rpartition(":")[2] for provider in providers]
        file, port = folder / "models.config.json", free_port()
        write(file, "dialog_pro")
        process = stack.enter_context(serving(file, ports, folder, port))
        await asyncio.to_thread(first_answer, process, port, time.perf_counter())
        kept = await stack.enter_async_context(aiohttp.ClientSession())
        fresh = await stack.enter_async_context(
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True, limit=0))
        )
        load = asyncio.create_task(_load(f"http://127.0.0.1:{port}{PATH}", (kept, fresh), seen))
        for number in range(repetitions):
            model = ("dialog_max", "dialog_pro")[number % 2]
            await asyncio.sleep(2)
            before, began = seen[model], time.perf_counter()
            write(file, model)
            while seen[model] == before:  # noqa: ASYNC110 - counted by tasks
                await asyncio.sleep(0.005)
            figures.append((time.perf_counter() - began) * 1000)
        load.cancel()
        await asyncio.gather(load, return_exceptions=True)
    return figures, seen


async def _load(url, sessions, seen):
    tasks, loop = set(), asyncio.get_running_loop()
    began = loop.time()
    try:
        for number in range(10**9):
            task = asyncio.create_task(_ask(url, sessions[number % 2], seen))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
            await asyncio.sleep(max(0, began + number / RATE - loop.time()))
    finally:
        await asyncio.gather(*tasks, return_exceptions=True)


async def _ask(url, session, seen):
    try:
        async with session.post(url, data=BODY, headers={"content-type": "application/json"}) as answer:
            await answer.read()
            served = answer.headers.get("x-moltbot-backend", "").replace("-", "_")
            seen[served if answer.status == http.client.OK else f"failed: {answer.status}"] += 1
    except aiohttp.ClientError as error:
        seen[f"failed: {type(error).__name__}"] += 1


def write(file, model):
    config = {
        "routes": [{"pattern": "^/tech/", "candidates": [{"model": model}], "fallback": "code_model_v2"}]
    }
    config["models"] = {name.replace("-", "_"): {} for name in MODELS}
    temporary = file.with_suffix(".new")
    temporary.write_text(json.dumps(config))
    temporary.rename(file)


async def providers(stack):
    found = [await stack.enter_async_context(Provider(name=name)) for name in MODELS]
    return [provider.url.rpartition(":")[2] for provider in found]


async def measure(repetitions):
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        compiled, empty = folder / "pyc", folder / "none"
        async with contextlib.AsyncExitStack() as stack:
            ports = await providers(stack)
            warm = {"PYTHONPYCACHEPREFIX": str(compiled), "PYTHONDONTWRITEBYTECODE": ""}
            bare = {"PYTHONPYCACHEPREFIX": str(empty), "PYTHONDONTWRITEBYTECODE": "1"}
            await asyncio.to_thread(cold, ports, folder, **warm)
            cases = {
                "cold start, warm files": lambda: cold(ports, folder, **warm),
                "cold start, modules not compiled": lambda: cold(ports, folder, **bare),
            }
            samples = await asyncio.to_thread(interleaved, cases, repetitions)
        figures, seen = await reload(folder, repetitions)
    for figure in figures:
        samples.add("reload at 200 requests/s", "file to first answer", figure, "ms")
    failed = sum(count for what, count in seen.items() if what.startswith("failed"))
    samples.add("reload at 200 requests/s", "failed requests", failed, "requests")
    notes = [f"{sum(seen.values()):,} requests over {len(figures)} reloads, {failed} failed"]
    notes += [f"{what}: {count}" for what, count in seen.items() if what.startswith("failed")]
    return samples, notes


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=7)
    parser.add_argument("--write-docs", action="store_true", help="docs/benchmarks.md from this run")
    arguments = parser.parse_args()
    samples, notes = asyncio.run(measure(arguments.repetitions))
    first = statistics.median(samples.values["cold start, warm files", "first answer"])
    verdict = "met" if first < AIM_MS else "not met"
    notes.append(f"first answer after {first:,.0f} ms, aim {AIM_MS}: {verdict}")
    if (load := os.getloadavg()[0]) > 1:
        notes.append(f"the machine was busy with other work meanwhile (load {load:.0f})")
    publish("serve", samples, notes)
    if arguments.write_docs:
        write_section("serve", figures(samples), notes, {}, f"{arguments.repetitions} repetitions in turn")


if __name__ == "__main__":
    main()
