"""kstatus itself, from its Go module, computes of every way that a route can stand what is true of it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
sys.path[:0] = [str(TESTS / "unit" / "conditions"), str(TESTS / "cluster")]

import build  # noqa: E402
from route_standings import standings  # noqa: E402

pytestmark = pytest.mark.api

SHOWN = {
    "Done": "Current",
    "Degraded": "Current",
    "Failed": "Failed",
    "Paused": "InProgress",
    "Waiting": "InProgress",
}


@pytest.fixture(scope="module")
def computed():
    """The status of each object of a list."""
    (component,) = [each for each in build.components() if each.name == "kstatus"]
    build.build(component)

    def compute(objects):
        given = json.dumps(objects)
        done = subprocess.run(
            [component.folder / "kstatus"],
            input=given,
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        return [each["status"] for each in json.loads(done.stdout)]

    return compute


def test_it_agrees_with_the_truth_in_every_state(computed):
    every = list(standings())
    found = computed([manifest for _, manifest, _ in every])
    for (name, manifest, truth), status in zip(every, found, strict=True):
        ready = next(each for each in manifest["status"]["conditions"] if each["type"] == "Ready")
        # it knows no Degraded: what serves every rule is Current, what does not is not there yet
        expected = "InProgress" if truth == "Degraded" and ready["status"] == "False" else SHOWN[truth]
        assert status == expected, name


def test_a_spec_that_was_not_looked_at_is_in_progress(computed):
    manifest = next(manifest for _, manifest, truth in standings() if truth == "Done")
    newer = {**manifest, "metadata": {**manifest["metadata"], "generation": 4}}
    gone = {**manifest, "metadata": {**manifest["metadata"], "deletionTimestamp": "2026-01-01T00:00:00Z"}}
    assert computed([manifest, newer, gone]) == ["Current", "InProgress", "Terminating"]
