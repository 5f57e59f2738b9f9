"""`moltbot serve` in a process of its own, which can be killed, its rotations, and a client of it."""

import asyncio
import contextlib
import json
import os
import sys
from datetime import UTC, datetime, timedelta

from gateway_bed import until

SERVE = """
import json
import sys
from pathlib import Path
from moltbot_operator.errors import MoltBotError
from moltbot_operator.serve import run

folder = Path(sys.argv[1])
options = {"state": folder / "state", "keys": folder / "keys", "access_log": folder / "log"}
try:
    sys.exit(run([folder / "in.yaml"], port=0, metrics_port=0, concurrency=1, **options))
except MoltBotError as error:
    sys.exit(json.dumps({"message": str(error)}))
"""


class Server:
    """The process, and what it said."""

    def __init__(self, process):
        self.process = process
        self.said = []
        self.url = self.front = ""

    async def listen(self):
        async for line in self.process.stderr:
            try:
                self.said.append(json.loads(line))
            except ValueError:
                self.said.append({"message": line.decode()})
            self.url = self.said[-1].get("base_url", self.url)
            self.front = self.said[-1].get("metrics", self.front)

    async def status(self, client):
        return (await client.get(self.front.removesuffix("/metrics") + "/status")).json()


@contextlib.asynccontextmanager
async def started(folder):
    variables = {name: value for name, value in os.environ.items() if not name.endswith("RUNTIME_DIR")}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", SERVE, str(folder)),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        env={**variables, "TMPDIR": str(folder)},
    )
    server = Server(process)
    listening = asyncio.create_task(server.listen())
    try:
        await until(true(lambda: server.front or process.returncode is not None), 60)
        assert process.returncode is None, server.said
        yield server
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()
        await listening


def true(holds):
    """What `until` waits for."""

    async def held():
        return holds()

    return held


def past():
    return (datetime.now(UTC) - timedelta(seconds=1)).isoformat().replace("+00:00", "Z")


async def settled(server, client, version=None, of=("credentials", "default/a")):
    """Wait until a version is in use, another than `version`, and nothing is left to do."""
    section, name = of

    async def holds():
        found = (await server.status(client))[section].get(name, {})
        return found.get("version") not in {None, version} and found["phase"] == "Idle" and found

    await until(holds, 120)
    return await holds()
