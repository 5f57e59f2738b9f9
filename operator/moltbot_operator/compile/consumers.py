"""Consumers in the intermediate form: how each is known, and how much it may ask for.

::

    Consumer ── token: Token ── issuer: Issuer (whose public keys come from a ConfigMap or a URL)
       ├── keys, where there is no token
       └── limit: Limit
"""

from dataclasses import dataclass

from moltbot_operator.api import Consumer as ConsumerSpec
from moltbot_operator.api import ConsumerLimits

__all__ = ["Consumer", "Limit", "consumer_limits"]


@dataclass(frozen=True)
class Limit:
    """A bucket of tokens in each gateway pod: one a request, `rate` new ones a second, `burst` at most."""

    rate: int
    burst: int


@dataclass(frozen=True)
class Consumer:
    """A client application that is told apart by what it shows."""

    name: str


def consumer_limits(consumers: tuple[ConsumerSpec, ...]) -> dict[str, Limit]:
    """Limits of those consumers that have one, by name."""
    return {consumer.name: _limit(consumer.limits) for consumer in consumers if consumer.limits is not None}


def _limit(limits: ConsumerLimits) -> Limit:
    return Limit(limits.requests_per_second, limits.burst or limits.requests_per_second)
