"""What a rollout asks of the world outside the cluster: tests, gates, measurements, notifications.

`reconcile/` runs these as background tasks, one for each (route, revision, effect id), and gives the results
to the machine. After a crash the same question is asked again under the same `effect` id, so whoever answers
may tell repetitions by it. A task may be cancelled at any `await` (a newer spec came): let it end.

An implementation raises EffectError for what is nobody's verdict (no answer, an answer that can't be read);
the machine then asks again or gives up, as its rules say. No message may contain a secret's value.
"""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from moltbot_operator.api import AnalysisMetric, Gate, Notification, NotificationEvent, Testing
from moltbot_operator.objectives.counts import Counts

__all__ = [
    "EffectError",
    "GateAnswer",
    "GateVerdict",
    "Gatekeeper",
    "Notifier",
    "Ports",
    "Prometheus",
    "RolloutEvent",
    "Target",
    "TestOutcome",
    "Tester",
]


class EffectError(Exception):
    """No answer, or one that can't be read; the message says of whom and why, for a person."""


@dataclass(frozen=True)
class Target:
    """A revision and where its pods are.

    `service`: base URL of the Service that selects it, such as `http://assistant-preview.team.svc`.
    `pods`: addresses of its ready pods (IP; IPv6 without brackets), in a fixed order. `token`: the secret
    that the route shares with its pods (the evidence token); the probe identity is derived from it.
    """

    namespace: str
    route: str
    revision: str
    service: str
    pods: tuple[str, ...]
    token: str = field(repr=False)


@dataclass(frozen=True)
class TestOutcome:
    """What tests of a preview found; `message` names the request or the fault and what came of it."""

    __test__ = False

    passed: bool
    message: str
    figures: tuple[str, ...] = ()
    """One line a test, such as `POST /v1/chat/completions: 200 in 12 ms`."""


class Tester(Protocol):
    """Sends requests to a preview under the probe identity."""

    async def test(self, target: Target, testing: Testing, effect: str) -> TestOutcome:
        """All of `testing.requests` in order, at every pod, then the fault drill where asked for.

        An answer that is not as expected is a failed test, not an EffectError.
        """

    async def probe(self, target: Target, testing: Testing, samples: int, effect: str) -> Counts:
        """`testing.requests` in turn until `samples` of them ended, as clients see them.

        `ended`; `well`: as expected; `unanswered`: no answer; `buckets`: latency to the first byte.
        """


class GateVerdict(StrEnum):
    """What a gate said."""

    PASSED = "Passed"
    REFUSED = "Refused"
    AGAIN = "Again"


@dataclass(frozen=True)
class GateAnswer:
    """`message`: the gate's own words (bounded to 500 characters), or why it has to be asked again."""

    verdict: GateVerdict
    message: str = ""


class Gatekeeper(Protocol):
    """Asks gates."""

    async def ask(
        self, index: int, gate: Gate, bearer: str | None, target: Target, effect: str
    ) -> GateAnswer:
        """One question to `spec.rollout.gates[index]`, over after `gate.timeout` at most (then AGAIN)."""


class Prometheus(Protocol):
    """Asks Prometheus."""

    async def query(self, metric: AnalysisMetric, target: Target) -> float | None:
        """The one number that the query gives; None (or NaN) where there is no data.

        `$namespace`, `$route` and `$revision` in the query stand for those of `target`. EffectError where
        the source does not answer or the result is not one number.
        """


@dataclass(frozen=True)
class RolloutEvent:
    """Something that somebody wants to be told of.

    `id` is the same whenever the event is sent again. `previous`: what served before, None for the first.
    """

    id: str
    event: NotificationEvent
    namespace: str
    route: str
    revision: str
    previous: str | None
    message: str
    at: datetime


class Notifier(Protocol):
    """Tells people."""

    async def send(self, notification: Notification, secret: str | None, event: RolloutEvent) -> None:
        """Delivered when it returns; EffectError once its own attempts are used up.

        `secret`: the value that `notification.secretRef` names, None without one.
        """


@dataclass(frozen=True)
class Ports:
    """Everything together; `moltbot_operator.providers.rollouts.open_ports()` gives the real ones."""

    tester: Tester
    gatekeeper: Gatekeeper
    prometheus: Prometheus
    notifier: Notifier
