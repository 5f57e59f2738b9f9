import asyncio
from datetime import timedelta
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from moltbot_operator.errors import ClusterError, LeaseLost
from moltbot_operator.kube.queue import AFTER_FAILURE, Backoff, Key, Queue, QueueClosed

A, B, C = (Key("Route", "ns", name) for name in "abc")
MS = timedelta(milliseconds=1)


def plain(base: timedelta = timedelta(seconds=1), ceiling: timedelta = timedelta(minutes=5)) -> Backoff:
    return Backoff(base, ceiling, jitter=0)


def now() -> float:
    return asyncio.get_running_loop().time()


def test_backoff_doubles_up_to_its_ceiling():
    backoff = plain(timedelta(seconds=1), timedelta(seconds=10))
    assert [backoff.delay(n).total_seconds() for n in (1, 2, 3, 4, 5, 1000)] == [1, 2, 4, 8, 10, 10]


@given(st.floats(0, 1, exclude_max=True), st.integers(1, 10_000))
def test_jitter_stays_within_its_share(drawn, failures):
    exact = plain().delay(failures)
    varied = Backoff(timedelta(seconds=1), jitter=0.2, random=lambda: drawn).delay(failures)
    assert exact * 0.8 - MS <= varied <= exact * 1.2 + MS


def test_a_waiting_key_is_held_once(in_virtual_time):
    async def scenario():
        queue = Queue()
        for key in (A, B, A, A):
            queue.add(key)
        assert queue.depth == 2
        assert [await queue.get(), await queue.get()] == [A, B]
        assert queue.depth == 0

    in_virtual_time(scenario())


def test_a_key_added_while_worked_on_runs_once_more_afterwards(in_virtual_time):
    async def scenario():
        queue = Queue()
        queue.add(A)
        key = await queue.get()
        queue.add(A)
        queue.add(A)
        assert queue.depth == 0, "a second worker must not get it"
        queue.done(key)
        assert await queue.get() == A
        queue.done(A)
        assert queue.idle

    in_virtual_time(scenario())


def test_failures_in_a_row_grow_the_delay_and_success_resets_it(in_virtual_time):
    async def scenario():
        queue = Queue(plain())
        delays = []
        queue.add(A)
        for _ in range(4):
            key = await queue.get()
            before = now()
            queue.done(key, failed=True)
            queue.add(B)
            assert await queue.get() == B, "other keys don't wait"
            queue.done(B)
            key = await queue.get()
            delays.append(now() - before)
            queue.done(key, failed=True)
            key = await queue.get()
            queue.done(key)
            assert queue.failures(A) == 0
            queue.add(A)
        assert delays == [1, 1, 1, 1]
        assert queue.retries == 8

    in_virtual_time(scenario())


def test_delays_of_one_key_double(in_virtual_time):
    async def scenario():
        queue = Queue(plain())
        queue.add(A)
        began, moments = now(), []
        for _ in range(5):
            key = await queue.get()
            moments.append(now() - began)
            queue.done(key, failed=True)
        assert moments == [0, 1, 3, 7, 15]

    in_virtual_time(scenario())


def test_an_event_ends_a_delay_at_once(in_virtual_time):
    async def scenario():
        queue = Queue(plain(timedelta(minutes=1)))
        queue.add(A)
        queue.done(await queue.get(), failed=True)
        began = now()
        queue.add(A)
        assert await queue.get() == A
        assert now() == began
        assert queue.delayed == 0

    in_virtual_time(scenario())


def test_an_event_during_a_failing_run_waits_a_second_so_that_nothing_loops_hot(in_virtual_time):
    async def scenario():
        queue = Queue(plain(timedelta(minutes=1)))
        queue.add(A)
        began = now()
        for _ in range(10):
            key = await queue.get()
            queue.add(A)  # as its own half-done write would
            queue.done(key, failed=True)
        assert now() - began == pytest.approx(9 * AFTER_FAILURE.total_seconds())

    in_virtual_time(scenario())


def test_of_several_delays_the_earliest_counts(in_virtual_time):
    async def scenario():
        queue = Queue()
        began = now()
        for seconds in (30, 5, 60):
            queue.add_after(A, timedelta(seconds=seconds))
        assert queue.delayed == 1
        await queue.get()
        assert now() - began == 5
        queue.done(A)
        assert queue.idle
        assert queue.delayed == 0

    in_virtual_time(scenario())


def test_done_again_requeues_after_that_time(in_virtual_time):
    async def scenario():
        queue = Queue()
        queue.add(A)
        began = now()
        queue.done(await queue.get(), again=timedelta(minutes=1))
        await queue.get()
        assert now() - began == 60

    in_virtual_time(scenario())


def test_a_cancelled_getter_loses_no_key(in_virtual_time):
    async def scenario():
        queue = Queue()
        first, second = asyncio.create_task(queue.get()), asyncio.create_task(queue.get())
        await asyncio.sleep(0)
        queue.add(A)  # wakes the first
        first.cancel()
        async with asyncio.timeout(1):
            assert await second == A

    in_virtual_time(scenario())


def test_a_closed_queue_gives_out_nothing_and_frees_its_workers(in_virtual_time):
    async def scenario():
        queue = Queue()
        waiter = asyncio.create_task(queue.get())
        await asyncio.sleep(0)
        queue.add_after(B, timedelta(seconds=1))
        queue.close()
        with pytest.raises(QueueClosed):
            await waiter
        queue.add(A)
        queue.add_after(A, timedelta(0))
        with pytest.raises(QueueClosed):
            await queue.get()
        assert (queue.depth, queue.delayed) == (0, 0)

    in_virtual_time(scenario())


def test_run_retries_errors_and_defects_and_goes_on(in_virtual_time):
    async def scenario():
        queue, seen, outcomes = Queue(plain()), [], []

        async def work(key):
            seen.append((key, now()))
            if key == A and len(seen) == 1:
                raise ClusterError("down")
            if key == A and len(seen) == 2:
                raise RuntimeError("a defect")
            if key == A:
                queue.close()

        queue.add(A)
        began = now()
        await queue.run(work, concurrency=2, observe=lambda key, outcome, _: outcomes.append((key, outcome)))
        assert [moment - began for _, moment in seen] == [0, 1, 3]
        assert outcomes == [(A, "error"), (A, "crash"), (A, "success")]

    in_virtual_time(scenario())


def test_work_that_hangs_is_cut_off_and_retried(in_virtual_time):
    async def scenario():
        queue, calls = Queue(plain()), 0

        async def work(_):
            nonlocal calls
            calls += 1
            if calls == 1:
                await asyncio.Event().wait()
            queue.close()

        queue.add(A)
        began = now()
        await queue.run(work, concurrency=1, deadline=timedelta(seconds=10))
        assert (calls, now() - began) == (2, 11)

    in_virtual_time(scenario())


def test_the_time_that_work_asks_for_is_kept(in_virtual_time):
    async def scenario():
        queue, moments = Queue(), []

        async def work(_):
            moments.append(now())
            if len(moments) == 3:
                queue.close()
            return timedelta(seconds=20)

        queue.add(A)
        await queue.run(work, concurrency=3)
        assert [b - a for a, b in pairwise(moments)] == [20, 20]

    in_virtual_time(scenario())


def test_a_lost_lease_ends_all_workers(in_virtual_time):
    async def scenario():
        queue, finished = Queue(), []

        async def work(key):
            if key == A:
                raise LeaseLost("gone")
            await asyncio.sleep(1)
            finished.append(key)

        queue.add(B)
        queue.add(A)
        with pytest.raises(ExceptionGroup) as caught:
            await queue.run(work, concurrency=2)
        assert isinstance(caught.value.exceptions[0], LeaseLost)
        assert finished == []

    in_virtual_time(scenario())


class Machine:
    """Adds at random moments, works for random times, fails at random; and what must hold all the time."""

    def __init__(self, plan, workers):
        self.plan, self.workers = plan, workers
        self.queue = Queue(plain(timedelta(milliseconds=50), timedelta(seconds=1)))
        self.running: set[Key] = set()
        self.added_at: dict[Key, float] = {}
        self.begun_at: dict[Key, float] = {}
        self.durations = iter([step[2] for step in plan] * 50)
        self.failures = iter([step[3] for step in plan] * 50)
        self.most = 0

    async def work(self, key):
        assert key not in self.running, "two workers on one key"
        self.running.add(key)
        self.most = max(self.most, len(self.running))
        self.begun_at[key] = now()
        try:
            await asyncio.sleep(next(self.durations, 0))
            if next(self.failures, False):
                raise ClusterError("by chance")
        finally:
            self.running.discard(key)

    async def scenario(self):
        run = asyncio.create_task(self.queue.run(self.work, concurrency=self.workers))
        for key, pause, _, _ in self.plan:
            await asyncio.sleep(pause)
            self.added_at[key] = now()
            self.queue.add(key)
        async with asyncio.timeout(600):
            while not self.queue.idle or self.queue.delayed:  # noqa: ASYNC110 - time is virtual
                await asyncio.sleep(0.2)
        self.queue.close()
        await run


KEYS = st.sampled_from([A, B, C, Key("Backend", "ns", "a")])
STEPS = st.tuples(KEYS, st.floats(0, 0.2), st.floats(0, 0.3), st.booleans())


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(plan=st.lists(STEPS, min_size=1, max_size=25), workers=st.integers(1, 4))
def test_each_added_key_is_worked_on_later_and_never_twice_at_once(in_virtual_time, plan, workers):
    machine = Machine(plan, workers)
    machine.failures = iter([step[3] for step in plan])  # finite: it ends
    in_virtual_time(machine.scenario())
    assert machine.most <= workers
    for key, moment in machine.added_at.items():
        assert machine.begun_at[key] >= moment, f"{key} was added after it was last worked on"
    assert all(machine.queue.failures(key) == 0 for key in machine.added_at)
