"""A worker as a process of its own, whose webhooks may go to this host: those of tests are here."""

import asyncio
import signal
import sys
from pathlib import Path

from moltbot_worker.config import read_config
from moltbot_worker.process import running


async def main(path):
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with running(read_config(path), allow_local_webhooks=True) as worker:
        print(worker.port, flush=True)
        await stop.wait()


asyncio.run(main(Path(sys.argv[1])))
