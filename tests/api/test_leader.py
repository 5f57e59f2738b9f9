"""Operator processes and one Lease, on a real API server; in the audit log each has a user of its own."""

import asyncio
import os
import signal
import sys
import time
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from standins import eventually

from moltbot_operator.kube.client import KubeCluster
from moltbot_operator.kube.kinds import LEASE

pytestmark = pytest.mark.api

DURATION, DEADLINE, RETRY = 6.0, 4.0, 0.5
"""Of the Lease, seconds."""

START = 90.0
"""Longest start of a process on a busy machine, seconds."""

SLACK = 3.0
"""For a busy machine."""


@dataclass
class Replica:
    """One `moltbot operator` process."""

    user: str
    process: asyncio.subprocess.Process
    log: Path

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    async def ended(self, seconds: float) -> int:
        return await asyncio.wait_for(self.process.wait(), seconds)


@asynccontextmanager
async def replica(bed: Any, namespace: str, name: str, folder: Path):
    user = f"{namespace}-{name}"
    log = folder / f"{name}.log"
    given = {
        "KUBECONFIG": bed.user_kubeconfig(user, ["system:masters"]),
        "PYTHONPATH": os.pathsep.join(sys.path),
        "MOLTBOT_IDENTITY": name,
        "MOLTBOT_NAMESPACES": namespace,
        "MOLTBOT_OWN_NAMESPACE": namespace,
        "MOLTBOT_LEASE_DURATION": DURATION,
        "MOLTBOT_RENEW_DEADLINE": DEADLINE,
        "MOLTBOT_RETRY_PERIOD": RETRY,
        "MOLTBOT_BIND_ADDRESS": "127.0.0.1",
        "MOLTBOT_HEALTH_PORT": 0,
        "MOLTBOT_METRICS_PORT": 0,
    }
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "moltbot_operator.cli", "operator",
            env={**os.environ, **{key: str(value) for key, value in given.items()}},
            stdout=output, stderr=output,
        )  # fmt: skip
    try:
        yield Replica(user, process, log)
    except AssertionError as error:
        error.add_note(f"{name} said:\n{log.read_text()[-3000:]}")
        raise
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def holder(kube: KubeCluster, namespace: str) -> str | None:
    found = [
        each for each in await kube.list(LEASE, namespace) if each["metadata"]["name"] == "moltbot-operator"
    ]
    return found[0]["spec"].get("holderIdentity") if found else None


async def until_held_by(kube: KubeCluster, namespace: str, name: str, seconds: float) -> float:
    """How long it took, seconds."""
    began = time.monotonic()

    async def held() -> bool:
        return await holder(kube, namespace) == name

    await eventually(f"{name} holds the lease", held, seconds, every=0.05)
    return time.monotonic() - began


def writes(bed: Any, replica: Replica) -> list[tuple[float, str, str]]:
    """When (seconds), verb and resource of each write that the server accepted from this replica."""
    return [
        (
            datetime.fromisoformat(event["stageTimestamp"]).timestamp(),
            event["verb"],
            event["objectRef"]["resource"],
        )
        for event in bed.audit_events()
        if event["user"]["username"] == replica.user
        and event["verb"] not in {"get", "list", "watch"}
        and event["responseStatus"]["code"] < 300
    ]


async def test_a_killed_leader_is_followed_within_the_lease_time(api_bed, kube, namespace, tmp_path):
    async with replica(api_bed, namespace, "a", tmp_path) as a:
        await until_held_by(kube, namespace, "a", START)
        async with replica(api_bed, namespace, "b", tmp_path) as b:
            await eventually("b stands by", lambda: said(b, "standing by"), START)
            a.signal(signal.SIGKILL)
            taken = await until_held_by(kube, namespace, "b", START)
            assert taken <= DURATION + 2 * RETRY + SLACK
            await asyncio.sleep(1)
            last_of_a = max(when for when, *_ in writes(api_bed, a))
            first_of_b = min(when for when, *_ in writes(api_bed, b))
            assert first_of_b - last_of_a >= DURATION, "nobody leads before the other's lease is over"
            print(f"took over {first_of_b - last_of_a:.1f} s after the last renewal, lease {DURATION} s")


@contextmanager
def outage(bed: Any):
    """The API server is down. This thread starts it again: it ends with the thread that started it."""
    bed.stop_apiserver()
    try:
        yield
    finally:
        bed.start_apiserver()


async def said(which: Replica, words: str) -> bool:
    return words in which.log.read_text()


async def test_a_stopped_leader_hands_over_at_once(api_bed, kube, namespace, tmp_path):
    async with replica(api_bed, namespace, "a", tmp_path) as a:
        await eventually("a works", lambda: said(a, "cache full"), START)
        async with replica(api_bed, namespace, "b", tmp_path) as b:
            await eventually("b stands by", lambda: said(b, "standing by"), START)
            a.signal(signal.SIGTERM)
            assert await a.ended(15) == 0, a.log.read_text()
            assert await until_held_by(kube, namespace, "b", 10) <= RETRY + SLACK
            b.signal(signal.SIGTERM)
            assert await b.ended(15) == 0, b.log.read_text()
        assert await holder(kube, namespace) is None, "released"


async def test_a_standby_stops_at_once_and_writes_nothing(api_bed, kube, namespace, tmp_path):
    async with replica(api_bed, namespace, "a", tmp_path):
        await until_held_by(kube, namespace, "a", START)
        async with replica(api_bed, namespace, "b", tmp_path) as b:
            await eventually("b stands by", lambda: said(b, "standing by"), START)
            b.signal(signal.SIGTERM)
            assert await b.ended(10) == 0, b.log.read_text()
            assert writes(api_bed, b) == []
            assert await holder(kube, namespace) == "a"


async def test_a_suspended_leader_that_wakes_writes_nothing_and_ends(api_bed, kube, namespace, tmp_path):
    async with replica(api_bed, namespace, "a", tmp_path) as a:
        await eventually("a works", lambda: said(a, "cache full"), START)
        async with replica(api_bed, namespace, "b", tmp_path) as b:
            a.signal(signal.SIGSTOP)
            await until_held_by(kube, namespace, "b", START)
            woken = time.time()
            a.signal(signal.SIGCONT)
            assert await a.ended(15) == 1, a.log.read_text()
            assert "lease" in a.log.read_text()
            assert [write for write in writes(api_bed, a) if write[0] > woken] == []
            assert await holder(kube, namespace) == "b"
            assert b.process.returncode is None


async def test_an_outage_longer_than_the_deadline_ends_the_leader(api_bed, namespace, tmp_path):
    async with replica(api_bed, namespace, "a", tmp_path) as a:
        await eventually("a works", lambda: said(a, "cache full"), START)
        with outage(api_bed):
            assert await a.ended(DEADLINE + 15) == 1, a.log.read_text()
            assert "not renewed" in a.log.read_text()


async def test_without_an_api_server_a_standby_waits(api_bed, kube, namespace, tmp_path):
    with outage(api_bed):
        waiting = replica(api_bed, namespace, "a", tmp_path)
        a = await waiting.__aenter__()
        await eventually("a notices", lambda: said(a, "lease not reachable"), START)
    try:
        await until_held_by(kube, namespace, "a", START)
        assert a.process.returncode is None
    finally:
        await waiting.__aexit__(None, None, None)
