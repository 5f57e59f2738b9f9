"""``python -m moltbot_agent.drain``: Envoy's preStop command.

Asks the agent to drain and waits for its answer; drains by itself when the agent is gone. Always exits 0: a
failing preStop hook would only make noise, the container ends either way.
"""

import argparse
import http.client
import threading
from collections.abc import Sequence
from datetime import timedelta

from moltbot_agent.admin import Admin
from moltbot_agent.draining import DrainPlan, drain

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> None:
    """Drain, and print how it ended."""
    parser = argparse.ArgumentParser(prog="moltbot_agent.drain", description="Drain Envoy before it ends.")
    parser.add_argument(
        "--port", type=int, default=9092, help="the agent's drain port (default: %(default)s)"
    )
    parser.add_argument("--admin-port", type=int, default=9901, help="Envoy's, for when the agent is gone")
    parser.add_argument("--stat-prefix", default="public", help="of Envoy's public listener")
    parser.add_argument("--settle-s", type=float, default=DrainPlan.settle.total_seconds(), help="seconds")
    parser.add_argument("--grace-s", type=float, default=DrainPlan.grace.total_seconds(), help="seconds")
    options = parser.parse_args(arguments)
    plan = DrainPlan(settle=timedelta(seconds=options.settle_s), grace=timedelta(seconds=options.grace_s))
    try:
        _say(_ask_agent(options.port, plan))
    except (OSError, http.client.HTTPException) as error:
        _say(
            f"the agent on port {options.port} does not answer ({type(error).__name__}); draining without it"
        )
        outcome = drain(Admin(options.admin_port), options.stat_prefix, plan, threading.Event())
        _say(f"drained={outcome.drained} in_flight={outcome.in_flight}: {outcome.message}")


def _say(text: str) -> None:
    """A hook's output is its only report."""
    print(text, flush=True)  # noqa: T201


def _ask_agent(port: int, plan: DrainPlan) -> str:
    """The agent's answer. Raises OSError or HTTPException where there is none."""
    wait = plan.grace.total_seconds() + plan.lost.total_seconds() + 5
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=wait)
    try:
        connection.request("POST", "/drain")
        response = connection.getresponse()
        text = response.read().decode(errors="replace")
    finally:
        connection.close()
    if response.status != http.client.OK:
        raise http.client.HTTPException(f"status {response.status}")
    return text


if __name__ == "__main__":
    main()
