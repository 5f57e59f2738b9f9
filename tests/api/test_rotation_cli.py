"""`moltbot rotation` against a real API server."""

import json
import os
import subprocess
import sys

import pytest

from moltbot_operator.kube.kinds import MODEL_BACKEND


@pytest.fixture
def moltbot(api_bed):
    """Runs the command as a person would; returns (exit code, stdout, stderr)."""

    def run(*words: str) -> tuple[int, str, str]:
        environment = {**os.environ, "KUBECONFIG": str(api_bed.kubeconfig), "COLUMNS": "200"}
        command = [sys.executable, "-m", "moltbot_operator.cli", "rotation", *words]
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=120, check=False
        )
        return done.returncode, done.stdout, done.stderr

    return run


def backend(namespace, name, *, rotation=True):
    key = {"type": "APIKey", "apiKey": {"secretRef": {"name": "openai", "key": "token"}}}
    webhook = {"preset": "OpenRouter", "secretRef": {"name": "admin", "key": "key"}}
    spec = {"provider": "OpenRouter", "auth": key}
    if rotation:
        spec["rotation"] = {"issuer": {"type": "Webhook", "webhook": webhook}}
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": "moltbot.io/v1alpha1", "kind": "ModelBackend", "metadata": metadata, "spec": spec}


async def test_what_stands_is_shown_and_a_rotation_asked_for(kube, namespace, moltbot):
    for name, rotates in (("pro", True), ("max", True), ("plain", False)):
        await kube.apply(backend(namespace, name, rotation=rotates))
    credential = {"version": "v2", "pendingVersion": "v3", "phase": "Verified", "message": "waits [a while]"}
    await kube.apply_status(MODEL_BACKEND, namespace, "pro", {"credential": credential})

    code, out, err = moltbot("status", "-n", namespace, "-o", "json")
    assert code == 0, err
    assert [(row["backend"], row["phase"], row["version"]) for row in json.loads(out)] == [
        ("max", None, None),
        ("pro", "Verified", "v2"),
    ]
    code, out, _ = moltbot("status", "pro", "-n", namespace)
    assert code == 0
    assert "waits [a while]" in out
    assert "max" not in out

    code, out, _ = moltbot("now", "pro", "-n", namespace)
    assert (code, out.startswith(f"{namespace}/pro: its credential is rotated")) == (0, True)
    code, _, _ = moltbot("now", "pro", "-n", namespace, "--compromised", "v3")
    assert code == 0
    rotation = (await kube.get(MODEL_BACKEND, namespace, "pro"))["spec"]["rotation"]
    assert rotation["compromised"] == "v3"
    assert rotation["rotateAt"].startswith("20")
    assert rotation["issuer"]["type"] == "Webhook"


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("status", "absent"), "no ModelBackend absent with spec.rotation"),
        (("now", "absent"), "no ModelBackend absent in namespace"),
        (("now", "plain"), "has no spec.rotation"),
        (("now", "pro", "--compromised", "v9"), "has no version v9"),
    ],
)
async def test_what_can_not_be_done_is_one_line(words, why, kube, namespace, moltbot):
    await kube.apply(backend(namespace, "pro"))
    await kube.apply(backend(namespace, "plain", rotation=False))
    code, _, err = moltbot(*words, "-n", namespace)
    assert code == 1
    assert why in err
    assert "Traceback" not in err
