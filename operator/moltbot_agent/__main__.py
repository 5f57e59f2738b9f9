"""``python -m moltbot_agent``: the agent beside Envoy.

Files first, then servers: Envoy may start while the rest of the agent is still being imported.
"""

import resource
import signal
import sys

if __name__ == "__main__":
    # The first process of a container has no default action for SIGTERM: one that came before the event loop
    # takes it would be lost, and the pod would stay until its grace period is over.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    # The kernel writes no image of the memory of a process that crashed: credentials are in it.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))

import argparse
import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Final

from moltbot_agent import logs
from moltbot_agent.admin import Admin
from moltbot_agent.clock import boot
from moltbot_agent.config import AgentConfig
from moltbot_agent.deliveries import Deliveries
from moltbot_agent.draining import DrainPlan
from moltbot_agent.errors import ConfigUnreadable
from moltbot_agent.files import read_config

SHORTEST_PAUSE_S: Final = 0.05
"""Between looks at what is due, so that nothing that stays due takes the whole CPU."""

_log = logging.getLogger("moltbot_agent")


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Command line; the defaults are a gateway pod's."""
    parser = argparse.ArgumentParser(prog="moltbot_agent", description="The agent beside Envoy.")
    parser.add_argument("--config", type=Path, default=Path("/etc/moltbot/config"), help="folder of part-NNN")
    parser.add_argument("--evidence-token", type=Path, default=Path("/etc/moltbot/evidence/token"))
    parser.add_argument("--host", default="0.0.0.0", help="address of /metrics and /evidence")
    parser.add_argument("--metrics-port", type=int, default=9090)
    parser.add_argument("--evidence-port", type=int, default=9091)
    parser.add_argument("--drain-host", default="127.0.0.1")
    parser.add_argument("--drain-port", type=int, default=9092)
    parser.add_argument("--poll-s", type=float, default=0.5, help="seconds between looks at the Secrets")
    parser.add_argument("--drain-settle-s", type=float, default=DrainPlan.settle.total_seconds())
    parser.add_argument("--drain-grace-s", type=float, default=DrainPlan.grace.total_seconds())
    parser.add_argument("--log-level", default="INFO")
    return parser.parse_args(arguments)


async def run(
    options: argparse.Namespace, config: AgentConfig, deliveries: Deliveries, stop: asyncio.Event
) -> None:
    """Serve and watch until `stop`. Raises OSError where an address is taken."""
    from moltbot_agent.fetching import Fetcher  # noqa: PLC0415 -- see the module's docstring
    from moltbot_agent.metrics import Metrics  # noqa: PLC0415
    from moltbot_agent.server import (  # noqa: PLC0415
        Address,
        Drainer,
        drain_app,
        evidence_app,
        metrics_app,
        serving,
    )

    admin = Admin(config.admin_port)
    plan = DrainPlan(
        settle=timedelta(seconds=options.drain_settle_s), grace=timedelta(seconds=options.drain_grace_s)
    )
    drainer = Drainer(admin, config.stat_prefix, plan)
    apps = (  # with /healthz last: who gets an answer there knows that all listen
        (drain_app(drainer), options.drain_host, options.drain_port),
        (
            evidence_app(config, deliveries, admin, options.evidence_token),
            options.host,
            options.evidence_port,
        ),
        (metrics_app(deliveries, Metrics(config, deliveries, admin)), options.host, options.metrics_port),
    )
    wake = asyncio.Event()
    fetcher = Fetcher(deliveries.issuances, done=wake.set)
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(fetcher.stop)
        stopped = asyncio.create_task(_then(stop, wake.set))
        stack.callback(stopped.cancel)
        fetcher.start_due()
        ports = [
            await stack.enter_async_context(serving(app, Address(host, port))) for app, host, port in apps
        ]
        stack.callback(drainer.stop)
        _log.info("serving", extra={"drain": ports[0], "evidence": ports[1], "metrics": ports[2]})
        while not stop.is_set():
            deliveries.run_once()
            fetcher.start_due()
            wake.clear()
            pause = min(options.poll_s, max(deliveries.next_due - boot(), SHORTEST_PAUSE_S))
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(wake.wait(), pause)


async def _then(event: asyncio.Event, do: Callable[[], None]) -> None:
    await event.wait()
    do()


async def _until_signalled(options: argparse.Namespace, config: AgentConfig, deliveries: Deliveries) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await run(options, config, deliveries, stop)


def main(arguments: Sequence[str] | None = None) -> int:
    """0 after a signal; 1 where the configuration can't be read or an address is taken."""
    options = parse(arguments)
    logs.configure(options.log_level)
    try:
        config, envoy = read_config(options.config)
        deliveries = Deliveries(config, envoy)
        deliveries.run_once()
        asyncio.run(_until_signalled(options, config, deliveries))
    except ConfigUnreadable as error:
        _log.error("%s", error)
        return 1
    except OSError as error:
        _log.error("the agent can't listen: %s", error.strerror)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
