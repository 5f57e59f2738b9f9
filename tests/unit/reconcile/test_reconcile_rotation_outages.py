"""Rotations in a cluster in memory: operators that are down, clocks that are set, clients with defects."""

import asyncio
import io
import json
from collections import Counter
from datetime import datetime, timedelta

import pytest
from test_reconcile_faults import NS
from test_reconcile_rotation import (
    BOOTSTRAP,
    START,
    Issuer,
    Operator,
    Server,
    credential,
    in_virtual_time,
    now,
    put_backend,
    put_route,
    put_secret,
    settled,
    until,
)

from moltbot_operator.api import ModelBackendSpec
from moltbot_operator.kube.kinds import MODEL_BACKEND
from moltbot_operator.rotation import Credential, Found

NAMES = tuple(f"m{number}" for number in range(16))
HOUR, DAY = 3600.0, 86_400.0


class Fleet:
    """Backends with an issuer and a gateway each, which have just been rotated for the first time."""

    def __init__(self) -> None:
        self.server = Server()
        self.ahead = timedelta(0)
        """Of the operator's clock."""
        self.issuers = {name: Issuer() for name in NAMES}
        put_secret(self.server, "keys", BOOTSTRAP)
        for name in NAMES:
            put_backend(self.server, name, f"{name}.example", rotateAt="2026-01-01T00:00:00Z")
            put_route(self.server, name, pods=1)
        self.operator = self.start()

    def clock(self) -> datetime:
        return now() + self.ahead

    def start(self) -> Operator:
        self.operator = Operator(self.server, self._issuer_of, self.clock)
        self.operator.poke(*NAMES)
        return self.operator

    def _issuer_of(self, spec: ModelBackendSpec) -> Issuer:
        assert spec.rotation
        assert spec.rotation.issuer.webhook
        host = (spec.rotation.issuer.webhook.url or "").removeprefix("https://")
        return self.issuers[host.removesuffix(".example")]

    def made(self) -> Counter[int]:
        """How many backends had how many credentials made."""
        return Counter(each.made for each in self.issuers.values())

    def whole(self) -> bool:
        return all(settled(self.server, self.issuers[name], name) for name in NAMES)

    def most_in_a_minute(self) -> int:
        times = [credential(self.server, name)["lastRotationTime"] for name in NAMES]
        minutes = Counter(int((datetime.fromisoformat(each) - START).total_seconds() // 60) for each in times)
        return max(minutes.values())


def test_an_operator_that_was_down_for_5_days_rotates_each_once_and_not_all_together() -> None:
    async def run() -> None:
        fleet = Fleet()
        await until(fleet.whole)
        await fleet.operator.rotations.close()
        await asyncio.sleep(5 * DAY)
        assert fleet.made() == {1: len(NAMES)}
        fleet.start()
        await until(lambda: set(fleet.made()) == {2} and fleet.whole())
        assert fleet.most_in_a_minute() <= len(NAMES) / 2
        await asyncio.sleep(60 * HOUR)
        assert fleet.made() == {2: len(NAMES)}
        assert fleet.whole()
        await fleet.operator.rotations.close()

    in_virtual_time(run())


def test_a_clock_that_is_set_a_week_ahead_and_back_or_back_an_hour_rotates_each_once_at_most() -> None:
    async def run() -> None:
        fleet = Fleet()
        await until(fleet.whole)
        fleet.ahead += timedelta(days=7)
        await asyncio.sleep(3 * HOUR)
        assert fleet.made() == {2: len(NAMES)}, "they are overdue by this clock"
        assert fleet.whole()
        assert fleet.most_in_a_minute() <= len(NAMES) / 2
        fleet.ahead -= timedelta(days=7)
        await asyncio.sleep(30 * HOUR)
        fleet.ahead -= timedelta(hours=1)
        await asyncio.sleep(30 * HOUR)
        assert fleet.made() == {2: len(NAMES)}
        await asyncio.sleep(20 * HOUR)
        assert fleet.made() == {3: len(NAMES)}, "and the next rotation is not a week late"
        assert fleet.whole()
        await fleet.operator.rotations.close()

    in_virtual_time(run())


class Defective(Issuer):
    """One of its calls ends by a defect, once before and once after its effect; frames hold secrets then."""

    def __init__(self, call: str, when: str) -> None:
        super().__init__()
        self.left = [(call, when)]

    def _break(self, call: str, when: str, held: object) -> None:
        if (call, when) in self.left:
            self.left.remove((call, when))
            secret = (BOOTSTRAP, held, self.keys)
            raise TypeError(f"a defect, with {len(secret)} variables")

    async def find(self, prefix: str) -> tuple[Found, ...]:
        self._break("find", "before", prefix)
        found = await super().find(prefix)
        self._break("find", "after", found)
        return found

    async def create(self, tag: str) -> Credential:
        self._break("create", "before", tag)
        made = await super().create(tag)
        self._break("create", "after", made)
        return made

    async def verify(self, credential: Credential) -> None:
        self._break("verify", "before", credential)
        await super().verify(credential)
        self._break("verify", "after", credential)

    async def revoke(self, known: Found | Credential) -> None:
        self._break("revoke", "before", known)
        await super().revoke(known)
        self._break("revoke", "after", known)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("call", ["find", "create", "verify", "revoke"])
def test_a_defect_in_any_call_is_logged_with_its_frames_and_no_secret_and_is_got_over(
    call: str, when: str, operator_log: io.StringIO
) -> None:
    async def run() -> None:
        server, issuer = Server(), Defective(call, when)
        put_secret(server, "keys", BOOTSTRAP)
        put_backend(server, "pro", rotateAt="2026-01-01T00:00:00Z")
        put_route(server, "pro")
        operator = Operator(server, lambda _: issuer)
        operator.poke("pro")
        await until(lambda: settled(server, issuer))
        if issuer.left:  # what a person made has no id to be revoked by
            backend = server.objects[MODEL_BACKEND, NS, "pro"]
            backend["spec"]["rotation"]["rotateAt"] = now().isoformat()
            backend["metadata"]["generation"] += 1
            operator.poke("pro")
            await until(lambda: not issuer.left and settled(server, issuer))
        await operator.rotations.close()
        crashed = [
            each for each in operator_log.getvalue().splitlines() if "a defect, with 3 variables" in each
        ]
        assert len(crashed) == 1
        assert "_break" in crashed[0]
        told = json.dumps([server.objects[MODEL_BACKEND, NS, "pro"], server.told, server.writes])
        assert "secret-" not in operator_log.getvalue() + told

    in_virtual_time(run())
