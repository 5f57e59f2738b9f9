"""Rotations in a cluster in memory: killed at each write, a thousand due at once, and nothing secret told.

Time is virtual: it passes only while everything waits.
"""

import asyncio
import json
import selectors
import time
from base64 import b64decode, b64encode
from collections import Counter, defaultdict
from collections.abc import Callable, Coroutine
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from test_reconcile_faults import NS, _merge_patch
from test_reconcile_signing_keys import KeyServer

from moltbot_agent.evidence import fingerprint
from moltbot_operator.api import ModelBackendSpec
from moltbot_operator.constants import (
    LABEL_COMPONENT,
    LABEL_MANAGED_BY,
    LABEL_REVISION,
    LABEL_ROUTE,
    MANAGED_BY,
)
from moltbot_operator.errors import NotFound, NotOurs, Refused
from moltbot_operator.kube.cache import Cache
from moltbot_operator.kube.kinds import MODEL_BACKEND, SECRET, Kind
from moltbot_operator.reconcile.evidence import CredentialEvidence, EnvoyEvidence, Evidence
from moltbot_operator.reconcile.references import references_of
from moltbot_operator.reconcile.rotation.rotations import Rotations
from moltbot_operator.reconcile.rotation.store import BackendStore
from moltbot_operator.reconcile.rotation.tasks import AT_ONCE
from moltbot_operator.rotation import Credential, Found, Reader
from moltbot_operator.rotation.state import Mounted
from moltbot_operator.telemetry.credentials import CredentialsCollector

START = datetime(2026, 1, 1, tzinfo=UTC)
TOKEN = "evidence-token"
BOOTSTRAP = "secret-of-a-person"
SYNC = 60.0


class _Jump(selectors.DefaultSelector):
    now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready:
            assert timeout is not None, "everything waits for something that will never happen"
            self.now += max(timeout, 0)
        return ready


class VirtualTime(asyncio.SelectorEventLoop):
    """An event loop in which hours pass at once."""

    def __init__(self) -> None:
        self._jump = _Jump()
        super().__init__(self._jump)

    def time(self) -> float:
        return self._jump.now


def in_virtual_time(coroutine: Coroutine[Any, Any, Any]) -> None:
    with asyncio.Runner(loop_factory=VirtualTime) as runner:
        runner.run(coroutine)


def now() -> datetime:
    return START + timedelta(seconds=asyncio.get_running_loop().time())


class Issuer:
    """Keys of one admin API; `slow` seconds a call."""

    lists = True

    def __init__(self, slow: float = 0.1) -> None:
        self.slow = slow
        self.keys: dict[str, tuple[str, str]] = {}
        self.made = 0
        self.active = self.most_active = 0

    async def _call(self) -> None:
        self.active += 1
        self.most_active = max(self.most_active, self.active)
        try:
            await asyncio.sleep(self.slow)
        finally:
            self.active -= 1

    async def find(self, prefix: str) -> tuple[Found, ...]:
        await self._call()
        return tuple(Found(id_, tag) for id_, (tag, _) in self.keys.items() if tag.startswith(prefix))

    async def create(self, tag: str) -> Credential:
        await self._call()
        self.made += 1
        value = f"secret-{id(self)}-{self.made}"
        self.keys[f"id-{self.made}"] = (tag, value)
        return Credential(f"id-{self.made}", tag, value, {"answer": f"whole-secret-answer-{self.made}"})

    async def verify(self, credential: Credential) -> None:
        await self._call()
        if credential.value != BOOTSTRAP and all(
            value != credential.value for _, value in self.keys.values()
        ):
            raise Refused("401")

    async def revoke(self, known: Found | Credential) -> None:
        await self._call()
        if not known.id:
            raise NotOurs("it has no id")
        self.keys.pop(known.id, None)


class Server(KeyServer):
    """Also patches, and has kubelets that bring Secrets to pods."""

    def __init__(self) -> None:
        super().__init__()
        self.brought: dict[str, tuple[float, dict[str, str]]] = {}
        self.values: dict[str, set[str]] = defaultdict(set)

    async def merge(self, kind: Kind, namespace: str, name: str, patch: dict[str, Any]) -> dict[str, Any]:
        place = (kind, namespace, name)
        if place not in self.objects:
            raise NotFound(name, 404)
        result = self._write(f"merge {kind} {name}", place, lambda old: _merge_patch(old, patch))
        self.brought.pop(name, None)
        return result

    async def event(self, regarding: dict[str, Any], **event: Any) -> None:
        assert regarding["kind"] == "ModelBackend"
        self.told.append(f"{event['type']} {event['reason']} {event['message']}")

    def at_pod(self, pod: str, backend: str) -> dict[str, str]:
        """The mounted Secret as the kubelet brought it last."""
        loop_now = asyncio.get_running_loop().time()
        before = self.brought.get(pod)
        if before is None or loop_now - before[0] >= SYNC:
            data = (self.objects.get((SECRET, NS, f"{backend}-credential")) or {}).get("data") or {}
            before = (loop_now, {key: b64decode(value).decode() for key, value in data.items()})
            self.brought[pod] = before
        return before[1]


class Pods:
    """Implements EvidenceReader: what is mounted is in use."""

    def __init__(self, server: Server) -> None:
        self.server = server

    async def read(self, pod: dict[str, Any], token: str) -> Evidence:
        name = pod["metadata"]["name"]
        backend = name.split("-pod-")[0]
        has = self.server.at_pod(name, backend)
        revision = pod["metadata"]["labels"][LABEL_REVISION]
        prints = {key: fingerprint(token.encode(), value) for key, value in has.items()}
        said = CredentialEvidence(
            backend=f"{NS}/{backend}",
            present=bool(has),
            fingerprint=prints.get("value"),
            held=tuple(prints.values()),
        )
        return Evidence(
            namespace=NS,
            route=backend,
            revision=revision,
            envoy=EnvoyEvidence(live=True, revision=revision),
            credentials=(said,),
        )


def put_backend(server: Server, name: str, host: str = "issuer.example", **rotation: Any) -> None:
    issuer = {"type": "Webhook", "webhook": {"preset": "LiteLLM", "url": f"https://{host}", "secretRef": REF}}
    spec = {
        "provider": "Custom",
        "endpoint": {"url": "https://m.example"},
        "timeouts": {"connect": "1s", "firstByte": "1s"},
        "auth": {"type": "APIKey", "apiKey": {"secretRef": {"name": "keys", "key": "token"}}},
        "rotation": {"issuer": issuer, "overlap": "1m", **rotation},
    }
    head = {"apiVersion": "moltbot.io/v1alpha1", "kind": "ModelBackend"}
    server.put({**head, "metadata": {"name": name, "namespace": NS, "uid": f"uid-of-{name}"}, "spec": spec})


REF = {"name": "admin", "key": "token"}


def put_route(server: Server, name: str, pods: int = 2) -> None:
    """A route with gateway pods of two revisions, as in the middle of a rollout."""
    spec = {"rules": [{"name": "all", "candidates": [{"backend": name}]}]}
    head = {"apiVersion": "moltbot.io/v1alpha1", "kind": "MoltBotRoute"}
    server.put({**head, "metadata": {"name": name, "namespace": NS}, "spec": spec})
    secret = {"apiVersion": "v1", "kind": "Secret"}
    labels = {LABEL_ROUTE: name, LABEL_MANAGED_BY: MANAGED_BY}
    meta = {"name": f"{name}-gw-evidence", "namespace": NS, "labels": labels}
    server.put({**secret, "metadata": meta, "data": {"token": b64encode(TOKEN.encode()).decode()}})
    for number in range(pods):
        meta = {
            "name": f"{name}-pod-{number}",
            "namespace": NS,
            "labels": {**labels, LABEL_REVISION: f"r{number}"},
        }
        status = {"podIP": "10.0.0.1", "conditions": [{"type": "Ready", "status": "True"}]}
        server.put({"apiVersion": "v1", "kind": "Pod", "metadata": meta, "status": status})


def put_secret(server: Server, name: str, value: str) -> None:
    data = {"token": b64encode(value.encode()).decode()}
    server.put(
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": NS}, "data": data}
    )


class Operator:
    """Rotations with a cache of their own, as after a start."""

    def __init__(
        self,
        server: Server,
        opener: Callable[[ModelBackendSpec], Any],
        clock: Callable[[], datetime] = now,
    ) -> None:
        self.server = server
        self.cache = Cache()
        references_of(self.cache)
        for (kind, _, _), manifest in server.objects.items():
            ours = LABEL_MANAGED_BY in (manifest["metadata"].get("labels") or {})
            self.cache.put(kind, deepcopy(manifest), metadata_only=kind == SECRET and not ours)

        async def open_(spec: ModelBackendSpec, _: str, __: Reader) -> Any:
            return opener(spec)

        self.rotations = Rotations(server, self.cache, Pods(server), clock, open_)

    def poke(self, *names: str) -> None:
        for name in names:
            backend = deepcopy(self.server.objects[MODEL_BACKEND, NS, name])
            self.cache.put(MODEL_BACKEND, backend)
            self.rotations.ensure(backend, ModelBackendSpec.model_validate(backend["spec"]))


def credential(server: Server, name: str = "pro") -> dict[str, Any]:
    status = server.objects[MODEL_BACKEND, NS, name].get("status") or {}
    found: dict[str, Any] = status.get("credential") or {}
    return found


def settled(server: Server, issuer: Issuer, name: str = "pro") -> bool:
    """One rotation is over, and the gateways use its outcome."""
    status = credential(server, name)
    if status.get("phase") != "Idle" or status.get("sweepTime") or len(issuer.keys) != 1:
        return False
    [(_, value)] = issuer.keys.values()
    return server.at_pod(f"{name}-pod-0", name).get("value") == value


async def until(what: Callable[[], bool], seconds: float = 7200) -> None:
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    while not what():
        assert loop.time() < end, "not within the time"
        await asyncio.sleep(0.25)


@pytest.fixture
def server() -> Server:
    made = Server()
    put_secret(made, "keys", BOOTSTRAP)
    put_backend(made, "pro", rotateAt="2026-01-01T00:00:00Z")
    put_route(made, "pro")
    return made


def test_a_credential_is_replaced_and_nothing_secret_is_told(server: Server) -> None:
    async def run() -> None:
        issuer = Issuer()
        operator = Operator(server, lambda _: issuer)
        operator.poke("pro")
        await until(lambda: settled(server, issuer))
        await operator.rotations.close()
        [(_, value)] = issuer.keys.values()
        versions = [
            each
            for (kind, _, _), each in server.objects.items()
            if kind == SECRET
            and (each["metadata"].get("labels") or {}).get(LABEL_COMPONENT) == "credential-version"
        ]
        [kept] = versions
        assert kept["immutable"] is True
        assert kept["metadata"]["ownerReferences"][0]["uid"] == "uid-of-pro"
        assert b64decode(kept["data"]["kept.answer"]).decode() == "whole-secret-answer-1"
        assert b64decode(kept["data"]["value"]).decode() == value
        assert kept["metadata"]["name"] == f"pro-credential-{credential(server)['version']}"
        assert any(write.startswith("merge Pod pro-pod-1") for write in server.writes)
        told = json.dumps([credential(server), server.told, server.writes])
        assert "secret-" not in told
        reasons = [each.split()[1] for each in server.told]
        assert reasons == [
            "CredentialAdopted",
            "CredentialRotationStarted",
            "CredentialPromoted",
            "CredentialNotRevoked",
            "CredentialRotated",
        ]
        operator.cache.put(MODEL_BACKEND, deepcopy(server.objects[MODEL_BACKEND, NS, "pro"]))
        names = {family.name for family in CredentialsCollector(operator.cache).collect() if family.samples}
        assert {"moltbot_credential_age_seconds", "moltbot_credential_interval_seconds"} <= names
        before = len(server.writes)
        again = Operator(server, lambda _: issuer)
        again.poke("pro")
        await asyncio.sleep(3600)
        await again.rotations.close()
        assert len(server.writes) == before, "nothing is written at rest"

    in_virtual_time(run())


WRITES = range(20)


@pytest.mark.parametrize("fault", ["refuse", "lose", "kill"])
@pytest.mark.parametrize("at", WRITES)
def test_killed_or_cut_off_at_any_write_one_credential_is_left(server: Server, at: int, fault: str) -> None:
    async def run() -> None:
        issuer = Issuer()
        dead = False

        def fail(number: int) -> str:
            nonlocal dead
            if dead:
                return "refuse"  # whatever a dead operator would still write
            if number == first + at:
                dead = fault == "kill"
                return fault
            return ""

        first = len(server.writes)
        server.fault = fail
        operator = Operator(server, lambda _: issuer)
        operator.poke("pro")
        await until(lambda: dead or settled(server, issuer))
        await operator.rotations.close()
        server.fault = lambda _: ""
        after = Operator(server, lambda _: issuer)
        after.poke("pro")
        await until(lambda: settled(server, issuer))
        await after.rotations.close()
        assert credential(server)["attempts"] == 0

    in_virtual_time(run())


def test_an_api_server_that_is_down_for_ten_minutes_delays_and_spoils_nothing(server: Server) -> None:
    async def run() -> None:
        issuer = Issuer()
        operator = Operator(server, lambda _: issuer)
        operator.poke("pro")
        await until(lambda: credential(server).get("phase") == "Overlap")
        server.fault = lambda _: "refuse"
        await asyncio.sleep(600)
        server.fault = lambda _: ""
        await until(lambda: settled(server, issuer))
        await operator.rotations.close()
        assert issuer.made == 1

    in_virtual_time(run())


def test_a_thousand_due_at_once_are_spread_and_a_hanging_issuer_delays_only_its_own() -> None:
    async def run() -> None:
        server = Server()
        put_secret(server, "keys", BOOTSTRAP)
        hosts = ("quick.example", "slow.example", "hangs.example")
        names = [f"m{number}" for number in range(999)]
        old = START - timedelta(days=5)
        issuers = {hosts[0]: Issuer(0.1), hosts[1]: Issuer(2.0), hosts[2]: Issuer(10_000)}
        for number, name in enumerate(names):
            put_backend(server, name, hosts[number % 3])
            due = {"nextRotationTime": old.isoformat(), "lastRotationTime": old.isoformat()}
            version = {"version": "v0", "phase": "Idle", "attempts": 0}
            server.objects[MODEL_BACKEND, NS, name]["status"] = {"credential": {**due, **version}}
        operator = Operator(server, lambda spec: issuers[_host(spec)])
        for name in names:  # the credential of five days ago
            store = BackendStore(server, operator.cache, server.objects[MODEL_BACKEND, NS, name])
            await store.put("v0", Credential("", "", BOOTSTRAP))
            await store.mount(Mounted("v0"))
        began = asyncio.get_running_loop().time()
        operator.poke(*names)
        slowest = 0.0
        quick, slow = issuers[hosts[0]], issuers[hosts[1]]

        while quick.made + slow.made < 666:
            assert asyncio.get_running_loop().time() - began < 3600
            used = time.process_time()
            operator.poke("m0")
            await asyncio.sleep(0)
            slowest = max(slowest, time.process_time() - used)
            await asyncio.sleep(1)
        await operator.rotations.close()
        assert max(each.most_active for each in issuers.values()) <= AT_ONCE
        starts = [
            datetime.fromisoformat(credential(server, name)["lastRotationTime"])
            for name in names
            if credential(server, name)["version"] != "v0"
        ]
        minutes = Counter(int((each - START).total_seconds() // 60) for each in starts)
        assert max(minutes.values()) < 200, f"no stampede: {sorted(minutes.items())}"
        assert slowest < 1, "other work goes on between: no turn of the loop takes a second of the processor"

    in_virtual_time(run())


def _host(spec: ModelBackendSpec) -> str:
    assert spec.rotation
    assert spec.rotation.issuer.webhook
    return (spec.rotation.issuer.webhook.url or "").removeprefix("https://")
