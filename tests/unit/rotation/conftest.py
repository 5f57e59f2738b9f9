"""The driver does not wait for the store in these tests: time is the world's."""

from datetime import timedelta

import pytest

from moltbot_operator.rotation import driver as driver_module


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver_module, "STORE_PAUSE", timedelta(0))
