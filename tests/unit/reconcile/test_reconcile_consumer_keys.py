"""Keys of consumers are made and replaced in a cluster in memory: killed at each write, shared, adopted.

A client reads the name `key` of the Secret whenever it sends a request; every pod must take what it reads.
"""

import asyncio
from base64 import b64decode, b64encode
from copy import deepcopy
from datetime import timedelta
from typing import Any

import pytest
from test_reconcile_faults import NS
from test_reconcile_rotation import SYNC, Server, in_virtual_time, now, put_route, until

from moltbot_agent.evidence import fingerprint
from moltbot_operator.constants import (
    ANNOTATION_ROTATE_AT,
    LABEL_COMPONENT,
    LABEL_MANAGED_BY,
    LABEL_REVISION,
    MANAGED_BY,
)
from moltbot_operator.kube.cache import Cache
from moltbot_operator.kube.kinds import MOLTBOT_ROUTE, SECRET
from moltbot_operator.reconcile.evidence import ConsumerEvidence, EnvoyEvidence, Evidence
from moltbot_operator.reconcile.references import references_of
from moltbot_operator.reconcile.rotation.consumer_store import is_rotated_key, state_of
from moltbot_operator.reconcile.rotation.consumers import ConsumerKeys
from moltbot_operator.rotation.state import Phase
from moltbot_operator.telemetry.credentials import CredentialsCollector

PLACE = (SECRET, NS, "app-key")
LABELS = {LABEL_MANAGED_BY: MANAGED_BY, LABEL_COMPONENT: "consumer-key"}


class KeyServer(Server):
    """Kubelets bring the consumer's Secret; events are about routes."""

    async def event(self, regarding: dict[str, Any], **event: Any) -> None:
        assert regarding["kind"] == "MoltBotRoute"
        self.told.append(f"{event['type']} {event['reason']} {event['message']}")

    def secret(self) -> dict[str, str]:
        data = (self.objects.get(PLACE) or {}).get("data") or {}
        return {key: b64decode(value).decode() for key, value in data.items()}

    def at_pod(self, pod: str, _: str = "") -> dict[str, str]:
        time = asyncio.get_running_loop().time()
        before = self.brought.get(pod)
        if before is None or time - before[0] >= SYNC:
            self.brought[pod] = before = (time, self.secret())
        return before[1]


class Pods:
    def __init__(self, server: KeyServer) -> None:
        self.server = server
        self.tells = True

    async def read(self, pod: dict[str, Any], token: str) -> Evidence:
        has = self.server.at_pod(pod["metadata"]["name"])
        held = tuple(fingerprint(token.encode(), value) for value in has.values())
        revision = pod["metadata"]["labels"][LABEL_REVISION]
        return Evidence(
            namespace=NS,
            route="web",
            revision=revision,
            envoy=EnvoyEvidence(live=True, revision=revision),
            consumers=(ConsumerEvidence(consumer="app", held=held),) if self.tells else None,
        )


class Operator:
    """As after a start: what it has besides the cluster is empty."""

    def __init__(self, server: KeyServer) -> None:
        self.server = server
        self.cache = Cache()
        references_of(self.cache)
        for (kind, _, _), manifest in server.objects.items():
            ours = LABEL_MANAGED_BY in (manifest["metadata"].get("labels") or {})
            self.cache.put(kind, deepcopy(manifest), metadata_only=kind == SECRET and not ours)
        self.pods = Pods(server)
        self.keys = ConsumerKeys(server, self.cache, self.pods, now)

    def poke(self, *names: str) -> None:
        for name in names or ("web",):
            self.keys.ensure(deepcopy(self.server.objects[MOLTBOT_ROUTE, NS, name]))


def put_consumer(server: KeyServer, name: str = "web", **rotation: str) -> None:
    put_route(server, name)
    route = server.objects[MOLTBOT_ROUTE, NS, name]
    auth = {
        "apiKey": {
            "secretRef": {"name": "app-key"},
            "rotation": {"interval": "12m", "overlap": "2m", **rotation},
        }
    }
    route["spec"]["consumers"] = [{"name": "app", "auth": auth}]


def put_key(server: KeyServer, labels: dict[str, str], **values: str) -> None:
    data = {name: b64encode(value.encode()).decode() for name, value in values.items()}
    meta = {"name": "app-key", "namespace": NS, "labels": labels}
    server.put({"apiVersion": "v1", "kind": "Secret", "metadata": meta, "data": data})


def at_rest(server: KeyServer) -> bool:
    secret = server.objects.get(PLACE)
    if secret is None or not is_rotated_key(secret):
        return False
    state, values = state_of(secret), server.secret()
    stored = [name for name in values if name.startswith("key-2")]
    return state.phase is Phase.IDLE and stored == [f"key-{state.version}"]


async def clients_are_let_in(server: KeyServer, refused: list[str]) -> None:
    """At each quarter of a second, at each pod."""
    while True:
        key = server.secret().get("key")
        pods = ("web-pod-0", "web-pod-1") if key is not None else ()
        refused += [f"{now()} {pod}" for pod in pods if key not in server.at_pod(pod).values()]
        await asyncio.sleep(0.25)


@pytest.fixture
def server() -> KeyServer:
    made = KeyServer()
    put_consumer(made)
    return made


def test_a_key_is_made_and_replaced_while_every_client_is_let_in(server: KeyServer) -> None:
    async def run() -> None:
        operator, refused = Operator(server), list[str]()
        operator.poke()
        await until(lambda: at_rest(server))
        first = server.secret()["key"]
        [owner] = server.objects[PLACE]["metadata"]["ownerReferences"]
        assert (owner["kind"], owner["name"]) == ("MoltBotRoute", "web")
        await asyncio.sleep(SYNC)
        watch = asyncio.create_task(clients_are_let_in(server, refused))
        await until(lambda: server.secret()["key"] != first, 900)
        assert first in server.at_pod("web-pod-0").values()  # for clients that still have it
        changed = now()
        await until(lambda: at_rest(server))
        assert now() - changed >= timedelta(minutes=2)
        await until(lambda: first not in server.at_pod("web-pod-0").values(), 1)
        watch.cancel()
        await operator.keys.close()
        assert not refused
        told = " ".join(server.told) + str(server.objects[PLACE]["metadata"])
        assert not [value for value in (first, *server.secret().values()) if value in told]
        names = {each.name for each in CredentialsCollector(operator.cache).collect() if each.samples}
        assert {
            "moltbot_consumer_key_age_seconds",
            "moltbot_consumer_key_next_rotation_timestamp_seconds",
        } <= names
        before = len(server.writes)
        again = Operator(server)
        again.poke()
        await asyncio.sleep(400)
        await again.keys.close()
        assert len(server.writes) == before, "nothing is written at rest"

    in_virtual_time(run())


@pytest.mark.parametrize("fault", ["refuse", "lose", "kill"])
@pytest.mark.parametrize("at", range(16))
def test_killed_or_cut_off_at_any_write_one_key_is_left(server: KeyServer, at: int, fault: str) -> None:
    async def run() -> None:
        dead, refused = False, list[str]()

        def fail(number: int) -> str:
            nonlocal dead
            if dead:
                return "refuse"  # whatever a dead operator would still write
            if number == first + at:
                dead = fault == "kill"
                return fault
            return ""

        put_key(server, LABELS, key="key-of-a-person")
        watch = asyncio.create_task(clients_are_let_in(server, refused))
        first = len(server.writes)
        server.fault = fail
        operator = Operator(server)
        operator.poke()
        end = asyncio.get_running_loop().time() + 700
        await until(lambda: dead or asyncio.get_running_loop().time() > end, 900)
        await operator.keys.close()
        server.fault, dead = lambda _: "", False
        again = Operator(server)
        again.poke()
        await until(lambda: at_rest(server) and server.secret()["key"] != "key-of-a-person", 900)
        await again.keys.close()
        watch.cancel()
        assert not refused

    in_virtual_time(run())


def test_a_leaked_key_that_is_taken_out_is_replaced_at_once(server: KeyServer) -> None:
    async def run() -> None:
        operator = Operator(server)
        operator.poke()
        await until(lambda: at_rest(server))
        leaked, version = server.secret()["key"], state_of(server.objects[PLACE]).version
        changed = await server.merge(SECRET, NS, "app-key", {"data": {f"key-{version}": None}})
        operator.cache.put(SECRET, changed)
        operator.poke()
        await until(lambda: leaked not in server.secret().values(), 10)
        await until(lambda: leaked not in server.at_pod("web-pod-1").values(), 10)
        await until(lambda: at_rest(server))
        await operator.keys.close()

    in_virtual_time(run())


def test_a_persons_secret_is_written_only_with_the_labels_and_other_names_in_it_are_kept(
    server: KeyServer,
) -> None:
    async def run() -> None:
        put_key(server, {}, key="theirs", other="another")
        before = deepcopy(server.objects[PLACE])
        operator = Operator(server)
        operator.poke()
        await until(lambda: bool(server.told), 60)
        await operator.keys.close()
        assert server.objects[PLACE] == before
        assert server.told[0].startswith("Warning CredentialRotationHeldUp")
        assert "kubectl label secret" in server.told[0]
        assert "theirs" not in server.told[0]
        put_key(server, LABELS, key="theirs", other="another")
        again = Operator(server)
        again.poke()
        await until(lambda: at_rest(server), 60)
        assert server.secret()["key"] == "theirs"  # the first of the versions
        await until(lambda: server.secret()["key"] != "theirs", 900)
        await until(lambda: at_rest(server))
        assert server.secret()["other"] == "another"
        assert "theirs" not in server.secret().values()
        await again.keys.close()

    in_virtual_time(run())


def test_routes_that_share_a_secret_have_one_rotation_by_the_most_careful_wishes(server: KeyServer) -> None:
    async def run() -> None:
        put_consumer(server, "chat", interval="6m", overlap="4m")
        operator = Operator(server)
        operator.poke("web", "chat")
        await until(lambda: at_rest(server))
        assert len(server.objects[PLACE]["metadata"]["ownerReferences"]) == 2
        first = server.secret()["key"]
        await until(lambda: server.secret()["key"] != first, 400)
        changed = now()
        await until(lambda: at_rest(server))
        assert now() - changed >= timedelta(minutes=4)
        second = server.secret()["key"]
        operator.keys.forget(NS, "chat")
        await until(lambda: server.secret()["key"] != second, 900)  # the other one still wants it
        await until(lambda: at_rest(server))
        second = server.secret()["key"]
        operator.keys.forget(NS, "web")
        await asyncio.sleep(2000)
        assert server.secret()["key"] == second
        await operator.keys.close()

    in_virtual_time(run())


def test_a_pod_that_does_not_tell_keeps_the_old_key(server: KeyServer) -> None:
    async def run() -> None:
        put_key(server, LABELS, key="theirs")
        operator = Operator(server)
        operator.poke()
        await until(lambda: at_rest(server))
        operator.pods.tells = False
        await asyncio.sleep(900)
        state = state_of(server.objects[PLACE])
        assert state.phase is Phase.DISTRIBUTED
        assert "does not tell" in state.message
        assert server.secret()["key"] == "theirs"
        operator.pods.tells = True
        await until(lambda: at_rest(server) and server.secret()["key"] != "theirs")
        await operator.keys.close()

    in_virtual_time(run())


@pytest.mark.parametrize("text", ["tomorrow", "", "s3cret-of-a-person", "0001-01-01T00:00:00+14:00"])
def test_an_annotation_that_is_no_time_is_told_once_and_disturbs_nothing(
    server: KeyServer, text: str
) -> None:
    async def run() -> None:
        operator = Operator(server)
        operator.poke()
        await until(lambda: at_rest(server))
        await asyncio.sleep(1)
        version, before = state_of(server.objects[PLACE]).version, len(server.told)
        annotations = operator.cache.get(*PLACE)["metadata"]["annotations"]  # type: ignore[index]
        annotations[ANNOTATION_ROTATE_AT] = text
        for _ in range(3):
            operator.poke()
            await asyncio.sleep(1)
        [told] = server.told[before:]
        assert told.startswith("Warning RotateAtIgnored annotation moltbot.io/rotate-at of Secret")
        assert f"{NS}/app-key" in told
        assert "2026-01-31T08:00:00Z" in told
        assert not text or text not in told
        assert state_of(server.objects[PLACE]).version == version
        annotations[ANNOTATION_ROTATE_AT] = now().isoformat()
        operator.poke()
        await until(lambda: state_of(server.objects[PLACE]).version != version, 600)
        await operator.keys.close()

    in_virtual_time(run())
