"""Telling pods whether their clients shall leave: those of revisions that the Service left, and no others.

A client that keeps its connection would stay with the old pods until these drain. What a pod does about it is
described in :mod:`moltbot_agent.leaving`: it goes on serving, so telling one too late, twice or wrongly costs
connections and never a request.

Nothing of it is durable: each look compares what should be with what was told lately, tells what differs,
and tells everything again once a minute. So an operator that died in between, or a pod that was not reached,
is made up for.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Protocol

from moltbot_operator.compile.workloads import Owner
from moltbot_operator.kube.cache import Cache
from moltbot_operator.kube.cluster import Manifest
from moltbot_operator.reconcile.evidence import EvidenceUnavailable
from moltbot_operator.reconcile.observe import ready_pods
from moltbot_operator.rollout import Plan

__all__ = ["Leaving", "Teller", "departures"]

KNOWN: Final = timedelta(seconds=55)
"""How long a pod is taken to know what it was told; a little less than between looks at a settled route."""

AGAIN: Final = timedelta(seconds=2)
"""After which a pod that was not reached is told again; twice as long after each further time."""

LATEST: Final = timedelta(seconds=30)
"""Longest pause before a pod that was not reached is told again."""


class Teller(Protocol):
    """Tells one pod."""

    async def tell(self, pod: dict[str, Any], token: str, *, leaving: bool) -> None:
        """The pod knows, or is of a release that can't; EvidenceUnavailable if it was not reached."""


@dataclass(frozen=True)
class _Told:
    leaving: bool
    again: datetime
    """When it is told anew: it is known until then, or was not reached and is left alone until then."""
    pause: timedelta | None = None
    """What there is until then, where it was not reached."""


def departures(plan: Plan, serves: str | None) -> Mapping[str, bool]:
    """Whether the clients of a revision shall leave, by revision; those that need not be told are left out.

    `serves`: the one that the Service is known to select. While that is not the active one, nobody is told.
    """
    if serves is None or serves != plan.active:
        return {}
    left = {each.revision for each in plan.state.old} | {plan.state.rollback_to}
    return {serves: False, **{name: True for name in left if name not in {None, serves}}}


class Leaving:
    """What pods of all routes were told."""

    def __init__(self, cache: Cache, teller: Teller | None, clock: Callable[[], datetime]) -> None:
        """Without a teller nobody is told."""
        self._cache = cache
        self._teller = teller
        self._clock = clock
        self._told: dict[tuple[str, str], dict[str, _Told]] = {}

    async def tell(self, owner: Owner, token: str, plan: Plan, serves: str | None) -> timedelta | None:
        """Tell the route's pods what they do not know; when to look again, None if all know."""
        if self._teller is None:
            return None
        now = self._clock()
        wanted = {
            str(pod["metadata"]["uid"]): (pod, leaving)
            for revision, leaving in departures(plan, serves).items()
            for pod in ready_pods(self._cache, owner, revision)
        }
        place = (owner.namespace, owner.name)
        before = self._told.get(place, {})
        due = [uid for uid, (_, leaving) in wanted.items() if _due(before.get(uid), leaving, now)]
        told = await asyncio.gather(*(self._one(*wanted[uid], token, before.get(uid), now) for uid in due))
        after = {uid: each for uid, each in before.items() if uid in wanted} | dict(
            zip(due, told, strict=True)
        )
        self._told[place] = after
        return min((each.again - now for each in after.values() if each.pause), default=None)

    def forget(self, namespace: str, name: str) -> None:
        """The route is gone."""
        self._told.pop((namespace, name), None)

    async def _one(
        self, pod: Manifest, leaving: bool, token: str, before: _Told | None, now: datetime
    ) -> _Told:
        assert self._teller is not None  # noqa: S101 — the caller has looked
        try:
            await self._teller.tell(pod, token, leaving=leaving)
        except EvidenceUnavailable:
            before = before if before and before.leaving == leaving else None
            pause = min(2 * before.pause, LATEST) if before and before.pause else AGAIN
            return _Told(leaving, now + pause, pause)
        return _Told(leaving, now + KNOWN)


def _due(told: _Told | None, leaving: bool, now: datetime) -> bool:
    return told is None or told.leaving != leaving or now >= told.again
