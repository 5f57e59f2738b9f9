"""What a rotation does over days: clocks that jump, leaks, new credentials that stop working, any mixture."""

from dataclasses import replace
from datetime import timedelta
from itertools import combinations, product

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rotation_world import CACHED, KEYS, LIFE, START, UID, Fault, World, pass_time, run, set_clock

from moltbot_operator.rotation.actions import Verify
from moltbot_operator.rotation.machine import View, decide
from moltbot_operator.rotation.state import Facts, Mounted, Phase, Policy, State
from moltbot_operator.rotation.timing import LATE, clamp, next_due, share_of, start_of

HOURS = timedelta(hours=1)


def rotated(world: World) -> None:
    """A first rotation, so that what is in use is the issuer's own."""
    world.policy = replace(world.policy, rotate_at=world.now)
    run(world, lambda: bool(world.state.rotated and world.state.rotated > START and world.settled()))


@pytest.fixture
def world() -> World:
    made = World()
    run(made, lambda: made.state.version is not None and made.given(1)[0] is not None)
    rotated(made)
    return made


def test_each_interval_has_one_rotation(world: World) -> None:
    made = world._made
    pass_time(world, timedelta(days=30))
    assert 9 <= world._made - made <= 11
    assert len(world.valid) == 1


def test_a_clock_that_jumps_a_week_ahead_and_back_rotates_once(world: World) -> None:
    made = world._made
    world.skew += timedelta(days=7)
    pass_time(world, 2 * HOURS)
    assert world._made == made + 1
    world.skew -= timedelta(days=7)
    pass_time(world, 60 * HOURS)
    assert world._made == made + 1
    pass_time(world, 20 * HOURS)
    assert world._made == made + 2, "and the next one comes in its time, not a week late"


def test_a_clock_that_is_set_back_an_hour_in_any_phase_does_no_harm(world: World) -> None:
    for phase in (Phase.PREPARED, Phase.ISSUED, Phase.DISTRIBUTED, Phase.PROMOTED, Phase.OVERLAP):
        made = world._made
        world.policy = replace(world.policy, rotate_at=world.now)
        run(world, lambda phase=phase: world.state.phase is phase or world.settled())  # type: ignore[misc]
        world.skew -= HOURS
        run(world, lambda made=made: world._made > made and world.settled())  # type: ignore[misc]
        assert world._made == made + 1
        assert len(world.valid) == 1


def test_a_leaked_credential_is_replaced_and_revoked_without_the_overlap(world: World) -> None:
    leaked = world.state.version
    world.policy = replace(world.policy, compromised=leaked)
    began = world.now
    run(world, lambda: world.state.version != leaked and world.settled())
    assert world.now - began < timedelta(minutes=1), "gateways need some seconds here, and nothing else waits"
    made = world._made
    pass_time(world, 10 * HOURS)
    assert world._made == made, "the same request is not carried out again"


def test_a_leak_while_the_replacement_is_under_way_shortens_it(world: World) -> None:
    leaked, made = world.state.version, world._made
    world.policy = replace(world.policy, rotate_at=world.now)
    run(world, lambda: world.state.phase is Phase.OVERLAP)
    world.policy = replace(world.policy, compromised=leaked)
    began = world.now
    run(world, world.settled)
    assert world.now - began < timedelta(minutes=1)
    assert world._made == made + 1


def test_a_leak_of_a_version_that_is_not_in_use_yet_discards_it(world: World) -> None:
    used = world.state.version
    world.policy = replace(world.policy, rotate_at=world.now)
    run(world, lambda: world.state.phase is Phase.DISTRIBUTED)
    leaked = world.state.pending or ""
    value = world.stored[leaked].value
    world.policy = replace(world.policy, compromised=leaked)
    run(world, lambda: leaked not in world.stored)
    assert value not in world.valid
    assert world.state.version == used


def test_an_issuer_that_is_down_while_a_key_is_leaked_is_asked_again_and_again_but_not_in_a_storm(
    world: World,
) -> None:
    world.policy = replace(world.policy, compromised=world.state.version)
    world.fault = lambda _, name: "nothing" if name.startswith("issuer") else ""
    before = len(world.calls)
    pass_time(world, 10 * HOURS)
    assert world.state.attempts >= 10
    assert len(world.calls) - before < 200
    world.fault = lambda _, __: ""
    run(world, world.settled)


def test_a_new_credential_that_stops_working_in_the_overlap_is_left_again(world: World) -> None:
    old = world.stored[world.state.version or ""].value
    world.policy = replace(world.policy, rotate_at=world.now)
    run(world, lambda: world.state.phase is Phase.OVERLAP)
    new = world.stored[world.state.version or ""].value
    [key] = [key for key in world.keys.values() if key.value == new]
    key.value = "changed by somebody"
    world.taken.discard(new)
    world.check = lambda: None  # type: ignore[method-assign]  # it is broken until it is seen
    run(world, lambda: world.state.reverted)
    run(world, lambda: world.given(1)[0] == old)
    assert any(each.reason == "CredentialReverted" for each in world.told)
    run(world, lambda: world.state.attempts == 0 and world.settled())
    assert world.stored[world.state.version or ""].value not in {old, new}


def test_the_old_one_lives_while_nobody_knows_whether_the_new_one_works(world: World) -> None:
    old = world.stored[world.state.version or ""].value
    world.policy = replace(world.policy, rotate_at=world.now)
    run(world, lambda: world.state.phase is Phase.OVERLAP)
    world.fault = lambda _, name: "nothing" if name == "issuer.verify" else ""
    pass_time(world, 24 * HOURS)
    assert old in world.valid
    assert world.state.phase is Phase.OVERLAP
    world.fault = lambda _, __: ""
    run(world, world.settled)
    assert old not in world.valid


def test_a_gateway_that_never_gets_it_keeps_the_old_one_alive(world: World) -> None:
    old = world.state.version
    world.policy = replace(world.policy, rotate_at=world.now)
    given = world.given
    world.given = lambda gateway: given(gateway) if gateway == 0 else (world.stored[old or ""].value, None)  # type: ignore[method-assign]
    pass_time(world, 6 * HOURS)
    assert world.state.phase is Phase.DISTRIBUTED
    assert world.state.version == old
    assert "gateway 1" in world.state.message
    world.given = given  # type: ignore[method-assign]
    run(world, world.settled)
    assert world.state.version != old


def test_a_lost_status_is_found_again_by_what_gateways_are_given(world: World) -> None:
    version = world.state.version
    world.state = State()
    pass_time(world, HOURS)
    assert world.state.version == version
    assert len(world.valid) == 1


@pytest.mark.parametrize("fault", ["lost", "late"])
def test_a_status_lost_after_an_answer_was_lost_leaves_no_orphan(world: World, fault: Fault) -> None:
    lost: list[str] = []

    def fail(_: int, name: str) -> Fault:
        if name != "issuer.create" or lost:
            return ""
        lost.append(name)
        return fault

    world.fault = fail
    world.policy = replace(world.policy, rotate_at=world.now)
    run(world, lambda: world.state.attempts == 1)
    assert lost
    world.policy = replace(world.policy, rotate_at=None)
    world.state = State()
    pass_time(world, 10 * timedelta(minutes=1))
    assert world.settled()
    assert world.valid == [world.given(1)[0]]


def test_a_status_lost_in_the_overlap_leaves_one_valid_credential(world: World) -> None:
    world.policy = replace(world.policy, rotate_at=world.now)
    run(world, lambda: world.state.phase is Phase.OVERLAP)
    world.policy = replace(world.policy, rotate_at=None)
    world.state = State()
    run(world, world.settled)
    assert world.valid == [world.stored[world.state.version or ""].value]


def test_an_expiring_credential_is_replaced_before_its_end() -> None:
    policy = Policy(timedelta(days=30), timedelta(minutes=15), share=0.5)
    due = next_due(policy, START, START + timedelta(days=10))
    assert START + timedelta(days=6) < due < START + timedelta(days=8)


@given(st.lists(st.uuids(), min_size=1000, max_size=1000, unique=True))
@settings(max_examples=5, deadline=None, suppress_health_check=list(HealthCheck))
def test_what_is_missed_together_is_caught_up_with_over_ten_minutes(uids: list[object]) -> None:
    starts = []
    for uid in uids:
        policy = Policy(timedelta(hours=72), timedelta(0), share=share_of(str(uid)))
        starts.append(start_of(START - timedelta(days=5), policy, START))
    assert min(starts) >= START
    assert max(starts) <= START + timedelta(minutes=10)
    minutes = [int((each - START) / timedelta(minutes=1)) for each in starts]
    assert max(minutes.count(minute) for minute in set(minutes)) < 200
    soon = start_of(START, Policy(timedelta(hours=72), timedelta(0)), START + LATE / 2)
    assert soon == START, "one that was not missed runs at its time"


def test_a_time_that_is_too_far_ahead_is_brought_back() -> None:
    policy = Policy(timedelta(hours=72), timedelta(minutes=15))
    state = State(
        due=START + timedelta(days=10), retry=START + timedelta(days=1), until=START + timedelta(days=1)
    )
    bound = clamp(state, policy, START)
    assert bound.due == START + timedelta(hours=72)
    assert bound.retry == START + timedelta(hours=1)
    assert bound.until == START + timedelta(minutes=15)
    assert clamp(bound, policy, START) == bound
    assert Facts().stored == {}


FAULTS = st.sampled_from(
    [
        "",
        "",
        "",
        "",
        "kill before",
        "kill after",
        "store",
        "nothing",
        "refuse",
        "unclear",
        "lost",
        "late",
        "hang",
    ]
)
EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["rotateAt", "compromised", "ahead", "jump", "back", "forget", "pass"]),
        st.integers(1, 60),
        st.lists(FAULTS, max_size=12),
    ),
    max_size=6,
)


@given(EVENTS)
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
def test_after_any_mixture_one_valid_credential_is_in_use(events: list[tuple[str, int, list[str]]]) -> None:
    world = World()
    run(world, lambda: world.state.version is not None and world.given(1)[0] is not None)
    rotated(world)
    for what, minutes, faults in events:
        first = len(world.calls)
        world.fault = lambda at, _, first=first, faults=faults: (  # type: ignore[assignment,misc]
            faults[at - first] if at - first < len(faults) else ""
        )
        if what == "rotateAt":
            world.policy = replace(world.policy, rotate_at=world.now)
        elif what == "compromised":
            world.policy = replace(world.policy, compromised=world.state.version)
        elif what == "forget" and world.state.phase is Phase.IDLE:
            world.state = State()
        else:
            set_clock(world, what, minutes)
        pass_time(world, timedelta(minutes=minutes))
    world.fault = lambda _, __: ""
    run(world, lambda: world.settled() and world.state.attempts == 0, timedelta(days=6))
    used, _ = world.given(1)
    assert world.valid == [used]
    assert set(world.stored) == {world.state.version}
    assert all(key.tag.startswith(f"moltbot-{UID}-") or not key.tag for key in world.keys.values())


HITS = ["kill before", "kill after", "store", "nothing", "refuse", "unclear", "lost", "late", "hang"]


@pytest.mark.parametrize("compromised", [False, True])
@pytest.mark.parametrize(("one", "other"), list(combinations(range(1, 7), 2)))
def test_any_two_faults_around_the_making_leave_one_valid_credential(
    one: int, other: int, compromised: bool
) -> None:
    """The calls are: save, find, create, then save and put, or after a restart load, find, revoke, create."""
    for first, second in product(HITS, HITS):
        world = World()
        run(world, lambda world=world: world.state.version is not None and world.given(1)[0] is not None)  # type: ignore[misc]
        rotated(world)
        begin = len(world.calls)
        faults = {begin + one: first, begin + other: second}
        world.fault = lambda at, _, faults=faults: faults.get(at, "")  # type: ignore[assignment,misc]
        world.policy = replace(world.policy, rotate_at=world.now)
        if compromised:
            world.policy = replace(world.policy, compromised=world.state.version)
        pass_time(world, timedelta(minutes=1))
        run(
            world,
            lambda world=world: world.settled() and world.state.attempts == 0,  # type: ignore[misc]
            timedelta(days=6),
        )
        assert world.valid == [world.given(1)[0]], (first, second)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["rotateAt", "ahead", "jump", "back", "pass"]),
            st.integers(1, 90),
            st.lists(FAULTS, max_size=12),
        ),
        max_size=6,
    )
)
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_no_token_is_ever_unverifiable_by_a_verifier_that_keeps_the_jwks(
    events: list[tuple[str, int, list[str]]],
) -> None:
    world = World("ManagedKey", policy=KEYS)
    run(world, lambda: world.state.version is not None and world.given(1)[0] is not None)
    for what, minutes, faults in events:
        first = len(world.calls)
        world.fault = lambda at, _, first=first, faults=faults: (  # type: ignore[assignment,misc]
            faults[at - first] if at - first < len(faults) else ""
        )
        if what == "rotateAt":
            world.policy = replace(world.policy, rotate_at=world.now)
        else:
            set_clock(world, what, minutes)
        pass_time(world, timedelta(minutes=minutes))
    world.fault = lambda _, __: ""
    world.policy = replace(world.policy, rotate_at=world.now)
    run(world, lambda: world.settled() and world.state.attempts == 0, timedelta(days=6))
    assert world.unverifiable(LIFE, CACHED) == []
    assert len({value for value in world.promoted_values if value != "value-of-a-person"}) >= 1


@pytest.mark.parametrize("shorter", ["settle", "keep"])
def test_a_key_that_is_published_too_late_or_too_short_is_seen(shorter: str) -> None:
    world = World("ManagedKey", policy=replace(KEYS, **{shorter: timedelta(seconds=20)}), caches_jwks=False)
    run(world, lambda: world.state.version is not None and world.given(1)[0] is not None)
    for _ in range(2):
        before = world.state.version
        # Only leaks leave no time in which the next key could become known by itself.
        asked = {"compromised": before} if shorter == "settle" else {"rotate_at": world.now}
        world.policy = replace(world.policy, **asked)  # type: ignore[arg-type]
        run(world, lambda before=before: world.state.version != before and world.settled())  # type: ignore[misc]
    pass_time(world, LIFE)
    ends = frozenset(world._values.values()) if shorter == "settle" else frozenset()
    assert world.unverifiable(LIFE, CACHED, ends) != []


@pytest.mark.parametrize("own", [True, False])
def test_a_key_of_our_own_that_was_taken_away_is_waited_for_no_longer(own: bool) -> None:
    end = START + HOURS
    state = State(phase=Phase.OVERLAP, version="v2", previous="v1", until=end, due=START + 72 * HOURS)
    facts = Facts(stored={"v2": None}, mounted=Mounted("v2"))
    view = View(facts, Policy(72 * HOURS, HOURS, own=own), START, lambda: "v3")
    step = decide(state, view)
    assert step.action == (Verify("v2") if own else None)
    assert step.again == (None if own else end)
    kept = replace(view, facts=replace(facts, stored={"v1": None, "v2": None}))
    assert decide(state, kept).again == end
