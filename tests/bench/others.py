"""The gateways of others: installed at pinned versions, started, and asked in their own way."""

import asyncio
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import yaml
from measure import BODY, MODEL, Target, free_port, process, until_answers

PINS = tomllib.loads(Path(__file__).with_name("gateways.toml").read_text())
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "moltbot-bench"
INSTALL_SECONDS = 900
START_SECONDS = 180


class LeftOut(Exception):  # noqa: N818
    """Why a gateway can't be measured here."""


def install(name):
    """The folder of a gateway's environment, made where it is missing; LeftOut where that fails."""
    pin = PINS[name]
    folder = CACHE / f"{name}-{pin['version']}"
    done = folder / ".installed"
    if done.exists():
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    print(f"installing {pin['package']} {pin['version']} from {pin['registry']}", flush=True)
    if pin["registry"] == "npm":
        commands = [["npm", "install", "--no-fund", "--no-audit", "--ignore-scripts"]]
        commands[0].append(f"{pin['package']}@{pin['version']}")
    else:
        uv = [sys.executable, "-m", "uv"]
        commands = [
            [*uv, "venv", "--quiet", "--allow-existing", "--python", sys.executable, str(folder)],
            [*uv, "pip", "install", "--quiet", "--python", str(folder / "bin" / "python")],
        ]
        commands[1].append(f"{pin['package']}=={pin['version']}")
    for command in commands:
        try:
            subprocess.run(
                command, cwd=folder, check=True, capture_output=True, text=True, timeout=INSTALL_SECONDS
            )
        except (OSError, subprocess.SubprocessError) as error:
            said = (getattr(error, "stderr", None) or str(error)).strip()[-300:]
            raise LeftOut(f"{pin['package']} {pin['version']} can't be installed: {said}") from error
    done.touch()
    return folder


@contextlib.asynccontextmanager
async def _started(name, port, command, *, path="/v1/chat/completions", headers=(), body=BODY, env=None):
    """A gateway as a process, from its first 200 on."""
    version = PINS[name]["version"]
    async with process(name, command, env) as (pid, log):
        target = Target(
            name, f"127.0.0.1:{port}", (pid,), path=path, headers=headers, body=body, version=version
        )
        try:
            seconds = await until_answers(target, START_SECONDS)
        except TimeoutError as error:
            said = log.read_text(errors="replace")[-500:]
            raise LeftOut(f"{name} {version} did not answer: {error}; it said: {said}") from error
        yield target, seconds


@contextlib.asynccontextmanager
async def tensorzero(ports, folder):
    home = await asyncio.to_thread(install, "tensorzero")
    config = folder / "tensorzero.toml"
    config.write_text(
        f"""[gateway]
observability.enabled = false
[models.{MODEL}]
routing = ["mock"]
[models.{MODEL}.providers.mock]
type = "openai"
model_name = "{MODEL}-v1"
api_base = "http://127.0.0.1:{ports[0]}/v1/"
api_key_location = "none"
"""
    )
    # The wheel has the gateway as a library, which listens on a port of its own choice.
    script = (
        "import os, sys, tensorzero, time; config, where = sys.argv[1:]; "
        "gateway = tensorzero._start_http_gateway(config_file=config, clickhouse_url=None, "
        "postgres_url=None, valkey_url=None, async_setup=False); "
        "open(where + '.new', 'w').write(gateway.base_url); os.rename(where + '.new', where); time.sleep(1e9)"
    )
    where = folder / "tensorzero.url"
    command = [str(home / "bin" / "python"), "-c", script, str(config), str(where)]
    async with process("tensorzero", command) as (pid, log):
        loop = asyncio.get_running_loop()
        begin = loop.time()
        while not where.exists():
            if loop.time() - begin > 60:
                raise LeftOut(f"tensorzero did not start: {log.read_text(errors='replace')[-500:]}")
            await asyncio.sleep(0.005)
        url = where.read_text().removeprefix("http://")
        address, _, base = url.partition("/")
        body = BODY.replace(f'"{MODEL}"', f'"tensorzero::model_name::{MODEL}"')
        path = "/" + "/".join(filter(None, [*base.split("/"), "chat/completions"]))
        address = address.replace("0.0.0.0", "127.0.0.1").replace("localhost", "127.0.0.1")
        version = PINS["tensorzero"]["version"]
        target = Target("tensorzero", address, (pid,), path=path, body=body, version=version)
        waited = loop.time() - begin
        try:
            yield target, waited + await until_answers(target)
        except TimeoutError as error:
            said = log.read_text(errors="replace")[-500:]
            raise LeftOut(f"tensorzero did not answer: {error}; it said: {said}") from error


@contextlib.asynccontextmanager
async def vllm_router(ports, folder):  # noqa: ARG001 - all are called alike
    home = await asyncio.to_thread(install, "vllm-router")
    port, metrics = free_port(), free_port()
    command = [str(home / "bin" / "vllm-router"), "--host", "127.0.0.1", "--port", str(port)]
    command += ["--worker-urls", f"http://127.0.0.1:{ports[0]}", "--policy", "round_robin"]
    command += ["--prometheus-port", str(metrics), "--log-level", "error"]
    async with _started("vllm-router", port, command) as made:
        yield made


@contextlib.asynccontextmanager
async def litellm(ports, folder, *, cached=False):
    """`cached`: keeps answers in its memory."""
    home = await asyncio.to_thread(install, "litellm")
    config = folder / f"litellm-{cached}.yaml"
    upstream = {"model": f"openai/{MODEL}-v1", "api_base": f"http://127.0.0.1:{ports[0]}/v1", "api_key": "x"}
    document = {"model_list": [{"model_name": MODEL, "litellm_params": upstream}]}
    if cached:
        document["litellm_settings"] = {"cache": True, "cache_params": {"type": "local"}}
    config.write_text(yaml.safe_dump(document))
    port = free_port()
    command = [str(home / "bin" / "litellm"), "--config", str(config), "--host", "127.0.0.1"]
    command += ["--port", str(port), "--num_workers", "1", "--telemetry", "False"]
    # Without a key of its own, as most others here: it would only cost it time.
    env = {
        "LITELLM_LOG": "ERROR",
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "true",
    }
    async with _started("litellm", port, command, env=env) as made:
        yield made


@contextlib.asynccontextmanager
async def portkey(ports, folder, *, cached=False):  # noqa: ARG001 - all are called alike
    """`cached`: keeps answers in its memory."""
    home = await asyncio.to_thread(install, "portkey")
    port = free_port()
    server = home / "node_modules" / "@portkey-ai" / "gateway" / "build" / "start-server.js"
    command = ["node", str(server), f"--port={port}", "--headless"]
    config = {
        "provider": "openai",
        "api_key": "x",
        "custom_host": f"http://127.0.0.1:{ports[0]}/v1",
        "override_params": {"model": f"{MODEL}-v1"},
        **({"cache": {"mode": "simple"}} if cached else {}),
    }
    headers = (f"x-portkey-config: {json.dumps(config)}",)
    async with _started("portkey", port, command, headers=headers) as made:
        yield made


OTHERS = {"tensorzero": tensorzero, "vllm-router": vllm_router, "litellm": litellm, "portkey": portkey}
