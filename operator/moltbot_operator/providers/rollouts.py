"""Everything that rollouts ask of the world outside, made of real HTTP."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from moltbot_operator.providers.gates import Gates
from moltbot_operator.providers.notifications import Notifications
from moltbot_operator.providers.outbound import Outbound
from moltbot_operator.providers.preview import PreviewTester
from moltbot_operator.providers.prometheus import PrometheusSource
from moltbot_operator.rollout.ports import Ports

__all__ = ["open_ports"]


@asynccontextmanager
async def open_ports(clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> AsyncIterator[Ports]:
    """The ports, for as long as the block runs."""
    async with Outbound() as outbound:
        yield Ports(
            tester=PreviewTester(outbound),
            gatekeeper=Gates(outbound),
            prometheus=PrometheusSource(outbound),
            notifier=Notifications(outbound, clock),
        )
