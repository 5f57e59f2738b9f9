"""What unit tests of several packages share."""

import io
import logging
from collections.abc import Iterator

import pytest
import structlog

from moltbot_operator.telemetry.logging import configure


@pytest.fixture
def operator_log() -> Iterator[io.StringIO]:
    """What the operator's log says, at its most talkative."""
    root = logging.getLogger()
    before = root.handlers[:], root.level
    stream = io.StringIO()
    configure("debug", stream)
    yield stream
    root.handlers[:], root.level = before[0], before[1]
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()
