"""Webhooks and the client that calls them."""

import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[3]
sys.path.insert(0, str(TESTS / "provider"))

from moltbot_hooks import Hooks  # noqa: E402

from moltbot_operator.providers.outbound import Outbound  # noqa: E402
from moltbot_operator.rollout.ports import Target  # noqa: E402


@pytest.fixture
async def hooks():
    async with Hooks() as server:
        yield server


@pytest.fixture
async def outbound():
    async with Outbound(loopback=True) as client:
        yield client


@pytest.fixture
def target():
    return Target("shop", "assistant", "bbb", "http://assistant-preview.shop.svc:80", ("127.0.0.1",), "t0ken")
