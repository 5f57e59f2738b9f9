"""`moltbot rollout` and `moltbot wait` as a shell runs them, on a real API server."""

import asyncio
import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from xml.etree import ElementTree as ET

import pytest

from moltbot_operator.kube.kinds import CONFIG_MAP, MOLTBOT_ROUTE

pytestmark = pytest.mark.api

SPEC = {
    "rules": [{"name": "all", "candidates": [{"backend": "a", "weight": 1}]}],
    "consumers": [{"name": "anyone", "auth": {"anonymous": {}}, "backends": ["a"]}],
}


@pytest.fixture
def moltbot(api_bed, namespace):
    """Runs the command; (exit code, standard output, standard error)."""

    async def run(*arguments):
        environment = {**os.environ, "KUBECONFIG": str(api_bed.kubeconfig), "COLUMNS": "200"}
        command = [sys.executable, "-m", "moltbot_operator.cli", *arguments, "-n", namespace]
        done = await asyncio.to_thread(
            subprocess.run, command, env=environment, capture_output=True, text=True, timeout=120, check=False
        )
        return done.returncode, done.stdout, done.stderr

    return run


@pytest.fixture
async def route(kube, namespace):
    """A route whose status the test writes."""
    meta = {"name": "assistant", "namespace": namespace}
    made = await kube.create(
        {"apiVersion": MOLTBOT_ROUTE.api_version, "kind": "MoltBotRoute", "metadata": meta, "spec": SPEC}
    )

    async def stands(phase, *conditions, generation=None, **rollout):
        present = await kube.get(MOLTBOT_ROUTE, namespace, "assistant")
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        listed = [
            {
                "type": kind,
                "status": status,
                "reason": "Because",
                "message": f"{kind} is {status}.",
                "lastTransitionTime": now,
                "observedGeneration": 1,
            }
            for kind, status in (each.split("=") for each in conditions)
        ]
        status = {
            "observedGeneration": generation or present["metadata"]["generation"],
            "conditions": listed,
            "revision": {"active": "aaaaaaaaaa", "stable": ["0000000000"], **rollout.pop("revision", {})},
            "rollout": {"phase": phase, **rollout},
        }
        await kube.apply_status(MOLTBOT_ROUTE, namespace, "assistant", status)

    stands.made = made
    return stands


async def spec_of(kube, namespace):
    return (await kube.get(MOLTBOT_ROUTE, namespace, "assistant"))["spec"]


async def test_commands_edit_the_spec_for_the_revision_concerned(moltbot, route, kube, namespace):
    await route("Paused", revision={"preview": "bbbbbbbbbb"})
    code, out, err = await moltbot("rollout", "promote", "assistant")
    assert (code, "spec.rollout.promote is bbbbbbbbbb" in out) == (0, True), err
    assert (await spec_of(kube, namespace))["rollout"]["promote"] == "bbbbbbbbbb"
    assert (await moltbot("rollout", "abort", "assistant"))[0] == 0
    rollout = (await spec_of(kube, namespace))["rollout"]
    assert rollout["abort"] == "bbbbbbbbbb"
    assert "promote" not in rollout  # it would contradict
    await route(
        "Failed", failed={"revision": "bbbbbbbbbb", "reason": "Aborted", "at": "2026-01-01T00:00:00Z"}
    )
    assert (await moltbot("rollout", "retry", "assistant"))[0] == 0
    rollout = (await spec_of(kube, namespace))["rollout"]
    assert (rollout["retry"], "abort" in rollout) == ("bbbbbbbbbb", False)


async def test_a_command_that_stands_there_already_is_written_anew(moltbot, route, kube, namespace):
    await route("Paused", revision={"preview": "bbbbbbbbbb"})
    await moltbot("rollout", "promote", "assistant")
    before = (await kube.get(MOLTBOT_ROUTE, namespace, "assistant"))["metadata"]["generation"]
    assert (await moltbot("rollout", "promote", "assistant"))[0] == 0
    after = await kube.get(MOLTBOT_ROUTE, namespace, "assistant")
    assert after["metadata"]["generation"] > before
    assert after["spec"]["rollout"]["promote"] == "bbbbbbbbbb"


@pytest.mark.parametrize("command", ["promote", "abort", "retry", "undo"])
async def test_what_can_not_be_done_is_an_error_that_says_why(moltbot, route, command):
    await route("Stable", revision={"stable": []})
    code, _, err = await moltbot("rollout", command, "assistant")
    assert code == 1
    assert "error: MoltBotRoute" in err
    assert f"nothing to {command}" in err
    code, _, err = await moltbot("rollout", command, "nosuch")
    assert (code, "does not exist" in err) == (1, True)


async def test_undo_applies_the_spec_that_was_kept(moltbot, route, kube, namespace):
    await route("Stable")
    old = {**SPEC, "gateway": {"replicas": 3}, "rollout": {"autoPromote": False, "abort": "cccccccccc"}}
    kept = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "assistant-gw-specs", "namespace": namespace},
    }
    await kube.create({**kept, "data": {"0000000000": json.dumps(old)}})
    code, out, err = await moltbot("rollout", "history", "assistant")
    assert (code, "0000000000" in out, "yes" in out) == (0, True, True), err
    code, out, err = await moltbot("rollout", "undo", "assistant")
    assert code == 0, err
    spec = await spec_of(kube, namespace)
    assert spec["gateway"]["replicas"] == 3
    assert spec["rollout"]["autoPromote"] is False
    assert "abort" not in spec["rollout"]  # commands of then are not commands of now
    code, _, err = await moltbot("rollout", "undo", "assistant", "--to", "dddddddddd")
    assert (code, "is not kept" in err) == (1, True)
    assert await kube.get(CONFIG_MAP, namespace, "assistant-gw-specs")


async def test_status_is_a_table_or_a_document(moltbot, route):
    run = {"measurements": 2, "metrics": [{"name": "p95", "value": "0.25", "active": ""}]}
    await route("Verifying", "Ready=True", "Reconciling=True", analysis=run, rollbackTo="0000000000")
    code, out, err = await moltbot("rollout", "status", "assistant")
    assert code == 0, err
    assert all(text in out for text in ("Verifying", "p95", "0.25", "no data", "Goes back to", "Reconciling"))
    code, out, _ = await moltbot("rollout", "status", "assistant", "-o", "json")
    assert json.loads(out)["rollout"]["phase"] == "Verifying"


async def test_watch_ends_when_nothing_is_under_way_any_more(moltbot, route):
    await route("Preparing", "Ready=True")
    watching = asyncio.create_task(moltbot("rollout", "status", "assistant", "--watch", "-o", "json"))
    await asyncio.sleep(3)  # it may have looked by now, or not: both must end
    await route("Stable", "Ready=True")
    code, out, err = await watching
    assert code == 0, err
    assert '"phase": "Stable"' in out


@pytest.mark.parametrize(
    ("phase", "conditions", "more", "code", "result"),
    [
        ("Stable", ["Ready=True"], {}, 0, "Done"),
        ("Failed", ["Ready=True", "Stalled=True", "Degraded=True"], {}, 1, "Failed"),
        ("Paused", ["Ready=True", "Reconciling=True", "RolloutPaused=True"], {}, 3, "Paused"),
        ("Verifying", ["Ready=True", "Reconciling=True"], {}, 124, "TimedOut"),
        ("Stable", ["Ready=False"], {}, 124, "TimedOut"),
        ("Stable", ["Ready=True"], {"generation": 77}, 124, "TimedOut"),
    ],
)
async def test_wait_gives_the_verdict_as_its_exit_code(  # noqa: PLR0917
    moltbot, route, phase, conditions, more, code, result
):
    await route(phase, *conditions, **more)
    found, out, err = await moltbot("wait", "route/assistant", "--timeout", "2s", "--report", "json")
    assert found == code, err
    report = json.loads(out)
    assert (report["result"], report["name"]) == (result, "assistant")


async def test_wait_writes_reports_for_ci_and_for_people(moltbot, route, tmp_path):
    await route("Failed", "Ready=True", "Stalled=True")
    for form in ("junit", "markdown"):
        file = tmp_path / form
        code, out, _ = await moltbot("wait", "assistant", "--report", form, "-o", str(file))
        assert (code, out) == (1, "")
    suite = ET.fromstring((tmp_path / "junit").read_text())  # noqa: S314 - our own
    assert (suite.get("failures"), suite[0][0].get("type")) == ("1", "Failed")
    assert (
        "| Ready within the time | **failed** | Because: Stalled is True. |"
        in (tmp_path / "markdown").read_text()
    )


async def test_wait_for_what_does_not_exist_is_not_in_time(moltbot):
    code, _, err = await moltbot("wait", "backend/nosuch", "--timeout", "2s")
    assert (code, "It does not exist." in err) == (124, True)


async def test_wait_for_another_condition(moltbot, route):
    await route("Verifying", "Accepted=True", "Ready=False", "Reconciling=True")
    assert (await moltbot("wait", "assistant", "--for", "Accepted", "--timeout", "5s"))[0] == 0
