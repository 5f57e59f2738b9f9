"""The operator dies or loses answers at each write of a rollout with questions, forward and back."""

import asyncio
import os
from types import SimpleNamespace
from typing import Any

import pytest
from test_reconcile_faults import NS, Killed, Operator, Server, backend, route, served

from moltbot_operator.errors import ClusterError
from moltbot_operator.kube.kinds import MOLTBOT_ROUTE, SERVICE
from moltbot_operator.rollout.ports import GateAnswer, GateVerdict, TestOutcome

EVERY = int(os.environ.get("MOLTBOT_FAULTS_EVERY", "6"))
"""Each so many writes a fault comes, and kills three times as often; `make test-unit` takes every write."""

QUESTIONS = {
    "testing": {"requests": [{"path": "/v1/models"}]},
    "gates": [{"url": "http://gate.test"}],
    "analysis": {
        "interval": "1s",
        "count": 2,
        "metrics": [
            {
                "name": "slo",
                "source": "Prometheus",
                "url": "http://p",
                "query": "q",
                "successCondition": ">= 1",
            }
        ],
    },
    "notifications": [{"url": "http://hook.test"}],
}


class World:
    """The world outside, which outlives the operator; `bad`: Prometheus turns bad once a revision serves."""

    def __init__(self, server: Server, *, bad: bool) -> None:
        self.server = server
        self.bad = bad
        self.told: dict[str, str] = {}
        self.ports: Any = SimpleNamespace(tester=self, gatekeeper=self, prometheus=self, notifier=self)

    async def test(self, *_: Any) -> TestOutcome:
        return TestOutcome(True, "")

    async def ask(self, *_: Any) -> GateAnswer:
        return GateAnswer(GateVerdict.PASSED)

    async def query(self, _: Any, target: Any) -> float:
        return 0.0 if self.bad and served(self.server)[0] == target.revision else 1.0

    async def send(self, _: Any, secret: str | None, event: Any) -> None:
        assert secret is None
        self.told[event.id] = str(event.event)


async def no_sleep(_: float) -> None:
    await asyncio.sleep(0)


async def run(faults: dict[int, str], *, bad: bool) -> tuple[Server, World, list[str]]:
    """A route over `one`, then over `two`; faults count from the first write; which revisions served."""
    server = Server()
    world = World(server, bad=bad)
    for name in ("one", "two"):
        server.put(backend(name))
    pending, switches = dict(faults), ["none"]
    server.fault = lambda at: pending.pop(at, "")

    def born() -> Operator:
        return Operator(server, ports=world.ports, sleep=no_sleep)

    operator = born()
    for name in ("one", "two"):
        server.put(route(name, rollout=QUESTIONS))
        quiet = 0
        for _ in range(200):
            before = len(server.writes)
            try:
                await operator.reconcile()
            except Killed:
                operator = born()
            except ClusterError:
                pass
            for _ in range(4):
                await asyncio.sleep(0)
            server.kubelet()
            if (SERVICE, NS, "assistant") in server.objects and served(server)[0] != switches[-1]:
                switches.append(served(server)[0])
            quiet = quiet + 1 if len(server.writes) == before else 0
            if quiet == 8:  # two questions without an answer are five ticks of the clock
                break
        else:
            raise AssertionError(f"it does not end: {server.writes[-20:]}")
    return server, world, switches


@pytest.mark.parametrize("bad", [False, True], ids=["forward", "back"])
@pytest.mark.parametrize("kind_of_fault", ["refuse", "reject", "lose", "kill"])
def test_a_fault_at_each_write_in_turn_flips_no_more_than_without_one(kind_of_fault: str, bad: bool) -> None:
    _, world, sound = asyncio.run(run({}, bad=bad))
    assert len(sound) == (4 if bad else 3)
    writes = len(asyncio.run(run({}, bad=bad))[0].writes)
    assert writes > 25
    step = max(1, EVERY // 3) if kind_of_fault == "kill" else EVERY
    for at in range(step // 2, writes, step):
        server, faulty, switches = asyncio.run(run({at: kind_of_fault}, bad=bad))
        assert switches == sound, f"{kind_of_fault} at write {at}: {server.writes[at]}"
        revision, deployments = served(server)
        assert deployments == {revision}, f"{kind_of_fault} at write {at}: nothing is left over"
        rollout = server.objects[MOLTBOT_ROUTE, NS, "assistant"]["status"]["rollout"]
        assert rollout["phase"] == ("Failed" if bad else "Stable"), f"{kind_of_fault} at write {at}"
        assert "pending" not in rollout
        assert set(world.told.values()) <= set(faulty.told.values()), "nobody misses an event"
