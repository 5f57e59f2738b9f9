"""A rotation against a real API server: what it writes is taken, stays so, and goes with the backend.

MOLTBOT_TEST_OUTAGE: for how many seconds the API server is out of an operator's reach (default 12, which is
longer than a leader goes without it).
"""

import asyncio
import os
from base64 import b64decode
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from api_bed import ApiBed
from cut_line import Line
from moltbot_issuer import Issuer
from moltbot_provider import Provider
from standins import Bench, StandInEvidence, anyone, api_key, backend, eventually, route, rule, secret

from moltbot_agent.evidence import fingerprint
from moltbot_operator.errors import ClusterError
from moltbot_operator.kube.client import KubeCluster
from moltbot_operator.kube.kinds import MODEL_BACKEND, POD, SECRET
from moltbot_operator.providers.issuers import Issuers
from moltbot_operator.reconcile.evidence import CredentialEvidence, Evidence
from moltbot_operator.settings import Settings

pytestmark = pytest.mark.api

BOOTSTRAP = "bootstrap-s3cret"

OUTAGE_S = float(os.environ.get("MOLTBOT_TEST_OUTAGE", "12"))


class MountedEvidence(StandInEvidence):
    """Pods use what the Secret that they mount holds."""

    def __init__(self, kube: KubeCluster, namespace: str) -> None:
        super().__init__()
        self._kube = kube
        self._namespace = namespace

    async def read(self, pod: dict[str, Any], token: str) -> Evidence:
        said = await super().read(pod, token)
        found = await self._kube.get(SECRET, self._namespace, "pro-credential")
        has = {key: b64decode(value).decode() for key, value in found["data"].items()}
        prints = {key: fingerprint(token.encode(), value) for key, value in has.items()}
        credential = CredentialEvidence(
            backend=f"{self._namespace}/pro",
            present=True,
            fingerprint=prints.get("value"),
            held=tuple(prints.values()),
        )
        return said.model_copy(update={"credentials": (credential,)})


@pytest_asyncio.fixture
async def issuer() -> AsyncIterator[Issuer]:
    async with Issuer() as made:
        made.keys.make("person").value = BOOTSTRAP
        yield made


@pytest_asyncio.fixture
async def rotating(
    api_bed: ApiBed, kube: KubeCluster, settings: Settings, namespace: str, issuer: Issuer
) -> AsyncIterator[Bench]:
    """A route with a backend whose key the issuer makes."""
    watched = settings.model_copy(update={"namespaces": (namespace,)})
    async with Provider(verify=issuer.verify) as model, Bench(api_bed, kube, watched, namespace) as bench:
        bench.evidence = MountedEvidence(kube, namespace)
        bench.issuers = Issuers(loopback=True)
        webhook = {"preset": "LiteLLM", "url": issuer.url, "secretRef": {"name": "admin", "key": "token"}}
        rotation = {"overlap": "0s", "issuer": {"type": "Webhook", "webhook": webhook}}
        timeouts = {"connect": "1s", "firstByte": "1s"}
        given = backend(namespace, "pro", auth=api_key("keys"), rotation=rotation, timeouts=timeouts)
        given["spec"]["endpoint"] = {"url": f"{model.url}/v1"}
        await bench.start_operator()
        await bench.apply(
            secret(namespace, "keys", token=BOOTSTRAP),
            secret(namespace, "admin", token=issuer.admin_key),
            given,
            route(namespace, "assistant", [rule("all", "pro")], consumers=anyone("pro")),
        )
        yield bench


async def credential(bench: Bench) -> dict[str, Any]:
    found = await bench.get(MODEL_BACKEND, "pro") or {}
    status: dict[str, Any] = (found.get("status") or {}).get("credential") or {}
    return status


async def rotated(bench: Bench, issuer: Issuer) -> dict[str, Any]:
    """Ask for a rotation and wait for its end."""
    before = (await credential(bench)).get("version")
    now = datetime.now(UTC).isoformat()
    await bench.kube.merge(MODEL_BACKEND, bench.namespace, "pro", {"spec": {"rotation": {"rotateAt": now}}})

    async def over() -> dict[str, Any] | None:
        found = await credential(bench)
        idle = found.get("phase") == "Idle" and not found.get("attempts")
        ours = [key for key in issuer.valid() if key.name != "person"]
        return found if idle and found["version"] != before and len(ours) == 1 else None

    try:
        found: dict[str, Any] = await eventually("the rotation to end", over, 120)
    except AssertionError as error:
        raise AssertionError(f"{error}; {await credential(bench)}; {issuer.count()}") from None
    return found


async def versions(bench: Bench) -> list[dict[str, Any]]:
    labels = "app.kubernetes.io/component=credential-version"
    return await bench.kube.list(SECRET, bench.namespace, labels)


async def test_a_rotation_is_written_down_kept_and_goes_with_its_backend(
    rotating: Bench, issuer: Issuer
) -> None:
    await eventually("a first version", lambda: _version(rotating), 60)
    first = await rotated(rotating, issuer)
    second = await rotated(rotating, issuer)
    assert second["version"] != first["version"]
    [kept] = await versions(rotating)
    [key] = [key for key in issuer.valid() if key.name != "person"]
    assert b64decode(kept["data"]["value"]).decode() == key.value
    assert key.name.endswith(second["version"])
    change = {"data": {"value": "Y2hhbmdlZA=="}}
    with pytest.raises(ClusterError, match="immutable"):
        await rotating.kube.merge(SECRET, rotating.namespace, kept["metadata"]["name"], change)
    mounted = await rotating.kube.get(SECRET, rotating.namespace, "pro-credential")
    assert mounted["data"] == {"value": kept["data"]["value"]}
    pods = await rotating.kube.list(POD, rotating.namespace, "moltbot.io/route=assistant")
    assert pods
    await rotating.kube.delete(SECRET, rotating.namespace, "pro-credential")
    await eventually("the mounted Secret to be back", lambda: _mounted(rotating), 30)
    assert (await credential(rotating))["version"] == second["version"]
    await rotating.kube.delete(MODEL_BACKEND, rotating.namespace, "pro")

    async def gone() -> bool:
        return not await versions(rotating)

    await eventually("the Secrets to go with the backend", gone, 60)
    theirs = await rotating.kube.get(SECRET, rotating.namespace, "keys")
    assert b64decode(theirs["data"]["token"]).decode() == BOOTSTRAP


async def test_another_operator_goes_on_where_one_stopped(rotating: Bench, issuer: Issuer) -> None:
    await eventually("a first version", lambda: _version(rotating), 60)
    issuer.fault("lost", operation="create", count=1)
    now = datetime.now(UTC).isoformat()
    change = {"spec": {"rotation": {"rotateAt": now}}}
    await rotating.kube.merge(MODEL_BACKEND, rotating.namespace, "pro", change)

    async def failed() -> bool:
        return bool((await credential(rotating)).get("attempts"))

    await eventually("the lost answer to be noted", failed, 60)
    await rotating.wait_condition(MODEL_BACKEND, "pro", "CredentialReady", "True", reason="RotationFailing")
    await rotating.stop_operator()
    await rotating.start_operator()
    found = await rotated(rotating, issuer)
    assert found["attempts"] == 0
    assert len([key for key in issuer.valid() if key.name != "person"]) == 1


async def test_an_api_server_out_of_reach_amid_a_rotation_costs_no_second_one(
    rotating: Bench, issuer: Issuer, tmp_path: Path
) -> None:
    """It is so once the issuer has made a key, which is not stored yet."""
    await rotating.stop_operator()
    line = Line(Path(str(rotating.settings.kubeconfig)), tmp_path)
    await line.mend()
    rotating.settings = rotating.settings.model_copy(update={"kubeconfig": str(line.kubeconfig)})
    await rotating.start_operator()
    await eventually("a first version", lambda: _version(rotating), 60)
    first = await rotated(rotating, issuer)
    made = issuer.count()["create"]
    change = {"spec": {"rotation": {"rotateAt": datetime.now(UTC).isoformat()}}}
    await rotating.kube.merge(MODEL_BACKEND, rotating.namespace, "pro", change)
    async with asyncio.timeout(60):
        while issuer.count()["create"] == made:  # noqa: ASYNC110 - the issuer tells nobody
            await asyncio.sleep(0.002)
    await line.cut()
    end = asyncio.get_running_loop().time() + OUTAGE_S
    while asyncio.get_running_loop().time() < end:
        await asyncio.sleep(0.5)
        await _as_a_kubelet(rotating)
        assert await _given(rotating) in {key.value for key in issuer.valid()}
    await line.mend()
    seen = set()

    async def over() -> dict[str, Any] | None:
        await _as_a_kubelet(rotating)
        assert await _given(rotating) in {key.value for key in issuer.valid()}
        found = await credential(rotating)
        seen.add(found["version"])
        ours = [key for key in issuer.valid() if key.name != "person"]
        quiet = found["phase"] == "Idle" and not found["attempts"]
        return found if quiet and found["version"] != first["version"] and len(ours) == 1 else None

    last = await eventually("the rotation to end", over, 180)
    await asyncio.sleep(3)
    assert await _version(rotating) == last["version"]
    assert seen <= {first["version"], last["version"]}, "one rotation, not two"
    [kept] = await versions(rotating)
    assert b64decode(kept["data"]["value"]).decode() == await _given(rotating)
    await rotating.stop_operator()
    await line.cut()


async def _as_a_kubelet(bench: Bench) -> None:
    """An operator that has ended, since it is no leader any more, is started again."""
    if not bench.operator_runs():
        await bench.start_operator()


async def _given(bench: Bench) -> str:
    """What gateways use."""
    found = await bench.kube.get(SECRET, bench.namespace, "pro-credential")
    return b64decode(found["data"]["value"]).decode()


async def _version(bench: Bench) -> str | None:
    return (await credential(bench)).get("version")


async def _mounted(bench: Bench) -> bool:
    found = await bench.kube.list(SECRET, bench.namespace, "app.kubernetes.io/component=credential")
    return bool(found)
