"""Operators that were down, API servers that are away, clocks that are set: what rotations do then."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from uuid import UUID

import pytest
from rotation_world import START, Fault, World, pass_time, run

from moltbot_operator.rotation.state import Phase
from moltbot_operator.rotation.timing import share_of

MINUTES, HOURS, DAYS = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)

STEPS = (Phase.PREPARED, Phase.ISSUED, Phase.DISTRIBUTED, Phase.PROMOTED, Phase.OVERLAP)


def begun(life: timedelta | None = None, owner: int = 0) -> World:
    """A world in which a credential of the issuer is in use."""
    world = World(life=life)
    world.policy = replace(world.policy, share=share_of(str(UUID(int=owner))))
    run(world, lambda: world.state.version is not None and world.given(1)[0] is not None)
    world.policy = replace(world.policy, rotate_at=world.now)
    run(world, lambda: bool(world.state.rotated and world.state.rotated > START and world.settled()))
    return world


def promotions(world: World) -> int:
    return len(world.promoted_values)


def rotate(world: World, phase: Phase, happens: Callable[[], object]) -> None:
    """Rotate, and have something happen once: just before the first call of this phase."""
    done: list[object] = []

    def fault(_: int, __: str) -> Fault:
        if world.state.phase is phase and not done:
            done.append(happens())
        return ""

    world.fault = fault
    world.policy = replace(world.policy, rotate_at=world.now)
    run(world, lambda: bool(done))


def expired_in_use(world: World) -> list[str]:
    used = {world.given(gateway)[0] for gateway in range(world.gateways)}
    return [
        key.value
        for key in world.keys.values()
        if key.value in used and key.end is not None and key.end <= world.real
    ]


def watch(world: World, seen: Callable[[], object]) -> None:
    """Call this at each moment, besides what the world checks itself."""
    before = world.check

    def check() -> None:
        before()
        seen()

    world.check = check  # type: ignore[method-assign]


def test_an_operator_that_was_down_for_5_days_catches_up_once_with_each_and_not_with_all_together() -> None:
    began: list[datetime] = []
    for owner in range(60):
        world = begun(owner=owner)
        before, at = promotions(world), world.real
        world.real += 5 * DAYS - (at - START)  # nobody is there
        start = world.real
        run(world, lambda world=world, before=before: promotions(world) > before)  # type: ignore[misc]
        began.append(world.real)
        assert world.real - start <= 11 * MINUTES
        pass_time(world, 60 * HOURS)
        assert promotions(world) == before + 1
        assert len(world.valid) == 1
    by_minute = Counter(int((each - min(began)) / MINUTES) for each in began)
    assert len(by_minute) >= 8
    assert max(by_minute.values()) <= 15


def test_what_expired_while_the_operator_was_down_for_5_days_is_replaced_first() -> None:
    for owner in range(20):
        world = begun(life=4 * DAYS, owner=owner)
        before = promotions(world)
        world.real += 5 * DAYS
        start = world.real
        assert expired_in_use(world)
        run(world, lambda world=world: not expired_in_use(world))  # type: ignore[misc]
        assert world.real - start < MINUTES, "it waits for nothing: what it replaces is worth nothing"
        watch(world, lambda world=world: _none(expired_in_use(world)))  # type: ignore[misc]
        pass_time(world, 2 * HOURS)
        assert promotions(world) == before + 1
        assert len(world.valid) == 1


def test_while_there_is_an_operator_no_credential_is_used_past_its_end() -> None:
    world = begun(life=2 * DAYS)
    watch(world, lambda: _none(expired_in_use(world)))
    before = promotions(world)
    pass_time(world, 20 * DAYS)
    assert 10 <= promotions(world) - before <= 18


def _none(expired: list[str]) -> None:
    assert not expired, f"used past its end: {expired}"


@pytest.mark.parametrize("phase", STEPS)
def test_an_api_server_that_is_down_for_10_minutes_in_any_phase_costs_no_second_rotation(
    phase: Phase,
) -> None:
    world = begun()
    before = promotions(world)

    def down() -> None:
        back = world.real + 10 * MINUTES
        away = lambda name: not name.startswith("issuer") and world.real < back  # noqa: E731
        world.fault = lambda _, name: "store" if away(name) else ""

    rotate(world, phase, down)
    run(world, lambda: promotions(world) > before and world.settled())
    pass_time(world, 48 * HOURS)
    assert promotions(world) == before + 1
    assert len(world.valid) == 1


@pytest.mark.parametrize("phase", STEPS)
def test_a_clock_that_jumps_a_week_ahead_in_any_phase_and_back_does_no_harm(phase: Phase) -> None:
    world = begun()
    before = promotions(world)

    def ahead() -> None:
        world.skew += 7 * DAYS

    rotate(world, phase, ahead)
    pass_time(world, 3 * HOURS)
    run(world, world.settled)
    after = promotions(world)
    assert 1 <= after - before <= 2, "the one under way, and at most the one that this clock calls missed"
    assert len(world.valid) == 1
    world.skew -= 7 * DAYS
    pass_time(world, 60 * HOURS)
    assert promotions(world) == after
    pass_time(world, 20 * HOURS)
    assert promotions(world) == after + 1
