"""Credentials of other namespaces: copied with consent, kept up to date, taken back."""

from base64 import b64decode
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import pytest
import pytest_asyncio
from api_bed import ApiBed
from standins import Bench, anyone, api_key, backend, eventually, route, rule, secret

from moltbot_operator.constants import LABEL_ROUTE
from moltbot_operator.kube.client import KubeCluster
from moltbot_operator.kube.kinds import CONFIG_MAP, DEPLOYMENT, SECRET, Kind
from moltbot_operator.settings import Settings

pytestmark = pytest.mark.api


@pytest.fixture
def other(api_bed: ApiBed) -> str:
    """A namespace of another team."""
    name = f"o-{uuid4().hex[:8]}"
    api_bed.kubectl("create", "namespace", name)
    return name


@pytest_asyncio.fixture
async def both(
    api_bed: ApiBed, kube: KubeCluster, settings: Settings, namespace: str, other: str
) -> AsyncIterator[Bench]:
    """A bench whose operator watches the test's namespace and the other one."""
    watched = settings.model_copy(update={"namespaces": (namespace, other)})
    async with Bench(api_bed, kube, watched, namespace) as bench:
        await bench.start_operator()
        yield bench


async def copies(bench: Bench, kind: Kind) -> list[dict[str, Any]]:
    found = await bench.kube.list(kind, bench.namespace, f"{LABEL_ROUTE}=assistant")
    return [each for each in found if "-copy-" in each["metadata"]["name"]]


async def test_a_credential_is_copied_with_consent_and_follows_the_original(both: Bench, other: str) -> None:
    theirs = {
        "auth": api_key("keys"),
        "endpoint": {"url": "https://model.example:9", "tls": {"caRef": {"name": "ca", "key": "ca.crt"}}},
        "allowedRoutes": {"namespaces": "All"},
    }
    ca = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "ca", "namespace": other},
        "data": {"ca.crt": "PEM", "unused": "x"},
    }
    shared = f"{other}/shared"
    await both.apply(
        secret(other, "keys", token="one", unused="never copied"),
        ca,
        backend(other, "shared", **theirs),
        route(both.namespace, "assistant", [rule("all", shared)], consumers=anyone(shared)),
    )
    settled = await both.settled("assistant")
    (copy,) = await copies(both, SECRET)
    assert {key: b64decode(value) for key, value in copy["data"].items()} == {"token": b"one"}
    (bundle,) = await copies(both, CONFIG_MAP)
    assert bundle["data"] == {"ca.crt": "PEM"}
    revision = settled["status"]["revision"]["active"]
    deployment = await both.get(DEPLOYMENT, f"assistant-gw-{revision}")
    sources = [
        source["secret"]["name"]
        for volume in deployment["spec"]["template"]["spec"]["volumes"]
        for source in volume.get("projected", {}).get("sources", [])
        if "secret" in source
    ]
    assert sources == [copy["metadata"]["name"]]

    await both.apply(secret(other, "keys", token="two", unused="never copied"))

    async def followed(value: bytes) -> bool:
        found = await copies(both, SECRET)
        return [b64decode(each["data"]["token"]) for each in found] == [value]

    await eventually("the copy follows its original", lambda: followed(b"two"), 5)
    await both.kube.merge(SECRET, both.namespace, copy["metadata"]["name"], {"data": {"token": "eA=="}})
    await eventually("an edited copy is put right", lambda: followed(b"two"), 5)
    assert (await both.settled("assistant"))["status"]["revision"]["active"] == revision, (
        "values are no revision"
    )


async def test_without_consent_nothing_is_copied_and_withdrawn_consent_takes_it_back(
    both: Bench, other: str
) -> None:
    shared = f"{other}/shared"
    theirs = backend(other, "shared", auth=api_key("keys"))
    manifest = route(
        both.namespace,
        "assistant",
        [rule("all", "own", shared)],
        consumers=anyone("own", shared),
        rollout={"scaleDownDelay": "0s"},  # pods of the old revision mount the copy
    )
    await both.apply(secret(other, "keys", token="one"), backend(both.namespace, "own"), theirs, manifest)
    await both.wait_route("assistant", "ResolvedRefs", "False", reason="NotAllowed")
    await both.settled("assistant")
    assert await copies(both, SECRET) == []

    allowed = backend(other, "shared", auth=api_key("keys"), allowedRoutes={"namespaces": "All"})
    await both.apply(allowed)
    await both.wait_route("assistant", "ResolvedRefs", "True")
    await both.settled("assistant")
    assert len(await copies(both, SECRET)) == 1

    await both.apply({**theirs, "spec": {**theirs["spec"], "allowedRoutes": {"namespaces": "Same"}}})
    await both.wait_route("assistant", "ResolvedRefs", "False", reason="NotAllowed")

    async def taken_back() -> bool:
        return await copies(both, SECRET) == []

    await eventually("the copy is taken back", taken_back)
