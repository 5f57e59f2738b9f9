"""The shell without our reconcilers: what it holds, when work begins, what it survives, what it writes."""

# ruff: noqa: ARG002 - stand-ins have the signatures of what they stand for

import asyncio
import json
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import aiohttp
import pytest
from cut_line import Line
from standins import eventually

from moltbot_operator import operator_process
from moltbot_operator.constants import LABEL_MANAGED_BY, LABEL_ROUTE, MANAGED_BY
from moltbot_operator.kube.kinds import CONFIG_MAP, MODEL_BACKEND, MOLTBOT_ROUTE, NAMESPACE, SECRET
from moltbot_operator.kube.queue import Key

pytestmark = pytest.mark.api


def labelled(namespace: str, name: str, route: str = "r", **rest: Any) -> dict[str, Any]:
    labels = {LABEL_MANAGED_BY: MANAGED_BY, LABEL_ROUTE: route}
    meta = {"namespace": namespace, "name": name, "labels": labels}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, **rest}


def secret(namespace: str, name: str) -> dict[str, Any]:
    meta = {"namespace": namespace, "name": name}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": meta, "stringData": {"key": "hush"}}


def model_backend(namespace: str, name: str) -> dict[str, Any]:
    meta = {"namespace": namespace, "name": name}
    return {
        "apiVersion": "moltbot.io/v1alpha1", "kind": "ModelBackend", "metadata": meta,
        "spec": {"provider": "Custom", "model": "m", "endpoint": {"url": "http://127.0.0.1:1"}},
    }  # fmt: skip


class Shell:
    """The operator with reconcilers that only look: for each key, how many ConfigMaps its route has."""

    def __init__(self, settings, **changes):
        self.settings = settings.model_copy(update=changes)
        self.stop = asyncio.Event()
        self.cache: Any = None
        self.looks: list[tuple[Key, int]] = []
        self.code: asyncio.Task[int] | None = None

    def reconcilers(self, cluster, cache, evidence, clock, settings):
        self.cache = cache

        async def look(key):
            self.looks.append((key, len(cache.owned_by(key.namespace, key.name, CONFIG_MAP))))

        return {"Route": look, "Backend": look}

    def affected(self, cache, kind, found):
        meta = found["metadata"]
        if kind == MODEL_BACKEND:
            return [Key("Backend", meta["namespace"], meta["name"])]
        route = (meta.get("labels") or {}).get(LABEL_ROUTE)
        return [Key("Route", meta["namespace"], route)] if route else []

    def has(self, kind, namespace, name):
        async def probe():
            return self.cache is not None and self.cache.get(kind, namespace, name) is not None

        return probe

    def lacks(self, kind, namespace, name):
        async def probe():
            return self.cache.get(kind, namespace, name) is None

        return probe


@asynccontextmanager
async def shell(settings, **changes):
    made = Shell(settings, **changes)
    made.code = asyncio.create_task(
        operator_process.run(
            made.settings, evidence=object(), stop=made.stop,
            affected=made.affected, reconcilers=made.reconcilers,
        )
    )  # fmt: skip
    try:
        yield made
    finally:
        made.stop.set()
        async with asyncio.timeout(30):
            await asyncio.wait([made.code])


async def idle(made):
    """Work has begun, and nothing more has been looked at for a second."""

    async def probe():
        if made.code.done():
            raise AssertionError(f"ended with {made.code.result()}")
        before = len(made.looks)
        await asyncio.sleep(1)
        return before and len(made.looks) == before

    await eventually("idle", probe, 60)


async def test_no_key_is_looked_at_before_everything_is_listed(kube, settings, namespace):
    for number in range(30):
        await kube.apply(labelled(namespace, f"part-{number:02}"))
    async with shell(settings, namespaces=(namespace,)) as made:
        await idle(made)
    assert made.code.result() == 0
    assert {held for key, held in made.looks if key.name == "r"} == {30}, "never a half-full cache"
    assert [key.name for key, _ in made.looks].count("r") == 1, "30 events, one look"


async def test_changes_arrive_and_only_metadata_of_strangers_secrets_is_held(kube, settings, namespace):
    await kube.create(secret(namespace, "first"))
    await kube.create(labelled(namespace, "ours", data={"a": "b"}))
    async with shell(settings) as made:
        await eventually("first listed", made.has(SECRET, namespace, "first"))
        await kube.create(secret(namespace, "second"))
        await kube.apply(model_backend(namespace, "m"))
        await eventually("a secret", made.has(SECRET, namespace, "second"))
        await eventually("a backend", made.has(MODEL_BACKEND, namespace, "m"))
        await eventually("ours", made.has(CONFIG_MAP, namespace, "ours"))
        assert made.cache.get(CONFIG_MAP, namespace, "ours")["data"] == {"a": "b"}
        for name in ("first", "second"):
            found = made.cache.get(SECRET, namespace, name)
            assert found["kind"] == "PartialObjectMetadata"
            assert set(found) == {"apiVersion", "kind", "metadata"}
        assert made.cache.get(NAMESPACE, "", namespace)["metadata"]["labels"]
        await kube.delete(SECRET, namespace, "first")
        await eventually("its deletion", made.lacks(SECRET, namespace, "first"))
        await kube.merge(CONFIG_MAP, namespace, "ours", {"metadata": {"labels": {LABEL_MANAGED_BY: None}}})

        async def metadata_now():
            found = made.cache.get(CONFIG_MAP, namespace, "ours")  # None while only one watch has told
            return found is not None and found["kind"] == "PartialObjectMetadata"

        await eventually("a child that lost our label", metadata_now)
    assert made.code.result() == 0


async def test_idle_and_restarted_the_shell_writes_nothing_but_its_lease(api_bed, kube, settings, namespace):
    user = f"{namespace}-shell"
    kubeconfig = str(api_bed.user_kubeconfig(user, ["system:masters"]))
    for number in range(20):
        await kube.apply(labelled(namespace, f"part-{number:02}"))
        await kube.apply(model_backend(namespace, f"m-{number:02}"))
    for _ in range(2):
        async with shell(settings, kubeconfig=kubeconfig) as made:
            await idle(made)
            await asyncio.sleep(5)
    mine = [event for event in api_bed.audit_events() if event["user"]["username"] == user]
    written = {e["objectRef"]["resource"] for e in mine if e["verb"] not in {"get", "list", "watch"}}
    assert written == {"leases"}
    backend = await kube.get(MODEL_BACKEND, namespace, "m-00")
    assert not backend["metadata"].get("annotations"), "kopf left no mark"
    assert not backend["metadata"].get("finalizers")
    whole = [
        event for event in mine
        if event["verb"] in {"list", "watch"} and event["objectRef"]["resource"] in {"secrets", "configmaps"}
    ]  # fmt: skip
    assert all("labelSelector" in event["requestURI"] for event in whole), "never all Secrets of the cluster"


async def test_a_deletion_that_no_watch_could_tell_of_is_found_within_seconds(
    api_bed, kube, settings, namespace, tmp_path
):
    """The line is cut, an object deleted, the API server restarted: kopf lists anew and sees no deletion."""
    line = Line(api_bed.kubeconfig, tmp_path)
    await line.mend()
    for name in ("stays", "goes"):
        await kube.apply(labelled(namespace, name))
        await kube.create(secret(namespace, name))
    patient = {
        "lease_duration": timedelta(seconds=120),
        "renew_deadline": timedelta(seconds=100),
        "kubeconfig": str(line.kubeconfig),
    }
    async with shell(settings, **patient) as made:
        await idle(made)
        assert made.cache.get(CONFIG_MAP, namespace, "goes") is not None
        await line.cut()
        await kube.delete(CONFIG_MAP, namespace, "goes")
        await kube.delete(SECRET, namespace, "goes")
        api_bed.restart_apiserver()
        made.looks.clear()
        await line.mend()
        await eventually("the deletion", made.lacks(CONFIG_MAP, namespace, "goes"), 30)
        await eventually("the secret's deletion", made.lacks(SECRET, namespace, "goes"), 30)
        assert made.cache.get(CONFIG_MAP, namespace, "stays") is not None
        assert made.cache.get(SECRET, namespace, "stays") is not None
        await eventually("its owner is looked at", looked(made, Key("Route", namespace, "r")), 10)
        await kube.apply(labelled(namespace, "later"))
        await eventually("watching goes on", made.has(CONFIG_MAP, namespace, "later"), 30)
        assert not made.code.done()
    assert made.code.result() == 0
    await line.cut()


def looked(made, key):
    async def probe():
        return key in [looked_at for looked_at, _ in made.looks]

    return probe


async def test_health_and_metrics_are_up_in_standby_and_while_leading(
    settings, namespace, unused_tcp_port_factory, kube
):
    ports = [unused_tcp_port_factory() for _ in range(4)]
    first = {"health_port": ports[0], "metrics_port": ports[1], "namespaces": (namespace,)}
    second = {"health_port": ports[2], "metrics_port": ports[3], "namespaces": (namespace,), "identity": "b"}
    await kube.apply(labelled(namespace, "part"))
    async with aiohttp.ClientSession() as http, shell(settings, **first) as leader:
        await idle(leader)
        async with shell(settings, **second):
            await eventually("a standby", answers(http, ports[2], "/readyz"), 15)
            assert await text(http, ports[2], "/healthz") == "ok\n"
            standing = await text(http, ports[3], "/metrics")
            leading = await text(http, ports[1], "/metrics")
    assert "moltbot_leader 0.0" in standing
    assert "moltbot_leader 1.0" in leading
    assert "moltbot_cache_synced 1.0" in leading
    assert 'moltbot_cache_objects{kind="ConfigMap"}' in leading
    assert 'moltbot_reconcile_total{kind="Route",outcome="success"} 1.0' in leading
    assert 'moltbot_writes_total{resource="leases",verb="update"}' in leading
    assert 'moltbot_api_calls_total{code="200",resource="moltbotroutes",verb="watch"}' in leading
    assert "moltbot_queue_depth 0.0" in leading


def answers(http, port, path):
    async def probe():
        try:
            async with http.get(f"http://127.0.0.1:{port}{path}") as response:
                return response.status == 200
        except aiohttp.ClientError:
            return False

    return probe


async def text(http, port, path):
    async with http.get(f"http://127.0.0.1:{port}{path}") as response:
        assert response.status == 200
        return await response.text()


@pytest.mark.parametrize("granted", ["leases.coordination.k8s.io", "*.*"])
async def test_without_rights_the_process_ends_and_says_what_it_lacks(
    api_bed, settings, namespace, capfd, granted
):
    """With rights on the Lease alone, and with all rights in its own namespace but none in the cluster."""
    user = f"{namespace}-nobody"
    role = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": {"name": "some", "namespace": namespace},
        "rules": [
            {
                "apiGroups": [granted.partition(".")[2]],
                "resources": [granted.partition(".")[0]],
                "verbs": ["*"],
            }
        ],
    }
    if granted == "*.*":
        role["rules"][0]["apiGroups"] = ["*"]
    api_bed.kubectl("apply", "-f", "-", stdin=json.dumps(role))
    api_bed.kubectl(
        "create", "rolebinding", "some", f"--namespace={namespace}", "--role=some", f"--user={user}"
    )
    async with shell(settings, kubeconfig=str(api_bed.user_kubeconfig(user))) as made, asyncio.timeout(60):
        assert await made.code == 1
    said = "".join(capfd.readouterr())
    assert "403" in said
    assert "RBAC" in said


async def test_the_client_lists_in_chunks_what_the_server_has(kube, namespace, monkeypatch):
    monkeypatch.setattr("moltbot_operator.kube.client.CHUNK", 7)
    for number in range(20):
        await kube.apply(labelled(namespace, f"part-{number:02}"))
    pages = [
        page async for page in kube.pages(CONFIG_MAP, namespace, labels=f"{LABEL_MANAGED_BY}={MANAGED_BY}")
    ]
    assert [len(page.items) for page in pages] == [7, 7, 6]
    assert len({page.resource_version for page in pages}) == 1
    metadata = [page async for page in kube.pages(MOLTBOT_ROUTE, namespace, metadata_only=True)]
    assert metadata[0].items == []
