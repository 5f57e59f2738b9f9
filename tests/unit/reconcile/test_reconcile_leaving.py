"""Which pods are told that their clients shall leave, when, and when again."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moltbot_operator.compile.workloads import Owner
from moltbot_operator.constants import LABEL_MANAGED_BY, LABEL_REVISION, LABEL_ROUTE, MANAGED_BY
from moltbot_operator.kube.cache import Cache
from moltbot_operator.kube.kinds import POD
from moltbot_operator.reconcile.evidence import EvidenceUnavailable
from moltbot_operator.reconcile.leaving import AGAIN, KNOWN, LATEST, Leaving, departures
from moltbot_operator.rollout import Phase, Plan, State
from moltbot_operator.rollout.state import Old

OWNER = Owner("n", "assistant", "uid-1")
START = datetime(2026, 1, 1, tzinfo=UTC)


def plan(active: str | None, *old: str, rollback_to: str | None = None, phase: Phase = Phase.STABLE) -> Plan:
    kept = tuple(Old(each, START) for each in old)
    return Plan(phase, active, None, state=State(phase, rollback_to=rollback_to, old=kept))


class World:
    """Pods that are told, some of them out of reach, and a clock."""

    def __init__(self, **revisions: str) -> None:
        self.now = START
        self.cache = Cache()
        for name, revision in revisions.items():
            self.add(name, revision)
        self.told: list[tuple[str, bool]] = []
        self.lost: set[str] = set()
        self.leaving = self.born()

    def born(self) -> Leaving:
        """An operator that knows nothing."""
        return Leaving(self.cache, self, lambda: self.now)

    def add(self, name: str, revision: str, ready: str = "True") -> None:
        labels = {LABEL_REVISION: revision, LABEL_ROUTE: "assistant", LABEL_MANAGED_BY: MANAGED_BY}
        meta = {"namespace": "n", "name": name, "uid": name, "labels": labels}
        status = {"conditions": [{"type": "Ready", "status": ready}]}
        self.cache.put(POD, {"metadata": meta, "status": status})

    async def tell(self, pod: dict[str, Any], token: str, *, leaving: bool) -> None:
        assert token == "t0ken"
        name = pod["metadata"]["name"]
        self.told.append((name, leaving))
        if name in self.lost:
            raise EvidenceUnavailable("it does not answer")

    async def look(self, wanted: Plan, serves: str | None) -> tuple[list[tuple[str, bool]], timedelta | None]:
        """What is told, and when to look again."""
        self.told.clear()
        again = await self.leaving.tell(OWNER, "t0ken", wanted, serves)
        return sorted(self.told), again


async def test_pods_that_the_service_left_are_told_once_and_told_otherwise_when_it_comes_back() -> None:
    world = World(a1="a", a2="a", b1="b")
    assert await world.look(plan("a"), "a") == ([("a1", False), ("a2", False)], None)
    verifying = plan("b", rollback_to="a", phase=Phase.VERIFYING)
    assert await world.look(verifying, "b") == ([("a1", True), ("a2", True), ("b1", False)], None)
    assert await world.look(plan("b", "a"), "b") == ([], None)
    assert await world.look(plan("a", "b"), "a") == ([("a1", False), ("a2", False), ("b1", True)], None)


async def test_nobody_is_told_while_the_service_does_not_select_what_is_active() -> None:
    world = World(a1="a", b1="b")
    promoting = plan("b", rollback_to="a", phase=Phase.PROMOTING)
    assert await world.look(promoting, "a") == ([], None)
    assert await world.look(promoting, None) == ([], None)
    assert await world.look(plan(None), None) == ([], None)


async def test_a_preview_is_told_nothing() -> None:
    world = World(a1="a", b1="b")
    assert await world.look(plan("a", rollback_to="a", phase=Phase.TESTING), "a") == ([("a1", False)], None)


async def test_a_pod_that_is_not_reached_is_told_again_after_a_while_and_holds_up_no_other() -> None:
    world = World(a1="a", a2="a", b1="b")
    world.lost = {"a1"}
    everybody = [("a1", True), ("a2", True), ("b1", False)]
    assert await world.look(plan("b", "a"), "b") == (everybody, AGAIN)
    assert await world.look(plan("b", "a"), "b") == ([], AGAIN), "not at each look"
    world.now += AGAIN
    assert await world.look(plan("b", "a"), "b") == ([("a1", True)], 2 * AGAIN)
    world.now += 2 * AGAIN
    world.lost.clear()
    assert await world.look(plan("b", "a"), "b") == ([("a1", True)], None)


async def test_a_pod_that_is_never_reached_is_told_ever_more_rarely() -> None:
    world = World(a1="a", b1="b")
    world.lost = {"a1"}
    pauses = []
    for _ in range(100):
        _, again = await world.look(plan("b", "a"), "b")
        assert again is not None
        pauses.append(again)
        world.now += again
    assert pauses[:3] == [AGAIN, 2 * AGAIN, 4 * AGAIN]
    assert pauses[-1] <= LATEST


async def test_a_new_operator_tells_everybody_and_each_is_told_anew_after_a_minute() -> None:
    world = World(a1="a", b1="b")
    everybody = [("a1", True), ("b1", False)]
    await world.look(plan("b", "a"), "b")
    world.leaving = world.born()
    assert await world.look(plan("b", "a"), "b") == (everybody, None)
    world.now += KNOWN
    assert await world.look(plan("b", "a"), "b") == (everybody, None)
    world.leaving.forget("n", "assistant")
    assert await world.look(plan("b", "a"), "b") == (everybody, None)


async def test_a_pod_is_told_as_soon_as_it_is_ready() -> None:
    world = World(b1="b")
    world.add("a1", "a", ready="False")
    assert await world.look(plan("b", "a"), "b") == ([("b1", False)], None)
    world.add("a1", "a")
    assert await world.look(plan("b", "a"), "b") == ([("a1", True)], None)


async def test_without_a_teller_nobody_is_told() -> None:
    world = World(a1="a", b1="b")
    world.leaving = Leaving(world.cache, None, lambda: world.now)
    assert await world.look(plan("b", "a"), "b") == ([], None)


REVISION = st.sampled_from(["a", "b", "c", None])


@given(REVISION, REVISION, REVISION, st.lists(st.sampled_from("abc"), max_size=3), st.sampled_from(Phase))
def test_clients_of_what_serves_are_never_asked_to_leave(
    active: str | None, serves: str | None, back: str | None, old: list[str], phase: Phase
) -> None:
    found = departures(plan(active, *old, rollback_to=back, phase=phase), serves)
    leave = {name for name, leaving in found.items() if leaving}
    assert leave <= {*old, back} - {serves, active, None}
    assert not found or found[str(serves)] is False


@pytest.mark.parametrize("phase", Phase)
def test_the_one_to_go_back_to_is_asked_as_long_as_another_serves(phase: Phase) -> None:
    assert departures(plan("b", rollback_to="a", phase=phase), "b") == {"b": False, "a": True}
    assert departures(plan("a", rollback_to="a", phase=phase), "a") == {"a": False}
