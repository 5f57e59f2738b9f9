"""Issuers, identity providers and model providers as real servers, and backends that use them."""

import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[2]
sys.path.insert(0, str(TESTS / "provider"))
sys.path.insert(0, str(TESTS / "gateway"))

from moltbot_identity import Identity  # noqa: E402
from moltbot_issuer import Issuer  # noqa: E402
from moltbot_provider import Provider  # noqa: E402


@pytest.fixture
async def issuer():
    async with Issuer(page=3) as made:
        yield made


@pytest.fixture
async def provider(issuer):
    async with Provider(verify=issuer.verify) as made:
        yield made


@pytest.fixture
async def identity():
    async with Identity() as made:
        made.registration.initial_token = "initial-s3cret"
        yield made
