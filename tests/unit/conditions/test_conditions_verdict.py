"""Those who wait for a route (`moltbot wait`, Argo CD) conclude what is true, however it stands."""

import copy
from datetime import UTC, datetime
from pathlib import Path

import lupa
import pytest
import yaml
from route_standings import standings

from moltbot_operator.compile.sources import Problem
from moltbot_operator.conditions import BackendFacts, backend_conditions, merge
from moltbot_operator.conditions.verdict import Outcome, conclude
from moltbot_operator.objectives import Verdict

ROOT = Path(__file__).parents[3]
ARGOCD = ROOT / "examples" / "argocd"
NOW = datetime(2026, 1, 1, tzinfo=UTC)
EVERY = list(standings())


def health(manifest):
    """As Argo CD runs it: the global `obj`, and no libraries but the base one."""
    runtime = lupa.LuaRuntime(register_eval=False, register_builtins=False)
    script = (ARGOCD / "moltbot.io" / manifest["kind"] / "health.lua").read_text()
    runtime.globals().obj = runtime.table_from(manifest, recursive=True)
    for library in ("io", "os", "package", "debug", "require", "dofile", "loadfile", "python"):
        runtime.globals()[library] = None
    found = runtime.execute(script)
    return found["status"], found["message"]


def test_there_are_many_ways_to_stand():
    assert len(EVERY) > 300
    assert {truth for _, _, truth in EVERY} == {"Done", "Failed", "Paused", "Waiting", "Degraded"}


@pytest.mark.parametrize("generation", [3, 4])
def test_wait_concludes_what_is_true(generation):
    for name, manifest, truth in EVERY:
        given = copy.deepcopy(manifest)
        given["metadata"]["generation"] = generation
        waited = conclude(given)
        expected = "Waiting" if generation == 4 or truth == "Degraded" else truth
        assert waited.outcome == expected, (name, waited)
        assert waited.message, name


def test_argo_cd_shows_what_is_true():
    shown = {"Done": {"Healthy"}, "Failed": {"Degraded"}, "Paused": {"Suspended"}, "Degraded": {"Degraded"}}
    for name, manifest, truth in EVERY:
        status, message = health(manifest)
        # a route that waits for its pods may also lack a reference, which somebody has to see to
        allowed = shown.get(truth, {"Progressing"} | ({"Degraded"} if "rules served" not in name else set()))
        assert status in allowed, (name, status, message)
        assert message, name
        stale = copy.deepcopy(manifest)
        stale["metadata"]["generation"] = 4
        assert health(stale)[0] == "Progressing"


def test_argo_cd_shows_a_new_object_as_progressing():
    for kind in ("MoltBotRoute", "ModelBackend"):
        assert health({"kind": kind, "metadata": {"name": "a", "generation": 1}})[0] == "Progressing"


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({}, "Healthy"),
        ({"refused": Problem("InvalidSpec", "no")}, "Degraded"),
        ({"unresolved": (Problem("SecretNotFound", "Secret a/b does not exist"),)}, "Degraded"),
        ({"objectives": (Verdict.MET, "fine")}, "Healthy"),
        ({"objectives": (Verdict.NO_DATA, "nothing yet")}, "Healthy"),
        ({"objectives": (Verdict.LATENCY_TOO_HIGH, "slow")}, "Degraded"),
    ],
)
def test_argo_cd_shows_what_is_true_of_a_backend(facts, expected):
    given = {"refused": None, "unresolved": (), "needs_credential": True, "objectives": None, **facts}
    conditions = merge([], backend_conditions(BackendFacts(**given)), 1, NOW)
    manifest = {
        "kind": "ModelBackend",
        "metadata": {"name": "a", "generation": 1},
        "status": {"observedGeneration": 1, "conditions": conditions},
    }
    assert health(manifest)[0] == expected
    if expected == "Healthy":
        assert conclude(manifest).outcome is Outcome.DONE


@pytest.mark.parametrize(
    "file", sorted(ARGOCD.glob("moltbot.io/*/health_test.yaml")), ids=lambda file: file.parent.name
)
def test_the_test_data_for_argo_cd_is_right(file):
    tests = yaml.safe_load(file.read_text())["tests"]
    assert len(tests) >= 4
    for test in tests:
        manifest = yaml.safe_load((file.parent / test["inputPath"]).read_text())
        assert health(manifest) == (test["healthStatus"]["status"], test["healthStatus"]["message"])


@pytest.mark.parametrize(
    "file", sorted(ARGOCD.glob("moltbot.io/MoltBotRoute/testdata/*.yaml")), ids=lambda file: file.stem
)
def test_the_test_data_for_argo_cd_is_what_the_operator_writes(file):
    assert yaml.safe_load(file.read_text()) in [manifest for _, manifest, _ in EVERY]


def test_the_configuration_for_argo_cd_holds_the_same_scripts():
    (configuration,) = yaml.safe_load_all((ARGOCD / "argocd-cm.yaml").read_text())
    for kind in ("MoltBotRoute", "ModelBackend"):
        script = (ARGOCD / "moltbot.io" / kind / "health.lua").read_text()
        assert configuration["data"][f"resource.customizations.health.moltbot.io_{kind}"] == script


def test_a_route_that_is_going_is_no_success():
    manifest = copy.deepcopy(EVERY[0][1])
    manifest["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert conclude(manifest).outcome is Outcome.FAILED


def test_another_condition_counts_alone_unless_it_has_become_impossible():
    by_name = {name: manifest for name, manifest, _ in EVERY}
    moving = by_name["Verifying, pods good, rules served"]
    assert conclude(moving, "Accepted").outcome is Outcome.DONE
    assert conclude(by_name["stable, pods good, rules served, refused"], "Accepted").outcome is Outcome.FAILED
    assert conclude(moving, "NoSuch").outcome is Outcome.WAITING
