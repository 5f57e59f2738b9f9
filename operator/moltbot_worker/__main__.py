"""``python -m moltbot_worker``: one worker, until SIGTERM or SIGINT."""

import argparse
import asyncio
import logging
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import uvloop

from moltbot_agent import logs
from moltbot_worker.config import WorkerConfig, read_config
from moltbot_worker.errors import ConfigUnreadable
from moltbot_worker.process import SETTLE_S, running

_log = logging.getLogger("moltbot_worker")


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Command line; the defaults are a worker pod's."""
    parser = argparse.ArgumentParser(prog="moltbot_worker", description="A worker of a route.")
    parser.add_argument("--config", type=Path, default=Path("/etc/moltbot/worker/worker.json"))
    parser.add_argument("--settle-s", type=float, default=SETTLE_S, help="serve on so long after SIGTERM")
    parser.add_argument("--log-level", default="INFO")
    return parser.parse_args(arguments)


async def _until_signalled(config: WorkerConfig, settle: float) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with running(config) as worker:
        await stop.wait()
        worker.app.draining = True
        await asyncio.sleep(settle)


def main(arguments: Sequence[str] | None = None) -> int:
    """0 after a signal; 1 where the configuration can't be read or an address is taken."""
    options = parse(arguments)
    logs.configure(options.log_level)
    try:
        config = read_config(options.config)
        uvloop.run(_until_signalled(config, options.settle_s))
    except ConfigUnreadable as error:
        _log.error("%s", error)
        return 1
    except OSError as error:
        _log.error("the worker can't listen: %s", error.strerror)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
