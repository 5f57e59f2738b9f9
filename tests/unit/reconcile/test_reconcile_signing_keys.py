"""Managed signing keys: made once, never overwritten, published whatever happens in between."""

import json
from base64 import b64decode, b64encode
from copy import deepcopy
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from test_reconcile_faults import NS, Killed, Server

from moltbot_agent.signing import new_key, public_jwk
from moltbot_operator.errors import ClusterError, Conflict
from moltbot_operator.kube.cache import Cache
from moltbot_operator.kube.kinds import CONFIG_MAP, KINDS, MODEL_BACKEND, SECRET, kind_of
from moltbot_operator.kube.queue import Key
from moltbot_operator.reconcile import affected
from moltbot_operator.reconcile.backend import BackendReconciler
from moltbot_operator.reconcile.references import references_of

KEY = Key("Backend", NS, "pro")
SECRET_PLACE = (SECRET, NS, "pro-signing-key-es256")
JWKS_PLACE = (CONFIG_MAP, NS, "pro-jwks")


class KeyServer(Server):
    """Also takes new objects, and notes what it tells users."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[str] = []

    async def create(self, manifest: dict[str, Any]) -> dict[str, Any]:
        meta = manifest["metadata"]
        place = (kind_of(manifest), meta["namespace"], meta["name"])
        if place in self.objects:
            raise Conflict(f"{place} exists", 409)
        return self._write(f"create {place[0]} {meta['name']}", place, lambda _: deepcopy(manifest))

    async def event(self, regarding: dict[str, Any], **event: Any) -> None:
        assert regarding["metadata"]["name"] == "pro"
        self.told.append(event["reason"])


def backend(algorithm: str = "ES256", **signing: Any) -> dict[str, Any]:
    jwt = {"issuer": "i", "subject": "s", "audience": "a", "algorithm": algorithm}
    auth = {"type": "JWT", "jwt": {**jwt, "signingKey": signing or {"managed": True}}}
    spec = {"provider": "Custom", "endpoint": {"url": "https://m.example"}, "auth": auth}
    metadata = {"name": "pro", "namespace": NS}
    return {"apiVersion": "moltbot.io/v1alpha1", "kind": "ModelBackend", "metadata": metadata, "spec": spec}


async def reconcile(server: KeyServer) -> Any:
    """By an operator that has just started."""
    cache = Cache()
    for (kind, _, _), manifest in server.objects.items():
        assert kind in KINDS
        ours = "app.kubernetes.io/managed-by" in (manifest["metadata"].get("labels") or {})
        cache.put(kind, deepcopy(manifest), metadata_only=kind in {SECRET, CONFIG_MAP} and not ours)
    now = datetime(2026, 1, 1, tzinfo=UTC)
    reconciler = BackendReconciler(server, cache, None, lambda: now, SimpleNamespace())  # type: ignore[arg-type]
    return await reconciler.reconcile(KEY)


def condition(server: KeyServer, kind: str = "CredentialReady") -> dict[str, Any]:
    conditions = server.objects[MODEL_BACKEND, NS, "pro"]["status"]["conditions"]
    return next(each for each in conditions if each["type"] == kind)


def jwks(server: KeyServer) -> list[dict[str, Any]]:
    keys: list[dict[str, Any]] = json.loads(server.objects[JWKS_PLACE]["data"]["jwks.json"])["keys"]
    return keys


def pem(server: KeyServer, algorithm: str = "es256") -> str:
    secret = server.objects[SECRET, NS, f"pro-signing-key-{algorithm}"]
    return b64decode(secret["data"]["key.pem"]).decode()


@pytest.fixture
def server() -> KeyServer:
    made = KeyServer()
    made.put(backend())
    return made


async def test_a_key_is_made_kept_and_published(server: KeyServer) -> None:
    await reconcile(server)
    assert jwks(server) == [public_jwk(pem(server), "ES256")]
    assert "d" not in jwks(server)[0]
    assert condition(server)["status"] == "True"
    assert f"ConfigMap {NS}/pro-jwks" in condition(server)["message"]
    assert condition(server, "Ready")["status"] == "True"
    assert server.told == ["SigningKeyMade"]
    uid = server.objects[MODEL_BACKEND, NS, "pro"]["metadata"]["uid"]
    for place in (SECRET_PLACE, JWKS_PLACE):
        [owner] = server.objects[place]["metadata"]["ownerReferences"]
        assert (owner["kind"], owner["uid"], owner["controller"]) == ("ModelBackend", uid, True)
    before, writes = pem(server), len(server.writes)
    await reconcile(server)
    assert pem(server) == before
    assert len(server.writes) == writes


async def test_the_jwks_is_in_the_config_map_that_the_spec_names(server: KeyServer) -> None:
    named = backend()
    issuer = {"type": "ManagedKey", "managedKey": {"configMapName": "for-them"}}
    named["spec"]["rotation"] = {"issuer": issuer}
    server.put(named)
    await reconcile(server)
    assert (CONFIG_MAP, NS, "for-them") in server.objects
    assert JWKS_PLACE not in server.objects
    assert f"ConfigMap {NS}/for-them" in condition(server)["message"]
    cache = Cache()
    references_of(cache)
    cache.put(MODEL_BACKEND, deepcopy(server.objects[MODEL_BACKEND, NS, "pro"]))
    changed = server.objects[CONFIG_MAP, NS, "for-them"]
    assert KEY in affected(cache, CONFIG_MAP, changed)  # put right when somebody edits it


@pytest.mark.parametrize("fault", ["lose", "kill", "refuse"])
@pytest.mark.parametrize("at", [0, 1, 2])
async def test_a_crash_at_any_write_leaves_one_key_that_is_published(
    server: KeyServer, at: int, fault: str
) -> None:
    server.fault = lambda write: fault if write == at else ""
    with pytest.raises((Killed, ClusterError)):
        await reconcile(server)
    made = pem(server) if SECRET_PLACE in server.objects else None
    await reconcile(server)
    assert made in {None, pem(server)}
    assert jwks(server) == [public_jwk(pem(server), "ES256")]
    assert condition(server)["status"] == "True"


async def test_somebody_elses_secret_of_that_name_is_left_alone(server: KeyServer) -> None:
    theirs = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": SECRET_PLACE[2], "namespace": NS}}
    server.put({**theirs, "data": {"key.pem": "dGhlaXJz"}})
    assert await reconcile(server) is not None
    assert pem(server) == "theirs"
    assert (condition(server)["status"], condition(server)["reason"]) == ("False", "NameTaken")
    assert JWKS_PLACE not in server.objects


async def test_a_secret_of_a_deleted_backend_is_waited_for(server: KeyServer) -> None:
    await reconcile(server)
    server.objects[SECRET_PLACE]["metadata"]["ownerReferences"][0]["uid"] = "of-the-deleted"
    again = await reconcile(server)
    assert again is not None
    assert again.total_seconds() <= 1
    assert condition(server)["status"] == "False"
    del server.objects[SECRET_PLACE]
    await reconcile(server)
    assert jwks(server) == [public_jwk(pem(server), "ES256")]


async def test_a_spoilt_key_is_named_and_not_overwritten(server: KeyServer) -> None:
    await reconcile(server)
    server.objects[SECRET_PLACE]["data"]["key.pem"] = b64encode(b"junk").decode()
    await reconcile(server)
    assert pem(server) == "junk"
    assert condition(server)["reason"] == "SecretValueUnusable"
    assert "delete the Secret" in condition(server)["message"]
    assert "junk" not in json.dumps(server.objects[MODEL_BACKEND, NS, "pro"])


async def test_a_published_jwks_that_somebody_changes_is_put_right(server: KeyServer) -> None:
    await reconcile(server)
    server.objects[JWKS_PLACE]["data"] = {"jwks.json": "{}"}
    await reconcile(server)
    assert jwks(server) == [public_jwk(pem(server), "ES256")]
    del server.objects[SECRET_PLACE]["metadata"]["labels"]
    await reconcile(server)
    assert jwks(server) == [public_jwk(pem(server), "ES256")]


async def test_another_algorithm_gets_another_key_and_the_old_one_stays_published(server: KeyServer) -> None:
    await reconcile(server)
    old = pem(server)
    server.put(backend("EdDSA"))
    await reconcile(server)
    assert pem(server) == old
    assert jwks(server) == [public_jwk(old, "ES256"), public_jwk(pem(server, "eddsa"), "EdDSA")]


async def test_changes_of_secret_and_jwks_concern_the_backend(server: KeyServer) -> None:
    await reconcile(server)
    cache = Cache()
    for (kind, _, _), manifest in server.objects.items():
        cache.put(kind, manifest)
    for place in (SECRET_PLACE, JWKS_PLACE):
        assert KEY in affected(cache, place[0], server.objects[place])


@pytest.mark.parametrize(
    ("value", "reason", "told"),
    [
        (None, "SecretNotFound", "create it"),
        (b"junk", "SecretValueUnusable", "private key in PEM"),
        (new_key("ES384").encode(), "SecretValueUnusable", "ES384 and not for ES256"),
    ],
)
async def test_a_given_key_that_can_not_sign_is_named(value: bytes | None, reason: str, told: str) -> None:
    server = KeyServer()
    server.put(backend(secretRef={"name": "mine", "key": "k"}))
    if value is not None:
        mine = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "mine", "namespace": NS}}
        server.put({**mine, "data": {"k": b64encode(value).decode()}})
    await reconcile(server)
    assert (condition(server)["status"], condition(server)["reason"]) == ("False", reason)
    assert told in condition(server)["message"]
    assert "jwt.signingKey.secretRef" in condition(server)["message"]
