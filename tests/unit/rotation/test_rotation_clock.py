"""A clock that is set ahead shortens no wait that has a reason."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from rotation_world import CACHED, KEYS, LIFE, START, Fault, World, pass_time, run

from moltbot_operator.rotation.state import Phase, Policy, State
from moltbot_operator.rotation.timing import put_off
from moltbot_operator.rotation.watch import Watch

MINUTE, WEEK = timedelta(minutes=1), timedelta(days=7)


class Clocks:
    """A wall clock that can be set, and one that can't."""

    def __init__(self) -> None:
        self.passed = timedelta(0)
        self.set_by = timedelta(0)

    def wall(self) -> datetime:
        return START + self.passed + self.set_by

    def watch(self) -> Watch:
        return Watch(self.wall, lambda: self.passed)


def test_a_jump_is_told_until_it_is_allowed_for() -> None:
    clocks = Clocks()
    watch = clocks.watch()
    assert watch.ahead() == timedelta(0)
    clocks.passed += MINUTE
    clocks.set_by += WEEK
    assert watch.ahead() == watch.ahead() == WEEK
    watch.allow(WEEK)
    assert watch.ahead() == timedelta(0)
    assert clocks.watch().ahead() == timedelta(0), "another process knows nothing of it"


def test_a_clock_that_is_put_back_and_ahead_again_is_a_jump_and_a_small_correction_is_none() -> None:
    clocks = Clocks()
    watch = clocks.watch()
    watch.ahead()
    clocks.set_by -= timedelta(hours=1)
    assert watch.ahead() == timedelta(0)
    clocks.set_by += timedelta(hours=1)
    assert watch.ahead() == timedelta(hours=1)
    watch.allow(timedelta(hours=1))
    clocks.set_by += timedelta(seconds=3)
    assert watch.ahead() == timedelta(0)
    clocks.set_by += timedelta(seconds=3)
    assert watch.ahead() == timedelta(seconds=6), "corrections add up"


def test_ends_of_waits_are_put_off_and_the_calendar_is_not() -> None:
    state = State(due=START, until=START, published=START, spare_published=START, sweep=START, rotated=START)
    moved = put_off(state, WEEK)
    later = START + WEEK
    assert (moved.until, moved.published, moved.spare_published, moved.sweep) == (later,) * 4
    assert (moved.due, moved.rotated) == (START, START)
    assert put_off(state, timedelta(0)) is state
    assert put_off(State(), WEEK) == State()


def begun(world: World) -> World:
    """With a credential of the issuer in use."""
    run(world, lambda: world.state.version is not None and world.given(1)[0] is not None)
    world.policy = replace(world.policy, rotate_at=world.now)
    run(world, lambda: bool(world.state.rotated and world.state.rotated > START and world.settled()))
    return world


@pytest.mark.parametrize("at", [timedelta(0), MINUTE, 3 * MINUTE])
@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize("stored_before", [False, True])
def test_a_late_answer_is_found_though_the_clock_jumps(
    at: timedelta, restart: bool, stored_before: bool
) -> None:
    world = begun(World())
    lost = 0

    def late(_: int, name: str) -> Fault:
        nonlocal lost
        if name == "issuer.create" and not lost:
            lost += 1
            world.jumps.append((world.real + at, WEEK))
            return "kill after" if restart else "late"
        return ""

    made = len(world.keys)
    world.fault = late
    if stored_before:
        world.state = replace(world.state, sweep=world.now + MINUTE)
    world.policy = replace(world.policy, rotate_at=world.now)
    run(world, lambda: bool(lost) and world.settled() and world.state.attempts == 0)
    pass_time(world, 10 * MINUTE)
    assert len(world.keys) > made + 1, "there was an answer that nobody heard"
    assert world.valid == [world.stored[world.state.version or ""].value]


def test_a_call_of_a_process_that_ended_is_looked_for_though_an_earlier_search_was_near() -> None:
    world = begun(World(policy=Policy(timedelta(hours=72), overlap=timedelta(0))))
    world.state = replace(world.state, sweep=world.now + timedelta(seconds=1))
    create = world.create

    async def arrives_late(tag: str) -> object:
        world.fault = lambda _, name: "late" if name == "issuer.create" else ""
        world.create = create  # type: ignore[method-assign]
        world.state = replace(world.state, sweep=world.now + timedelta(seconds=1))
        try:
            return await create(tag)
        finally:
            world.fault = lambda _, __: ""
            raise KilledNow

    world.create = arrives_late  # type: ignore[method-assign,assignment]
    world.policy = replace(world.policy, rotate_at=world.now)
    with pytest.raises(KilledNow):
        run(world, lambda: False)
    assert world.state.phase is Phase.PREPARED
    run(world, world.settled)
    pass_time(world, 10 * MINUTE)
    assert world.valid == [world.stored[world.state.version or ""].value]


class KilledNow(BaseException):
    """The process ended while its call was on its way."""


def test_a_managed_key_signs_no_sooner_because_the_clock_jumps() -> None:
    for jumps_within in (True, False):
        world = World("ManagedKey", policy=KEYS, bootstrap=None)
        run(world, lambda world=world: world.state.phase is Phase.ISSUED and world.state.published)  # type: ignore[misc]
        began = world.real
        if jumps_within:
            world.jumps.append((world.real + MINUTE, WEEK))
        else:
            world.skew += WEEK
        run(world, lambda world=world: world.state.version is not None)  # type: ignore[misc]
        assert world.real - began >= KEYS.settle - timedelta(seconds=1)
        assert world.unverifiable(LIFE, CACHED) == []


def test_a_managed_key_is_kept_as_long_as_its_tokens_live_though_the_clock_jumps() -> None:
    for jumps_within in (True, False):
        world = begun(World("ManagedKey", policy=KEYS))
        world.policy = replace(world.policy, rotate_at=world.now)
        run(world, lambda world=world: world.state.phase is Phase.OVERLAP)  # type: ignore[misc]
        began, old = world.real, world.state.previous
        if jumps_within:
            world.jumps.append((world.real + MINUTE, WEEK))
        else:
            world.skew += WEEK
        run(world, lambda world=world, old=old: old not in world.stored)  # type: ignore[misc]
        assert world.real - began >= KEYS.keep - timedelta(seconds=1)
        assert world.unverifiable(LIFE, CACHED) == []


def test_a_clock_that_jumps_during_a_call_shortens_no_wait() -> None:
    world = begun(World("ManagedKey", policy=KEYS))
    world.policy = replace(world.policy, rotate_at=world.now)
    jumped: list[tuple[datetime, str | None]] = []

    def fault(_: int, name: str) -> Fault:
        if name == "keys.publish" and world.state.phase is Phase.OVERLAP and not jumped:
            jumped.append((world.real, world.state.previous))
            world.jumps.append((world.real, WEEK))
        return ""

    world.fault = fault
    run(world, lambda: bool(jumped) and jumped[0][1] not in world.stored)
    assert world.real - jumped[0][0] >= KEYS.keep - MINUTE
    assert world.unverifiable(LIFE, CACHED) == []


def test_a_leak_is_answered_at_once_after_a_restart_that_was_long_after_the_spare_was_published() -> None:
    world = World("ManagedKey", policy=replace(KEYS, rotate_at=START), bootstrap=None)
    run(world, lambda: world.real >= START + timedelta(hours=9) and world.settled())
    world.skew += WEEK
    leaked = world.state.version
    world.policy = replace(world.policy, compromised=leaked)
    began = world.real
    run(world, lambda: leaked not in world.stored)
    assert world.real - began < MINUTE


def test_operators_that_come_and_go_end_a_wait_after_a_while_and_none_too_early() -> None:
    world = World("ManagedKey", policy=KEYS, bootstrap=None)
    began, starts = world.real, 0
    while not (world.state.version and world.state.phase is Phase.OVERLAP):
        starts += 1
        world.policy = replace(world.policy, rotate_at=START if world.state.version else None)
        pass_time(world, MINUTE)
        world.real += timedelta(seconds=15)  # until there is another leader
        world.skew += WEEK if starts % 3 == 0 else timedelta(0)
        assert world.real - began < 5 * KEYS.settle, "two keys, each read within twice the time"
    assert starts > 4
    used = world.state.version
    while world.state.previous:
        end = world.real + MINUTE
        run(world, lambda end=end: world.real >= end or not world.state.previous)  # type: ignore[misc]
        world.real += timedelta(seconds=15)
        assert world.real - began < 5 * KEYS.settle + 3 * KEYS.keep
    assert world.state.version == used
    assert world.unverifiable(LIFE, CACHED) == []


def test_a_wait_that_no_restart_disturbs_is_written_down_at_its_ends_alone() -> None:
    world = begun(World("ManagedKey", policy=KEYS))
    pass_time(world, timedelta(hours=1))
    world.policy = replace(world.policy, rotate_at=world.now)
    world.calls.clear()
    pass_time(world, timedelta(hours=1))
    assert world.settled()
    assert world.calls.count("store.save") < 20


def test_times_that_somebody_wrote_into_the_status_do_no_harm() -> None:
    for watched in ("0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"):
        world = begun(World())
        end = datetime.fromisoformat("9999-12-31T23:59:59Z")
        spoilt = {"until": end, "published": end, "spare_published": end, "sweep": end}
        world.state = replace(world.state, watched=datetime.fromisoformat(watched), **spoilt)
        world.policy = replace(world.policy, rotate_at=world.now)
        used = world.state.version
        run(world, lambda world=world, used=used: world.state.version != used and world.settled())  # type: ignore[misc]


def test_time_that_nobody_watched_is_no_part_of_an_overlap() -> None:
    world = begun(World())
    world.policy = replace(world.policy, rotate_at=world.now)
    run(world, lambda: world.state.phase is Phase.OVERLAP)
    old, began = world.state.previous, world.real
    pass_time(world, 5 * MINUTE)
    world.skew += WEEK
    run(world, lambda: old not in world.stored)
    assert world.real - began >= world.policy.overlap
