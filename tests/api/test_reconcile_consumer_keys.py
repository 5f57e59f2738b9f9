"""Consumers' keys against a real API server: written, replaced when they leak, and gone with the route."""

from base64 import b64decode
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest
import pytest_asyncio
from api_bed import ApiBed
from standins import Bench, StandInEvidence, api_key, backend, eventually, route, rule, secret

from moltbot_agent.evidence import fingerprint
from moltbot_operator.errors import NotFound
from moltbot_operator.kube.client import KubeCluster
from moltbot_operator.kube.kinds import MOLTBOT_ROUTE, SECRET
from moltbot_operator.reconcile.evidence import ConsumerEvidence, Evidence
from moltbot_operator.rotation_cli import key_patch_of
from moltbot_operator.settings import Settings

pytestmark = pytest.mark.api


class KeyEvidence(StandInEvidence):
    """Pods take what is in the consumer's Secret."""

    def __init__(self, kube: KubeCluster, namespace: str) -> None:
        super().__init__()
        self._kube = kube
        self._namespace = namespace

    async def read(self, pod: dict[str, Any], token: str) -> Evidence:
        said = await super().read(pod, token)
        held = [
            fingerprint(token.encode(), value)
            for value in (await values(self._kube, self._namespace)).values()
        ]
        return said.model_copy(update={"consumers": (ConsumerEvidence(consumer="app", held=tuple(held)),)})


async def values(kube: KubeCluster, namespace: str) -> dict[str, str]:
    try:
        found = await kube.get(SECRET, namespace, "app-key")
    except NotFound:
        return {}
    return {name: b64decode(value).decode() for name, value in (found.get("data") or {}).items()}


def consumer() -> list[dict[str, Any]]:
    auth = {"apiKey": {"secretRef": {"name": "app-key"}, "rotation": {"overlap": "0s"}}}
    return [{"name": "app", "auth": auth, "backends": ["pro"]}]


@pytest_asyncio.fixture
async def bench(
    api_bed: ApiBed, kube: KubeCluster, settings: Settings, namespace: str
) -> AsyncIterator[Bench]:
    watched = settings.model_copy(update={"namespaces": (namespace,)})
    async with Bench(api_bed, kube, watched, namespace) as made:
        made.evidence = KeyEvidence(kube, namespace)
        await made.start_operator()
        await made.apply(
            secret(namespace, "keys", token="upstream"), backend(namespace, "pro", auth=api_key("keys"))
        )
        yield made


async def test_a_key_is_made_replaced_when_it_leaks_and_goes_with_its_route(bench: Bench) -> None:
    kube, namespace = bench.kube, bench.namespace
    await bench.apply(route(namespace, "assistant", [rule("all", "pro")], consumers=consumer()))

    async def one_key(*others: str) -> str | None:
        found = await values(kube, namespace)
        key = found.get("key")
        return key if key and len(found) == 2 and set(found.values()) == {key} and key not in others else None

    first: str = await eventually("a key", one_key, 60)
    asked = key_patch_of(await kube.get(SECRET, namespace, "app-key"), datetime.now(UTC), None)
    await kube.merge(SECRET, namespace, "app-key", asked)
    rotated: str = await eventually("the key to be replaced as asked for", lambda: one_key(first), 60)
    [stored] = [name for name in await values(kube, namespace) if name != "key"]
    leaked = key_patch_of(
        await kube.get(SECRET, namespace, "app-key"), datetime.now(UTC), stored.removeprefix("key-")
    )
    await kube.merge(SECRET, namespace, "app-key", leaked)
    second: str = await eventually("another key", lambda: one_key(first, rotated), 60)
    await kube.delete(SECRET, namespace, "app-key")
    await eventually("a third key", lambda: one_key(first, rotated, second), 60)
    await kube.delete(MOLTBOT_ROUTE, namespace, "assistant")

    async def gone() -> bool:
        return not await values(kube, namespace)

    await eventually("the Secret to go with the route", gone, 60)


async def test_a_persons_secret_is_written_once_that_person_labels_it(bench: Bench) -> None:
    kube, namespace = bench.kube, bench.namespace
    await bench.apply(
        secret(namespace, "app-key", key="theirs", other="another"),
        route(namespace, "assistant", [rule("all", "pro")], consumers=consumer()),
    )

    async def told() -> bool:
        said = bench.bed.kubectl("get", "events.events.k8s.io", "-n", namespace, "-o", "jsonpath={..note}")
        return "kubectl label secret" in said

    await eventually("to be told what to do", told, 60)
    assert await values(kube, namespace) == {"key": "theirs", "other": "another"}
    labels = {
        "app.kubernetes.io/managed-by": "moltbot-operator",
        "app.kubernetes.io/component": "consumer-key",
    }
    await kube.merge(SECRET, namespace, "app-key", {"metadata": {"labels": labels}})

    async def adopted() -> bool:
        found = await values(kube, namespace)
        return len(found) == 3 and found["key"] == "theirs" and found["other"] == "another"

    await eventually("the key to be the first version", adopted, 60)


async def test_an_annotation_that_is_no_time_is_told_and_replaces_nothing(bench: Bench) -> None:
    kube, namespace = bench.kube, bench.namespace
    await bench.apply(route(namespace, "assistant", [rule("all", "pro")], consumers=consumer()))

    async def made() -> dict[str, str] | None:
        found = await values(kube, namespace)
        return found if len(found) == 2 else None

    before = await eventually("a key", made, 60)
    asked = {"metadata": {"annotations": {"moltbot.io/rotate-at": "s3cret-tomorrow"}}}
    await kube.merge(SECRET, namespace, "app-key", asked)

    def notes() -> str:
        return bench.bed.kubectl("get", "events.events.k8s.io", "-n", namespace, "-o", "jsonpath={..note}")

    async def told() -> bool:
        return "moltbot.io/rotate-at of Secret" in notes()

    await eventually("to be told what is wrong", told, 60)
    assert "s3cret-tomorrow" not in notes()
    assert await values(kube, namespace) == before
    right = {"metadata": {"annotations": {"moltbot.io/rotate-at": datetime.now(UTC).isoformat()}}}
    await kube.merge(SECRET, namespace, "app-key", right)

    async def replaced() -> bool:
        found = await made()
        return found is not None and found["key"] != before["key"]

    await eventually("the key to be replaced once the annotation is a time", replaced, 60)
