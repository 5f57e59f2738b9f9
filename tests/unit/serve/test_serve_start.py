"""What `moltbot serve` loads before its first answer: a cold start is mostly imports."""

import subprocess
import sys

import pytest

from moltbot_operator.api import MoltBotRouteSpec

HEAVY = {
    "aiohttp": "only the metrics' port needs it, which opens after the first answer",
    "cryptography": "only managed keys need it",
    "httpx": "only issuers are asked by it",
    "kopf": "a cluster's",
    "kubernetes": "a cluster's",
    "moltbot_operator.autoscale": "a cluster's",
    "moltbot_operator.compile.workloads": "a cluster's",
    "moltbot_operator.reconcile": "a cluster's",
    "prometheus_client": "the agent's",
    "rich.live": "the view's",
    "structlog": "the operator's",
    "uvicorn": "the worker's",
}
"""Packages that the start must not wait for, and why it need not."""


@pytest.fixture(scope="module")
def loaded():
    code = "import sys, moltbot_operator.cli, moltbot_operator.serve; print(*sys.modules)"
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    return set(found.stdout.split())


@pytest.mark.parametrize("package", HEAVY)
def test_the_start_does_not_load(loaded, package):
    assert "moltbot_operator.compile" in loaded
    assert package not in loaded, HEAVY[package]


def test_the_types_do_not_read_their_own_sources_at_the_start():
    assert not MoltBotRouteSpec.model_config.get("use_attribute_docstrings")
    assert MoltBotRouteSpec.model_fields["rules"].description is None
