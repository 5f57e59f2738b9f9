"""The file by which Envoy is told that clients shall leave."""

import pytest

from moltbot_agent.deliveries import Deliveries
from moltbot_agent.leaving import LEAVING, STAYING, ask_to_leave, asked_to_leave


@pytest.fixture
def gateway(make_gateway):
    return make_gateway({"one": 1})


def started(gateway, path):
    """An agent that has written all of its files."""
    deliveries = Deliveries(gateway.config.model_copy(update={"leave": path}), {})
    deliveries.run_once()
    return deliveries


def test_envoy_finds_the_file_when_it_starts(gateway):
    path = gateway.folder / "run" / "leave"
    assert started(gateway, path).ready
    assert path.read_bytes() == STAYING
    assert not asked_to_leave(path)


def test_an_agent_that_starts_again_leaves_what_was_said(gateway):
    path = gateway.folder / "run" / "leave"
    started(gateway, path)
    ask_to_leave(path, leaving=True)
    assert started(gateway, path).ready
    assert path.read_bytes() == LEAVING
    assert asked_to_leave(path)


def test_envoy_waits_for_a_file_that_can_not_be_written_and_the_agent_says_so(gateway):
    (gateway.folder / "occupied").write_text("")
    deliveries = started(gateway, gateway.folder / "occupied" / "leave")
    assert not deliveries.ready
    assert any("leave can't be written" in problem for problem in deliveries.problems)


def test_without_a_place_nobody_is_asked(gateway, tmp_path):
    assert started(gateway, None).ready
    assert not asked_to_leave(None)
    assert not asked_to_leave(tmp_path / "nothing")
