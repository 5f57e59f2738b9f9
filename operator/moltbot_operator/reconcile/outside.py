"""Asking the world outside what a rollout has to know: one coroutine for each kind of effect."""

from base64 import b64decode
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, assert_never

from moltbot_operator.api import Rollout, SecretKeyRef
from moltbot_operator.compile.workloads import Owner
from moltbot_operator.errors import ClusterError, NotFound
from moltbot_operator.kube.cluster import Cluster
from moltbot_operator.kube.kinds import SECRET
from moltbot_operator.reconcile.measuring import Measurer
from moltbot_operator.rollout import (
    AskGate,
    Delivered,
    Effect,
    Measure,
    Measurement,
    Notify,
    Result,
    RunTests,
    Trouble,
)
from moltbot_operator.rollout.ports import EffectError, GateAnswer, Ports, RolloutEvent, TestOutcome

__all__ = ["Outside", "Performance"]

Performance = Callable[[Effect], Coroutine[Any, Any, Result]]
"""Asks, and gives the answer; raises only for defects."""


@dataclass(frozen=True)
class Outside:
    """The world outside of one route, as its spec sees it."""

    owner: Owner
    settings: Rollout
    cluster: Cluster
    ports: Ports | None
    measurer: Measurer

    async def __call__(self, effect: Effect) -> Result:
        """The answer; Trouble where there is none."""
        try:
            return await self._perform(effect)
        except (EffectError, ClusterError) as error:
            return Trouble(str(error))

    async def _perform(self, effect: Effect) -> Result:
        match effect:
            case RunTests():
                return await self._test(effect)
            case AskGate():
                return await self._ask(effect)
            case Measure():
                return await self._measure(effect)
            case Notify():
                return await self._notify(effect)
            case _:
                assert_never(effect)

    async def _test(self, effect: RunTests) -> TestOutcome:
        target = self.measurer.target(effect.revision, preview=True)
        return await self._ports.tester.test(target, self.settings.testing, effect.id)

    async def _ask(self, effect: AskGate) -> GateAnswer:
        gate = self.settings.gates[effect.index]
        bearer = await self._secret(gate.secret_ref, f"gates[{effect.index}]")
        target = self.measurer.target(effect.revision, preview=True)
        return await self._ports.gatekeeper.ask(effect.index, gate, bearer, target, effect.question)

    async def _measure(self, effect: Measure) -> Measurement:
        return await self.measurer.measure(effect, self.settings, self._ports)

    async def _notify(self, effect: Notify) -> Delivered:
        notification, pending = self.settings.notifications[effect.index], effect.pending
        secret = await self._secret(notification.secret_ref, f"notifications[{effect.index}]")
        event = RolloutEvent(
            id=pending.id,
            event=pending.event,
            namespace=self.owner.namespace,
            route=self.owner.name,
            revision=pending.revision,
            previous=pending.previous,
            message=pending.message,
            at=pending.at,
        )
        await self._ports.notifier.send(notification, secret, event)
        return Delivered()

    @property
    def _ports(self) -> Ports:
        if self.ports is None:
            raise EffectError("this operator was started without access to the world outside")
        return self.ports

    async def _secret(self, reference: SecretKeyRef | None, field: str) -> str | None:
        """Read for each use, so that a rotated one is taken up; never kept."""
        if reference is None:
            return None
        where = f"spec.rollout.{field}.secretRef names Secret {self.owner.namespace}/{reference.name}"
        try:
            secret = await self.cluster.get(SECRET, self.owner.namespace, reference.name)
        except NotFound:
            raise EffectError(f"{where}, which does not exist: create it") from None
        encoded = (secret.get("data") or {}).get(reference.key)
        if not encoded:
            raise EffectError(f"{where}, which lacks key {reference.key}: add it")
        return b64decode(encoded).decode(errors="replace").rstrip("\r\n")
