"""A managed key that leaks is replaced by one that verifiers have read in advance."""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rotation_world import CACHED, KEYS, LIFE, World, pass_time, run, set_clock

from moltbot_operator.rotation.state import Phase


@pytest.fixture
def world() -> World:
    """With a key in use, and its spare known to every verifier."""
    made = World("ManagedKey", policy=KEYS, bootstrap=None)
    run(made, lambda: made.settled() and made.given(1)[0] is not None)
    pass_time(made, KEYS.settle)
    assert made.state.spare in made.stored
    return made


def test_a_leak_is_over_in_seconds_and_its_successor_was_known_before(world: World) -> None:
    leaked, spare = world.state.version or "", world.state.spare
    value = world.stored[leaked].value
    world.policy = replace(world.policy, compromised=leaked)
    began = world.real
    run(world, lambda: leaked not in world.stored)
    assert world.real - began < timedelta(minutes=1)
    assert world.state.version == spare
    assert world.unverifiable(LIFE, CACHED, frozenset({value})) == []


def test_another_spare_is_known_by_the_end_of_a_rotation(world: World) -> None:
    before = world.state.spare
    world.policy = replace(world.policy, rotate_at=world.now)
    run(world, lambda: world.state.version == before and world.settled())
    assert world.state.spare not in {None, before}
    assert world.state.spare_published is not None
    assert world.state.spare_published + KEYS.settle <= world.now


def test_a_second_leak_before_verifiers_know_the_next_key_waits_for_them(world: World) -> None:
    first = world.state.version or ""
    values = {world.stored[first].value}
    world.policy = replace(world.policy, compromised=first)
    run(world, lambda: world.state.version != first and world.settled())
    second = world.state.version or ""
    values.add(world.stored[second].value)
    world.policy = replace(world.policy, compromised=second)
    began = world.real
    run(world, lambda: second not in world.stored)
    assert world.real - began < KEYS.settle + timedelta(minutes=1)
    assert world.unverifiable(LIFE, CACHED, frozenset(values)) == []


def test_a_spare_that_leaks_is_dropped_and_another_one_made(world: World) -> None:
    used, spare = world.state.version, world.state.spare or ""
    value = world.stored[spare].value
    world.policy = replace(world.policy, compromised=spare)
    run(world, lambda: spare not in world.stored)
    pass_time(world, timedelta(minutes=1))
    assert value not in world._jwks
    assert world.state.version == used
    assert world.state.spare in world.stored


def test_a_spare_that_can_not_be_made_holds_up_no_rotation_and_causes_no_storm(world: World) -> None:
    first = world.state.version or ""
    world.policy = replace(world.policy, compromised=first)
    run(world, lambda: world.state.version != first)
    world.fault = lambda _, name: "refuse" if name == "issuer.create" else ""
    calls = len(world.calls)
    pass_time(world, timedelta(hours=1))
    assert world.state.phase is Phase.IDLE
    assert world.state.attempts == 0
    assert len(world.calls) - calls < 400
    assert "made up" in world.state.message
    world.fault = lambda _, __: ""
    run(world, lambda: world.state.spare in world.stored and not world.state.message)


def test_what_is_no_managed_key_any_more_keeps_no_spare(world: World) -> None:
    spare = world.state.spare
    world.policy = replace(world.policy, managed=False)
    run(world, lambda: spare not in world.stored)
    assert world.state.spare is None


FAULTS = st.sampled_from(
    ["", "", "", "", "kill before", "kill after", "store", "nothing", "refuse", "unclear", "lost", "hang"]
)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["compromised", "compromised", "rotateAt", "jump", "back", "pass"]),
            st.integers(1, 90),
            st.lists(FAULTS, max_size=12),
        ),
        max_size=6,
    )
)
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
def test_no_token_is_ever_unverifiable_when_keys_leak(events: list[tuple[str, int, list[str]]]) -> None:
    world = World("ManagedKey", policy=KEYS)
    run(world, lambda: world.state.version is not None and world.given(1)[0] is not None)
    leaked: set[str] = set()
    for what, minutes, faults in events:
        first = len(world.calls)
        world.fault = lambda at, _, first=first, faults=faults: (  # type: ignore[assignment,misc]
            faults[at - first] if at - first < len(faults) else ""
        )
        if what == "compromised":
            state = world.state
            world.policy = replace(world.policy, compromised=state.version)
            # what is still valid beside it is given up, too
            known = (state.version, state.previous, state.pending)
            leaked |= {world.stored[each].value for each in known if each in world.stored}
        elif what == "rotateAt":
            world.policy = replace(world.policy, rotate_at=world.now)
        else:
            set_clock(world, what, minutes)
        pass_time(world, timedelta(minutes=minutes))
    world.fault = lambda _, __: ""
    run(world, lambda: world.settled() and world.state.attempts == 0, timedelta(days=6))
    assert world.unverifiable(LIFE, CACHED, frozenset(leaked)) == []
    assert world.state.version != world.policy.compromised
