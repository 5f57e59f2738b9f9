"""Every kind of issuer, the operator killed around every effect, every failure of every call.

Each run begins with one credential in use, rotates it, and must end with exactly one that is valid, in use
and known, whatever happens to one call of the second rotation. The world itself checks at every moment that
no gateway uses an unverified or revoked one.
"""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rotation_world import START, Fault, Kind, World, run

from moltbot_operator.rotation.state import Phase, Policy

KINDS: tuple[Kind, ...] = ("Webhook", "DynamicRegistration", "ManagedKey", "External")
DEATHS: tuple[Fault, ...] = ("kill before", "kill after", "store")
ANSWERS: tuple[Fault, ...] = ("nothing", "refuse", "unclear", "lost", "late", "hang")


def policy(kind: Kind) -> Policy:
    managed = kind == "ManagedKey"
    return Policy(
        interval=timedelta(hours=72),
        overlap=timedelta(minutes=15),
        longest=timedelta(minutes=1),
        settle=timedelta(minutes=6) if managed else timedelta(0),
        keep=timedelta(minutes=20) if managed else timedelta(0),
        managed=managed,
        external=kind == "External",
    )


def begun(kind: Kind) -> World:
    """A world in which the bootstrap credential is in use."""
    world = World(kind, policy=policy(kind))
    run(world, lambda: world.state.version is not None and world.given(1)[0] is not None)
    assert world.state.phase is Phase.IDLE
    if kind != "External":  # a first rotation, so that what is replaced is the issuer's own
        world.policy = replace(world.policy, rotate_at=world.now)
        run(world, lambda: bool(world.state.rotated and world.state.rotated > START and world.settled()))
    world.calls.clear()
    return world


def rotate(world: World) -> None:
    before = world.state.version
    if world.kind == "External":
        world.bootstrap = "value-of-a-tool"
        world.keys["tool"] = replace(world.keys["bootstrap"], id="tool", value="value-of-a-tool")
    else:
        world.policy = replace(world.policy, rotate_at=world.now)
    run(world, lambda: world.state.version != before and world.settled())


def calls_of(kind: Kind) -> list[str]:
    world = begun(kind)
    rotate(world)
    return list(world.calls)


CASES = [
    (kind, number, name, fault)
    for kind in KINDS
    for number, name in enumerate(calls_of(kind))
    for fault in (*DEATHS, *(ANSWERS if name.startswith("issuer") else ()))
]


@pytest.mark.parametrize(("kind", "number", "name", "fault"), CASES)
def test_one_valid_credential_is_left_whatever_happens(
    kind: Kind, number: int, name: str, fault: Fault
) -> None:
    world = begun(kind)
    world.fault = lambda at, _: fault if at == number else ""
    rotate(world)
    used, _ = world.given(0)
    assert used == world.stored[world.state.version or ""].value
    if kind == "External":
        assert used == "value-of-a-tool"
        return
    orphans = [value for value in world.valid if value != used]
    if kind == "DynamicRegistration" and name in {"issuer.create", "store.put"}:
        # RFC 7591 has no list: a client whose registration was not heard of can't be found
        assert len(orphans) <= 1
        if fault in {"lost", "late"} or (orphans and fault in DEATHS):
            assert any("which can't be listed" in each.message for each in world.told), world.told
    elif kind != "ManagedKey":
        assert orphans == []
    assert used in world.valid
    assert world.state.attempts == 0


HITS = st.sampled_from([*DEATHS, *ANSWERS])


@given(
    st.sampled_from([kind for kind in KINDS if kind != "Webhook"]),
    st.lists(st.tuples(st.integers(0, 12), HITS), min_size=2, max_size=4),
)
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
def test_several_faults_one_soon_after_the_other_leave_one_valid_credential(
    kind: Kind, hits: list[tuple[int, Fault]]
) -> None:
    """Each so many calls after the one before; of Webhook see `test_rotation_life`."""
    world = begun(kind)
    faults, number = {}, -1
    for later, fault in hits:
        number += 1 + later
        faults[number] = fault
    world.fault = lambda at, _: faults.get(at, "")
    rotate(world)
    used, _ = world.given(0)
    assert used == world.stored[world.state.version or ""].value
    if kind == "DynamicRegistration":
        told = [each.message for each in world.told if "which can't be listed" in each.message]
        tags = [key.tag for key in world.keys.values() if key.valid and key.tag and key.value != used]
        assert all(any(tag in message for message in told) for tag in tags), (tags, told)
        assert used in world.valid
    if kind == "External":
        assert used == "value-of-a-tool"


@pytest.mark.parametrize("fault", [*ANSWERS, "kill before", "kill after"])
@pytest.mark.parametrize("name", ["issuer.find", "issuer.create", "issuer.verify", "issuer.revoke"])
def test_a_call_that_fails_for_hours_stops_nothing_else(name: str, fault: Fault) -> None:
    world = begun("Webhook")
    before = world.state.version
    left = 6

    def fail(_: int, called: str) -> Fault:
        nonlocal left
        if called != name or not left:
            return ""
        left -= 1
        return fault

    world.fault = fail
    rotate(world)
    used, _ = world.given(0)
    assert world.valid == [used]
    assert world.state.version != before


def test_a_run_has_every_effect() -> None:
    names = {name for _, _, name, _ in CASES}
    assert names >= {
        "issuer.find",
        "issuer.create",
        "issuer.verify",
        "issuer.revoke",
        "store.save",
        "store.put",
        "store.drop",
        "store.mount",
        "gateways.ask",
        "keys.publish",
    }


@pytest.mark.parametrize("fault", DEATHS)
@pytest.mark.parametrize("number", range(16))
@pytest.mark.parametrize("kind", ["Webhook", "DynamicRegistration", "ManagedKey"])
def test_the_first_credential_is_made_where_there_is_none(kind: Kind, number: int, fault: Fault) -> None:
    world = World(kind, policy=policy(kind), bootstrap=None)
    world.fault = lambda at, _: fault if at == number else ""
    run(world, lambda: world.settled() and world.given(1)[0] is not None)
    used, _ = world.given(0)
    assert used in world.valid
    if kind == "Webhook":
        assert world.valid == [used]
