# ruff: noqa: ARG002 - stand-ins have the signatures of what they stand for

import asyncio
import copy

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from moltbot_operator.errors import ClusterError, Conflict, LeaseLost, NotFound
from moltbot_operator.kube.lease import Elector, LeaseTimes, steady_clock

TIMES = LeaseTimes()
DURATION, DEADLINE, RETRY = (
    each.total_seconds() for each in (TIMES.duration, TIMES.renew_deadline, TIMES.retry_period)
)


def now() -> float:
    return asyncio.get_running_loop().time()


class Server:
    """One Lease with optimistic locking."""

    def __init__(self):
        self.lease = None
        self.version = 0
        self.writes = []

    def store(self, manifest, writer):
        self.version += 1
        self.lease = copy.deepcopy(manifest)
        self.lease["metadata"]["resourceVersion"] = str(self.version)
        self.writes.append((now(), writer, manifest["spec"].get("holderIdentity")))
        return copy.deepcopy(self.lease)


class Link:
    """A replica's way to the server; `fault` says what happens to its calls."""

    def __init__(self, server, name):
        self.server, self.name = server, name
        self.fault = None

    async def _way(self):
        await asyncio.sleep(0.01)
        if self.fault == "refuse":
            raise ClusterError("no answer from the API server")
        if self.fault == "hang":
            await asyncio.Event().wait()

    async def _back(self):
        if self.fault == "lose answers":
            await asyncio.Event().wait()
        await asyncio.sleep(0.01)

    async def get(self, kind, namespace, name):
        await self._way()
        if self.server.lease is None:
            raise NotFound("no lease")
        found = copy.deepcopy(self.server.lease)
        await self._back()
        return found

    async def create(self, manifest):
        await self._way()
        if self.server.lease is not None:
            raise Conflict("exists")
        made = self.server.store(manifest, self.name)
        await self._back()
        return made

    async def replace(self, manifest):
        await self._way()
        if manifest["metadata"]["resourceVersion"] != self.server.lease["metadata"]["resourceVersion"]:
            raise Conflict("changed")
        made = self.server.store(manifest, self.name)
        await self._back()
        return made


def elector(link, clock=None):
    return Elector(
        link, namespace="ns", name="op", identity=link.name, times=TIMES,
        clock=clock or (lambda: asyncio.get_running_loop().time()),
    )  # fmt: skip


async def replica(each, held):
    """A process: stands by, leads until it loses, ends."""
    await each.acquire()
    held.append((now(), each._identity))
    await each.hold()


def test_the_first_leads_and_the_second_stands_by(in_virtual_time):
    async def scenario():
        server, held = Server(), []
        tasks = [asyncio.create_task(replica(elector(Link(server, name)), held)) for name in "ab"]
        await asyncio.sleep(120)
        assert [name for _, name in held] == ["a"]
        assert not any(task.done() for task in tasks)
        assert server.lease["spec"]["leaseTransitions"] == 0
        for task in tasks:
            task.cancel()

    in_virtual_time(scenario())


def test_a_dead_leader_is_followed_within_the_lease_time(in_virtual_time):
    async def scenario():
        server, held = Server(), []
        a = asyncio.create_task(replica(elector(Link(server, "a")), held))
        await asyncio.sleep(20)
        b = asyncio.create_task(replica(elector(Link(server, "b")), held))
        await asyncio.sleep(20)
        a.cancel()
        last = server.writes[-1][0]
        await asyncio.sleep(40)
        moment, name = held[-1]
        assert name == "b"
        assert DURATION <= moment - last <= DURATION + 2 * RETRY + 0.2
        assert server.lease["spec"]["leaseTransitions"] == 1
        b.cancel()

    in_virtual_time(scenario())


def test_a_released_lease_is_taken_at_once(in_virtual_time):
    async def scenario():
        server, held = Server(), []
        leader = elector(Link(server, "a"))
        a = asyncio.create_task(replica(leader, held))
        await asyncio.sleep(5)
        b = asyncio.create_task(replica(elector(Link(server, "b")), held))
        await asyncio.sleep(5)
        a.cancel()
        await leader.release()
        assert not leader.leading
        assert "holderIdentity" not in server.lease["spec"]
        released = now()
        await asyncio.sleep(5)
        assert held[-1][1] == "b"
        assert held[-1][0] - released <= RETRY + 0.1
        b.cancel()

    in_virtual_time(scenario())


def test_releasing_without_leading_writes_nothing(in_virtual_time):
    async def scenario():
        server = Server()
        await elector(Link(server, "a")).release()
        assert server.writes == []

    in_virtual_time(scenario())


def test_release_gives_up_on_a_dead_server(in_virtual_time):
    async def scenario():
        server = Server()
        link = Link(server, "a")
        leader = elector(link)
        await leader.acquire()
        link.fault = "hang"
        before = now()
        await leader.release()
        assert now() - before == DEADLINE / 2

    in_virtual_time(scenario())


@pytest.mark.parametrize("fault", ["hang", "refuse"])
def test_a_leader_cut_off_ends_itself_before_another_may_begin(in_virtual_time, fault):
    async def scenario():
        server, held = Server(), []
        link = Link(server, "a")
        leader = elector(link)
        a = asyncio.create_task(replica(leader, held))
        await asyncio.sleep(7)
        last = server.writes[-1][0]
        link.fault = fault
        with pytest.raises(LeaseLost, match="ns/op"):
            await a
        assert now() - last <= DEADLINE
        assert not leader.leading
        with pytest.raises(LeaseLost):
            leader.check()

    in_virtual_time(scenario())


def test_a_short_outage_costs_nothing(in_virtual_time):
    async def scenario():
        server, held = Server(), []
        link = Link(server, "a")
        a = asyncio.create_task(replica(elector(link), held))
        await asyncio.sleep(7)
        for fault in ("refuse", "hang"):
            link.fault = fault
            await asyncio.sleep(4)
            link.fault = None
            await asyncio.sleep(20)
            assert not a.done()
        a.cancel()

    in_virtual_time(scenario())


def test_a_renewal_whose_answer_was_lost_is_recognised_as_ones_own(in_virtual_time):
    async def scenario():
        server, held = Server(), []
        link = Link(server, "a")
        a = asyncio.create_task(replica(elector(link), held))
        await asyncio.sleep(7)
        link.fault = "lose answers"
        await asyncio.sleep(3)
        link.fault = None
        await asyncio.sleep(30)
        assert not a.done()
        assert server.lease["spec"]["leaseTransitions"] == 0
        a.cancel()

    in_virtual_time(scenario())


def test_a_lease_touched_by_somebody_else_is_kept(in_virtual_time):
    async def scenario():
        server, held = Server(), []
        a = asyncio.create_task(replica(elector(Link(server, "a")), held))
        await asyncio.sleep(7)
        server.store(
            {**server.lease, "metadata": {**server.lease["metadata"], "labels": {"x": "y"}}}, "admin"
        )
        await asyncio.sleep(30)
        assert not a.done()
        assert server.lease["metadata"]["labels"] == {"x": "y"}
        a.cancel()

    in_virtual_time(scenario())


def test_a_lease_taken_by_another_is_lost_at_the_next_renewal(in_virtual_time):
    async def scenario():
        server, held = Server(), []
        a = asyncio.create_task(replica(elector(Link(server, "a")), held))
        await asyncio.sleep(7)
        taken = now()
        server.store({**server.lease, "spec": {**server.lease["spec"], "holderIdentity": "z"}}, "z")
        with pytest.raises(LeaseLost, match="z holds"):
            await a
        assert now() - taken <= RETRY + 0.2

    in_virtual_time(scenario())


@pytest.mark.parametrize("renewed", ["1970-01-01T00:00:00.000000Z", "2999-01-01T00:00:00.000000Z"])
def test_wall_clocks_don_t_matter(in_virtual_time, renewed):
    """A stranger's lease whose stamp is absurd is waited for exactly as long as any other."""

    async def scenario():
        server, held = Server(), []
        spec = {"holderIdentity": "gone", "leaseDurationSeconds": 15, "renewTime": renewed}
        server.store({"metadata": {"name": "op"}, "spec": spec}, "gone")
        began = now()
        b = asyncio.create_task(replica(elector(Link(server, "b")), held))
        await asyncio.sleep(60)
        assert DURATION <= held[0][0] - began <= DURATION + RETRY + 0.2
        b.cancel()

    in_virtual_time(scenario())


def test_a_longer_lease_of_the_holder_is_respected(in_virtual_time):
    async def scenario():
        server, held = Server(), []
        spec = {"holderIdentity": "gone", "leaseDurationSeconds": 60}
        server.store({"metadata": {"name": "op"}, "spec": spec}, "gone")
        began = now()
        b = asyncio.create_task(replica(elector(Link(server, "b")), held))
        await asyncio.sleep(120)
        assert held[0][0] - began >= 60
        b.cancel()

    in_virtual_time(scenario())


def test_a_restarted_container_of_the_same_name_need_not_wait(in_virtual_time):
    async def scenario():
        server, held = Server(), []
        spec = {
            "holderIdentity": "a",
            "leaseDurationSeconds": 15,
            "acquireTime": "then",
            "leaseTransitions": 4,
        }
        server.store({"metadata": {"name": "op"}, "spec": spec}, "a")
        began = now()
        a = asyncio.create_task(replica(elector(Link(server, "a")), held))
        await asyncio.sleep(1)
        assert held[0][0] - began < 0.1
        assert server.lease["spec"]["leaseTransitions"] == 4
        a.cancel()

    in_virtual_time(scenario())


def test_a_process_that_was_suspended_may_not_write(in_virtual_time):
    """`hold` had no chance to run, but the fence before each write knows."""

    async def scenario():
        asleep = 0.0
        leader = elector(Link(Server(), "a"), clock=lambda: now() + asleep)
        await leader.acquire()
        leader.check()
        asleep = DEADLINE
        with pytest.raises(LeaseLost, match="not renewed"):
            leader.check()

    in_virtual_time(scenario())


def test_standby_waits_out_an_unreachable_server(in_virtual_time):
    async def scenario():
        server, held = Server(), []
        link = Link(server, "a")
        link.fault = "hang"
        a = asyncio.create_task(replica(elector(link), held))
        await asyncio.sleep(300)
        assert held == []
        link.fault = None
        await asyncio.sleep(RETRY + DEADLINE / 2 + 1)
        assert [name for _, name in held] == ["a"]
        a.cancel()

    in_virtual_time(scenario())


def test_the_clock_only_goes_forward():
    readings = [steady_clock() for _ in range(100)]
    assert readings == sorted(readings)


FAULT = st.sampled_from([None, None, "hang", "refuse", "lose answers", "restart"])
SCHEDULE = st.lists(st.tuples(st.integers(0, 2), FAULT, st.floats(0.1, 25)), max_size=12)


async def forever(link, current):
    while True:
        current[link.name] = elector(link)
        try:
            await replica(current[link.name], [])
        except LeaseLost:
            await asyncio.sleep(0.5)


async def never_two(current):
    while True:
        leaders = [name for name, each in current.items() if each.leading]
        assert len(leaders) <= 1, f"{leaders} at {now()}"
        await asyncio.sleep(0.25)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(schedule=SCHEDULE)
def test_never_two_leaders_and_always_one_in_the_end(in_virtual_time, schedule):
    """Three replicas, started again when they end; calls that hang, fail, or whose answers get lost."""

    async def scenario():
        server, current = Server(), {}
        links = [Link(server, name) for name in "abc"]
        tasks = [asyncio.create_task(forever(link, current)) for link in links]

        guard = asyncio.create_task(never_two(current))
        for index, fault, pause in schedule:
            link = links[index]
            if fault == "restart":
                tasks[index].cancel()
                tasks[index] = asyncio.create_task(forever(link, current))
            else:
                link.fault = fault
            await asyncio.sleep(pause)
        for link in links:
            link.fault = None
        await asyncio.sleep(2 * DURATION + 5)
        assert sum(each.leading for each in current.values()) == 1
        assert not guard.done(), guard.exception()
        for task in (*tasks, guard):
            task.cancel()

    in_virtual_time(scenario())
