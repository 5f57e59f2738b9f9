"""How the world outside of a route is asked: with which secret, and what is no verdict."""

from base64 import b64encode
from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from moltbot_operator.api import Gate, Notification, NotificationEvent, Rollout
from moltbot_operator.compile.workloads import Owner
from moltbot_operator.errors import ClusterError, NotFound
from moltbot_operator.kube.kinds import SECRET, Kind
from moltbot_operator.reconcile.outside import Outside
from moltbot_operator.rollout import AskGate, Delivered, Notify, Pending, RunTests, Trouble
from moltbot_operator.rollout.ports import EffectError, GateAnswer, GateVerdict, RolloutEvent, TestOutcome

SETTINGS = Rollout.model_validate(
    {
        "testing": {"faultDrill": True},
        "gates": [{"url": "http://g", "secretRef": {"name": "s", "key": "token"}}, {"url": "http://open"}],
        "notifications": [
            {"url": "http://hook", "secretRef": {"name": "s", "key": "gone"}},
            {"url": "http://o"},
        ],
    }
)
PENDING = Pending("id", NotificationEvent.STARTED, "b", "a", "it begins", datetime(2026, 1, 1, tzinfo=UTC))
PASSED = GateAnswer(GateVerdict.PASSED)


class World:
    """A cluster with one Secret, and ports that remember."""

    def __init__(self, fails: Exception | None = None) -> None:
        self.fails = fails
        self.bearers: list[str | None] = []
        self.events: list[RolloutEvent] = []

    async def get(self, kind: Kind, namespace: str, name: str) -> dict[str, Any]:
        assert (kind, name) == (SECRET, "s")
        if isinstance(self.fails, ClusterError):
            raise self.fails
        assert namespace == "n"
        return {"data": {"token": b64encode(b"bearer\n").decode()}}

    async def test(self, target: Any, testing: Any, effect: str) -> TestOutcome:
        assert (target, effect) == ("target of b", "t")
        assert testing.fault_drill
        if self.fails:
            raise self.fails
        return TestOutcome(True, "")

    async def ask(self, index: int, gate: Gate, bearer: str | None, target: Any, effect: str) -> GateAnswer:
        assert gate == SETTINGS.gates[index]
        assert (target, effect) == ("target of b", "g")
        self.bearers.append(bearer)
        return PASSED

    async def send(self, notification: Notification, secret: str | None, event: RolloutEvent) -> None:
        assert secret is None
        assert notification == SETTINGS.notifications[1]
        self.events.append(event)

    def outside(self) -> Outside:
        ports: Any = SimpleNamespace(tester=self, gatekeeper=self, notifier=self)
        measurer: Any = SimpleNamespace(target=lambda revision, **_: f"target of {revision}")
        cluster: Any = self
        return Outside(Owner("n", "assistant", "u"), SETTINGS, cluster, ports, measurer)


async def test_a_gate_is_asked_with_the_secrets_present_value() -> None:
    world = World()
    assert await world.outside()(AskGate("g/3", "b", 0, "g")) == PASSED
    assert await world.outside()(AskGate("g/0", "b", 1, "g")) == PASSED
    assert world.bearers == ["bearer", None]


async def test_an_event_has_its_identity_and_its_place() -> None:
    world = World()
    assert await world.outside()(Notify("n", PENDING, 1)) == Delivered()
    (event,) = world.events
    assert (event.id, event.namespace, event.route, event.previous) == ("id", "n", "assistant", "a")


@pytest.mark.parametrize(
    ("fails", "says"),
    [
        (EffectError("the pod can't be reached"), "the pod can't be reached"),
        (ClusterError("no answer"), "no answer"),
    ],
)
async def test_what_is_no_verdict_is_trouble(fails: Exception, says: str) -> None:
    assert await World(fails).outside()(RunTests("t", "b")) == Trouble(says)


async def test_a_secret_that_is_missing_is_named_with_its_field_and_never_its_value() -> None:
    gone = await World(NotFound("x")).outside()(AskGate("g/3", "b", 0, "g"))
    assert isinstance(gone, Trouble)
    assert gone.message == "spec.rollout.gates[0].secretRef names Secret n/s, which does not exist: create it"
    lacks = await World().outside()(Notify("n", PENDING, 0))
    assert isinstance(lacks, Trouble)
    assert lacks.message.endswith("names Secret n/s, which lacks key gone: add it")


async def test_without_a_world_outside_nothing_passes() -> None:
    alone = replace(World().outside(), ports=None)
    assert isinstance(await alone(RunTests("t", "b")), Trouble)
