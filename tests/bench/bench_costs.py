"""make bench-costs: instructions that Envoy runs for a request, and which part of it asks for them.

ARGS: --write-docs (docs/benchmarks.md from this run), --requests N.

Time on a shared machine tells parts of a few microseconds apart only after hours. Valgrind's callgrind counts
instructions instead: two counts of one configuration differ by 1 % on an idle machine, and by up to 5 % on a
busy one, where Envoy's timers run more often within a request. They are those of user space; what the kernel
does for a request is much the same in all cases. A part's cost is what is saved without it, so that costs
which two parts share are in neither.
"""

import argparse
import asyncio
import contextlib
import http.client
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import orjson
from bench_docs import write_section
from bench_gateway import upstream
from measure import BODY, Target, build, free_port, process, until_answers
from ours import BY_KEY, OURS, bare_config
from report import Samples, publish, shown

from moltbot_agent.envoy import arguments_for, binary

HEADERS = {"content-type": "application/json", **dict(line.split(": ", 1) for line in BY_KEY)}
LEVELS = [name for name in OURS if name != "bare-envoy"]
REQUESTS = 2000
"""Enough for the scripts to collect garbage some times, which is in the count (compile/lua/garbage.lua)."""

WARM, COUNTED = 100, 20
"""Requests before counting begins, and after that until the count is set to zero."""


def manager(config):
    """The connection manager of the public listener."""
    listeners = config["static_resources"]["listeners"]
    [public] = [each for each in listeners if each["name"] == "public"]
    return public["filter_chains"][0]["filters"][0]["typed_config"]


def dicts(value):
    """Every JSON object within a value, the outer before the inner."""
    if isinstance(value, dict):
        yield value
        value = list(value.values())
    if isinstance(value, list):
        for each in value:
            yield from dicts(each)


def without_record(config):
    for found in dicts(config):
        for key in ("access_log", "upstream_log"):
            if key in found:
                found[key] = [each for each in found[key] if each["name"].endswith(".stats")]


def without_figures(config):
    for found in dicts(config):
        for key in ("access_log", "upstream_log"):
            if key in found:
                found[key] = [each for each in found[key] if not each["name"].endswith(".stats")]


def without_retries(config):
    for found in dicts(config):
        found.pop("retry_policy", None)
        filters = found.get("http_filters", ())
        if any(each["name"].endswith("upstream_codec") for each in filters):
            found["http_filters"] = [each for each in filters if not each["name"].endswith("header_mutation")]


def without_headers(config):
    [host] = manager(config)["route_config"]["virtual_hosts"]
    for key in ("request_headers_to_remove", "response_headers_to_add", "response_headers_to_remove"):
        host.pop(key, None)


def without_credential(config):
    for found in dicts(config):
        if "http_filters" in found:
            filters = found["http_filters"]
            found["http_filters"] = [
                each for each in filters if not each["name"].endswith("credential_injector")
            ]


def without_usage(config):
    for found in dicts(config):
        found.get("filter_context", {}).pop("usage", None)


def without_events(config):
    """Without the reading of streams, which these plain answers pass."""
    chain = manager(config)
    chain["http_filters"] = [
        each for each in chain["http_filters"] if not each["name"].endswith("sse_to_metadata")
    ]
    for found in dicts(chain):
        found.get("typed_per_filter_config", {}).pop("envoy.filters.http.sse_to_metadata", None)


PARTS = {
    "the audit record": without_record,
    "the figures of /metrics": without_figures,
    "retries and their timeouts": without_retries,
    "headers removed and added": without_headers,
    "the backend's credential": without_credential,
    "tokens of plain answers": without_usage,
    "tokens of streams": without_events,
}


def moved(config, folder):
    """The configuration with ports and a log of its own."""
    config = orjson.loads(orjson.dumps(config))
    for found in dicts(config):
        if found.get("name") == "envoy.access_loggers.file":
            found["typed_config"]["path"] = str(folder / "audit.log")
    config["admin"]["address"]["socket_address"]["port_value"] = free_port()
    for listener in config["static_resources"]["listeners"]:
        if "socket_address" in listener.get("address", {}):
            listener["address"]["socket_address"]["port_value"] = free_port()
    return config


def send(address, number):
    host, port = address.split(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=60)
    for _ in range(number):
        connection.request("POST", "/v1/chat/completions", BODY, HEADERS)
        answer = connection.getresponse()
        said = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"{answer.status}: {said[:300]!r}")
    connection.close()


def control(pid, *arguments):
    subprocess.run(["callgrind_control", *arguments, str(pid)], check=True, capture_output=True)


async def dumped(folder, within=30):
    """The instructions of the first dump."""
    for _ in range(within * 10):
        for file in folder.glob("out.*"):
            found = re.search(r"^(?:totals|summary): (\d+)", file.read_text(errors="replace"), re.MULTILINE)
            if found:
                return int(found[1])
        await asyncio.sleep(0.1)
    raise TimeoutError(f"callgrind has written no count after {within} s")


async def counted(config, requests):
    """Instructions a request of Envoy with this configuration."""
    with tempfile.TemporaryDirectory(prefix="bench-costs-") as name:
        folder = Path(name)
        config = moved(config, folder)
        config["stats_flush_interval"] = "250s"
        file = folder / "envoy.json"
        file.write_bytes(orjson.dumps(config))
        valgrind = ["valgrind", "--tool=callgrind", "--instr-atstart=no"]
        valgrind.append(f"--callgrind-out-file={folder}/out.%p")
        command = [*valgrind, str(binary()), *arguments_for(file, 1, "error")]
        listeners = config["static_resources"]["listeners"]
        port = listeners[0]["address"]["socket_address"]["port_value"]
        async with process("costs", command) as (pid, log):
            target = Target("costs", f"127.0.0.1:{port}", (pid,), headers=BY_KEY)
            try:
                await until_answers(target, 120)
            except TimeoutError as error:
                raise RuntimeError(f"{error}; Envoy said: {log.read_text()[-2000:]}") from error
            await asyncio.to_thread(send, target.address, WARM)
            control(pid, "-i", "on")
            await asyncio.to_thread(send, target.address, COUNTED)
            control(pid, "-z")
            await asyncio.to_thread(send, target.address, requests)
            control(pid, "-d")
            return await dumped(folder) / requests


def config_of(target):
    """The configuration that a running gateway's Envoy was started with."""
    for pid in target.roots:
        with contextlib.suppress(OSError):
            command = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
            if command[0] == str(binary()):
                return orjson.loads(Path(command[command.index("-c") + 1]).read_bytes())
    raise LookupError(f"no Envoy among the processes of {target.name}")


async def measured(requests):
    samples = Samples()
    with tempfile.TemporaryDirectory(prefix="bench-costs-") as name:
        folder = Path(name)
        program = await asyncio.to_thread(build, folder)
        async with upstream(program) as ports:
            bare = await counted(bare_config(free_port(), ports[0], free_port()), requests)
            samples.add("bare-envoy", "whole", bare, "instructions")
            print(f"bare-envoy: {bare:,.0f}", flush=True)
            for level in LEVELS:
                async with OURS[level](ports, folder) as (target, _):
                    await every_part(samples, level, config_of(target), requests)
    return samples


async def every_part(samples, level, config, requests):
    """The level as it is, and without each part that it has."""
    whole = await counted(config, requests)
    samples.add(level, "whole", whole, "instructions")
    print(f"{level}: {whole:,.0f}", flush=True)
    for part, leave_out in PARTS.items():
        left = orjson.loads(orjson.dumps(config))
        leave_out(left)
        if left != config:
            cost = whole - await counted(left, requests)
            samples.add(level, part, cost, "instructions")
            print(f"  {part}: {cost:,.0f}", flush=True)


def rows(samples):
    """Markdown: a row for each part, a column for each level, in thousands of instructions."""
    levels = ["bare-envoy", *LEVELS]

    def cell(level, metric):
        values = samples.values.get((level, metric))
        return shown(statistics.median(values) / 1000) if values else ""

    lines = ["| thousand instructions | " + " | ".join(levels) + " |", "| --- |" + " --- |" * len(levels)]
    for metric in ("whole", *PARTS):
        lines += [f"| {metric} | " + " | ".join(cell(level, metric) for level in levels) + " |"]
    bare = samples.values["bare-envoy", "whole"][0]
    ratios = (f"{samples.values[level, 'whole'][0] / bare:.2f}" for level in levels)
    return [*lines, "| whole, over bare Envoy | " + " | ".join(ratios) + " |"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--requests", type=int, default=REQUESTS, help="counted for each configuration")
    parser.add_argument("--write-docs", action="store_true", help="docs/benchmarks.md from this run")
    arguments = parser.parse_args()
    if shutil.which("valgrind") is None:
        sys.exit("valgrind is missing: install your system's package of that name")
    samples = asyncio.run(measured(arguments.requests))
    shown_version = subprocess.run(["valgrind", "--version"], capture_output=True, text=True, check=True)
    pinned = {"valgrind": shown_version.stdout.strip().removeprefix("valgrind-")}
    publish("costs", samples, (), **pinned)
    if arguments.write_docs:
        how = f"callgrind over {arguments.requests} requests a cell"
        write_section("costs", rows(samples), (), pinned, how)


if __name__ == "__main__":
    main()
