"""A world for rotations: issuer, store and gateways in memory, which can be hit by every fault at every call.

The world checks at each moment what must always hold: whatever a gateway uses was taken by the backend once
and is valid now, unless nothing can be done about it (a leaked one that is being replaced).
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Literal

from moltbot_operator.errors import ClusterError, NothingHappened, NotOurs, Refused, Unclear
from moltbot_operator.rotation.driver import Driver, Surroundings
from moltbot_operator.rotation.issuing import Credential, Found
from moltbot_operator.rotation.local import ExternalIssuer
from moltbot_operator.rotation.state import Mounted, Phase, Policy, State
from moltbot_operator.rotation.telling import Announcement

START = datetime(2026, 1, 1, tzinfo=UTC)
UID = "uid-1"
BOOTSTRAP = "value-of-a-person"
PICK_UP = timedelta(seconds=2)
CACHED, LIFE = timedelta(minutes=5), timedelta(minutes=10)
"""How long a verifier keeps a JWKS, and a token lives."""
KEYS = Policy(
    interval=timedelta(hours=72),
    overlap=timedelta(seconds=0),
    settle=CACHED + timedelta(seconds=30),
    keep=LIFE + CACHED + timedelta(minutes=1),
    managed=True,
)
"""Of a managed key, for these."""

Kind = Literal["Webhook", "DynamicRegistration", "ManagedKey", "External"]
Fault = Literal[
    "", "kill before", "kill after", "nothing", "refuse", "unclear", "lost", "late", "hang", "store"
]


_ERRORS: dict[str, Exception] = {
    "nothing": NothingHappened("connection refused (made up)"),
    "refuse": Refused("403 (made up)"),
    "unclear": Unclear("502 (made up)"),
    "hang": TimeoutError(),
}


class Killed(BaseException):
    """The operator's process ended here."""


@dataclass
class Key:
    """A credential at the issuer."""

    id: str
    tag: str
    value: str
    valid: bool = True
    end: datetime | None = None
    """When it expires."""


@dataclass
class World:
    """Everything outside of the driver. `fault` says what happens to the n-th call (from 0)."""

    kind: Kind = "Webhook"
    fault: Callable[[int, str], Fault] = lambda _, __: ""
    real: datetime = START
    skew: timedelta = timedelta(0)
    """How far the operator's clock is from the real time; changed between two operators."""
    jumps: list[tuple[datetime, timedelta]] = field(default_factory=list)
    """When the clock is set, and by how much, while an operator runs."""
    keys: dict[str, Key] = field(default_factory=dict)
    state: State = field(default_factory=State)
    stored: dict[str, Credential] = field(default_factory=dict)
    mounted_now: Mounted = field(default_factory=Mounted)
    gateways: int = 2
    bootstrap: str | None = BOOTSTRAP
    calls: list[str] = field(default_factory=list)
    told: list[Announcement] = field(default_factory=list)
    taken: set[str] = field(default_factory=set)
    promoted_values: list[str] = field(default_factory=list)
    policy: Policy = field(default_factory=lambda: Policy(timedelta(hours=72), timedelta(minutes=15)))
    caches_jwks: bool = True
    refuse_all: bool = False
    life: timedelta | None = None
    """Of each credential that the issuer makes."""

    def __post_init__(self) -> None:
        self.lists = self.kind != "DynamicRegistration"
        self._made = 0
        self._ids = 0
        self._late: list[tuple[datetime, Key]] = []
        self._mounts: list[tuple[datetime, Mounted]] = []
        self._jwks: frozenset[str] = frozenset()
        self._sets: list[tuple[datetime, frozenset[str]]] = []
        self._verifier: tuple[datetime, frozenset[str]] = (START - timedelta(days=1), frozenset())
        self._external = ExternalIssuer(self.read, self._verified)
        if self.bootstrap is not None:
            self.keys["bootstrap"] = Key("bootstrap", "", self.bootstrap)
            self.taken.add(self.bootstrap)

    @property
    def now(self) -> datetime:
        """As the operator's clock shows it."""
        return self.real + self.skew + sum((by for at, by in self.jumps if at <= self.real), timedelta(0))

    # what happens to each call

    async def _hit(self, name: str, effect: Callable[[], object]) -> None:
        number = len(self.calls)
        self.calls.append(name)
        self._arrive()
        fault = self.fault(number, name)
        issuer = name.startswith("issuer")
        if fault == "kill before":
            raise Killed
        if fault == "store" and not issuer:
            raise ClusterError("no answer from the API server (made up)")
        if issuer and fault in _ERRORS:
            raise _ERRORS[fault]
        if issuer and fault == "late":
            before = set(self.keys)
            effect()
            for id_ in set(self.keys) - before:
                self._late.append((self.real + timedelta(minutes=2), self.keys.pop(id_)))
            raise Unclear("cut (made up)")
        effect()
        self.check()
        if issuer and fault == "lost":
            raise Unclear("cut after it was done (made up)")
        if fault == "kill after":
            raise Killed

    def _arrive(self) -> None:
        for due, key in list(self._late):
            if due <= self.real:
                self.keys[key.id] = key
                self._late.remove((due, key))

    # the issuer

    async def find(self, prefix: str) -> tuple[Found, ...]:
        await self._hit("issuer.find", lambda: None)
        if not self.lists or self.kind in {"ManagedKey", "External"}:
            return ()
        return tuple(
            Found(key.id, key.tag) for key in self.keys.values() if key.valid and key.tag.startswith(prefix)
        )

    async def create(self, tag: str) -> Credential:
        made: list[Key] = []

        def make() -> None:
            self._made += 1
            end = None if self.life is None else self.real + self.life
            key = Key(f"id-{self._made}", tag, f"value-{self._made}", end=end)
            made.append(key)
            self.keys[key.id] = key

        if self.kind == "External":
            copy = await self._external.create(tag)
            await self._hit("issuer.create", lambda: None)
            return copy
        await self._hit("issuer.create", make)
        [key] = made
        kept = {"registration_access_token": f"token-{self._made}"}
        return Credential(key.id, tag, key.value, kept, key.end)

    async def verify(self, credential: Credential) -> None:
        await self._hit("issuer.verify", lambda: None)
        await self._verified(credential)

    async def _verified(self, credential: Credential) -> None:
        if self.refuse_all or not self._works(credential.value):
            raise Refused("401 (made up)")
        self.taken.add(credential.value)

    async def revoke(self, known: Found | Credential) -> None:
        if isinstance(known, Credential) and not known.id:
            if self.kind == "External":
                await self._hit("issuer.revoke", lambda: None)
                return
            raise NotOurs("made by a person")

        def end() -> None:
            if known.id in self.keys and self.kind != "External":
                self.keys[known.id].valid = False

        await self._hit("issuer.revoke", end)

    def _works(self, value: str) -> bool:
        if not any(key.valid and key.value == value for key in self.keys.values()):
            return False
        if self.kind != "ManagedKey":
            return True
        read, known = self._verifier
        if not self.caches_jwks or self.real - read >= self.policy.settle:
            known = self._jwks
            self._verifier = (self.real, known)
        return value in known or value == BOOTSTRAP

    # the store

    async def load(self) -> State:
        await self._hit("store.load", lambda: None)
        return self.state

    async def save(self, state: State) -> None:
        await self._hit("store.save", lambda: setattr(self, "state", state))

    async def versions(self) -> Mapping[str, datetime | None]:
        return {version: credential.not_after for version, credential in self.stored.items()}

    async def get(self, version: str) -> Credential | None:
        return self.stored.get(version)

    async def put(self, version: str, credential: Credential) -> None:
        await self._hit("store.put", lambda: self.stored.setdefault(version, credential))

    async def drop(self, version: str) -> None:
        await self._hit("store.drop", lambda: self.stored.pop(version, None))
        self._publish()

    async def mounted(self) -> Mounted:
        return self.mounted_now

    async def mount(self, mounted: Mounted) -> None:
        await self._hit("store.mount", lambda: self._mount(mounted))

    def _mount(self, mounted: Mounted) -> None:
        if mounted.value != self.mounted_now.value and mounted.value is not None:
            value = self.stored[mounted.value].value
            assert value in self.taken, "an unverified credential came into use"
            self.promoted_values.append(value)
        self.mounted_now = mounted
        self._mounts.append((self.real, mounted))

    # gateways, which pick up what is mounted one after the other

    def given(self, gateway: int) -> tuple[str | None, str | None]:
        """What a gateway uses and what it holds."""
        known = [m for at, m in self._mounts if self.real - at >= PICK_UP * (gateway + 1)]
        mounted = known[-1] if known else Mounted()
        values = (mounted.value, mounted.next)
        return tuple(self._values.get(each or "") for each in values)  # type: ignore[return-value]

    @property
    def _values(self) -> dict[str, str]:
        self._seen = getattr(self, "_seen", {}) | {v: c.value for v, c in self.stored.items()}
        seen: dict[str, str] = self._seen
        return seen

    async def ask(self, value: str, question: str, *, urgent: bool) -> str:  # noqa: ARG002
        await self._hit("gateways.ask", lambda: None)
        for gateway in range(self.gateways):
            used, held = self.given(gateway)
            if used is not None and value != used and not (question == "holds" and value == held):
                return f"gateway {gateway} does not"
        return ""

    def check(self) -> None:
        """What must hold at any moment."""
        for gateway in range(self.gateways):
            used, _ = self.given(gateway)
            leaked = self.stored.get(self.policy.compromised or "")
            if used is None or (leaked is not None and leaked.value == used) or self.refuse_all:
                continue
            assert used in self.taken, f"gateway {gateway} uses an unverified credential"
            assert any(key.valid and key.value == used for key in self.keys.values()), (
                f"gateway {gateway} uses a revoked credential"
            )

    # the rest

    async def read(self) -> Credential | None:
        return None if self.bootstrap is None else Credential("", "", self.bootstrap)

    async def published(self) -> frozenset[str]:
        return frozenset(v for v, each in self.stored.items() if each.value in self._jwks)

    async def publish(self) -> None:
        await self._hit("keys.publish", self._publish)

    def _publish(self) -> None:
        self._jwks = frozenset(each.value for each in self.stored.values())
        self._sets.append((self.real, self._jwks))

    def unverifiable(
        self, life: timedelta, cached: timedelta, leaked: frozenset[str] = frozenset()
    ) -> list[str]:
        """Keys of which some verifier, which keeps a JWKS so long, could not verify some token.

        A token that a gateway signed while it used the key lives for `life`; a verifier has any set that was
        published within `cached` before it is shown the token, and fetches none before that is over. Gateways
        sign until they have picked up the next key. What is given up because of a leak need not be verifiable
        after that.
        """
        spans: dict[str, tuple[datetime, datetime]] = {}
        values = [(at, self._values.get(mounted.value or "")) for at, mounted in self._mounts]
        for number, (at, value) in enumerate(values):
            if value is None or value == BOOTSTRAP:
                continue
            later = [when for when, other in values[number:] if other != value]
            end = (later[0] if later else self.real) + PICK_UP * self.gateways
            first, last = spans.get(value, (at, end))
            spans[value] = (min(first, at), max(last, end))
        return [
            value
            for value, (first, last) in spans.items()
            if not self._published_throughout(
                value, first - cached, last if value in leaked else min(last + life, self.real)
            )
        ]

    def _published_throughout(self, value: str, begin: datetime, end: datetime) -> bool:
        before = [keys for at, keys in self._sets if at <= begin][-1:]
        within = [keys for at, keys in self._sets if begin < at < end]
        return bool(before) and all(value in keys for keys in [*before, *within])

    async def tell(self, announcement: Announcement) -> None:
        self.told.append(announcement)

    def fresh(self) -> str:
        self._ids += 1
        return f"v{self._ids}"

    def driver(self) -> Driver:
        """By an operator that has just started."""
        keys = self if self.kind == "ManagedKey" else None
        around = Surroundings(
            UID,
            self,
            self,
            self,
            self,
            keys,
            lambda: self.now,
            self.fresh,
            self.tell,  # type: ignore[arg-type]
            lambda: self.real - START,
        )
        return Driver(around)

    async def live(self, until: Callable[[], bool], most: timedelta = timedelta(days=2)) -> None:
        """Time passes, operators die and come back, until it is so; AssertionError if it takes too long."""
        end, driver = self.real + most, self.driver()
        for _ in range(3000):
            pause = timedelta(seconds=1)
            try:
                again = await driver.advance(self.policy)
                if until():
                    return
                pause = max(again - self.now, pause) if again is not None else timedelta(minutes=1)
            except Killed:
                driver = self.driver()
            except ClusterError:
                pass
            self.real += min(pause, timedelta(hours=1))
            self._arrive()
            self.check()
            assert self.real < end, f"not within {most}: {self.state}"
        raise AssertionError(f"goes round and round: {self.state}")

    @property
    def valid(self) -> list[str]:
        """Values that work at the issuer."""
        return sorted(key.value for key in self.keys.values() if key.valid and key.tag)

    def settled(self) -> bool:
        """Nothing is under way, nothing is left over."""
        state = self.state
        quiet = state.phase is Phase.IDLE and state.version is not None and state.sweep is None
        return quiet and set(self.stored) - {state.spare} == {state.version} and not self._late


def run(world: World, until: Callable[[], bool], most: timedelta = timedelta(days=2)) -> None:
    asyncio.run(world.live(until, most))


def pass_time(world: World, span: timedelta) -> None:
    end = world.real + span
    run(world, lambda: world.real >= end, span + timedelta(days=1))


def set_clock(world: World, what: str, minutes: int) -> None:
    """Before the next operator begins (`ahead`, `back`), or amid its next minutes (`jump`)."""
    if what == "ahead":
        world.skew += timedelta(days=7)
    elif what == "back":
        world.skew -= timedelta(hours=1)
    elif what == "jump":
        world.jumps.append((world.real + timedelta(minutes=minutes / 2), timedelta(days=7)))
