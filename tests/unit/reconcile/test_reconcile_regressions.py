"""What people and controllers do to a route's objects between two steps, and what the operator then does."""

from base64 import b64encode
from copy import deepcopy
from typing import Any

import pytest
from test_reconcile_faults import (
    KEY,
    NS,
    Killed,
    Operator,
    Server,
    backend,
    refused_spec,
    route,
    run,
    served,
    settle,
)

from moltbot_operator.constants import LABEL_REVISION
from moltbot_operator.kube.kinds import CONFIG_MAP, DEPLOYMENT, MOLTBOT_ROUTE, POD, SECRET, SERVICE, Kind

THE_SERVICE = (SERVICE, NS, "assistant")


async def serving_one() -> tuple[Server, Operator, str]:
    """A settled route, the operator that made it, and the revision that serves."""
    server = await run({}, [route("one")])
    operator = await settle(server, lambda _: "", Operator(server))
    return server, operator, served(server)[0]


async def steps(operator: Operator, count: int) -> None:
    """Steps during which no new pod gets Ready."""
    for _ in range(count):
        await operator.reconcile()


async def settle_mortal(server: Server, operator: Operator) -> None:
    """Steps of one life of the operator, with pods that get Ready."""
    for _ in range(20):
        await operator.reconcile()
        server.kubelet()


def recorded(server: Server) -> dict[str, Any]:
    return server.objects[MOLTBOT_ROUTE, NS, "assistant"]["status"]


def conditions(server: Server) -> dict[str, str]:
    return {c["type"]: c["reason"] for c in recorded(server)["conditions"]}


async def test_a_recorded_flip_is_not_carried_out_to_pods_that_stopped_being_ready(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server, operator, old = await serving_one()
    apply = server.apply

    async def dies_before_the_flip(manifest: dict[str, Any], **more: Any) -> dict[str, Any]:
        place = manifest["kind"], manifest["metadata"]["name"]
        if place == ("Service", "assistant") and manifest["spec"]["selector"][LABEL_REVISION] != old:
            raise Killed
        return await apply(manifest, **more)

    monkeypatch.setattr(server, "apply", dies_before_the_flip)
    server.put(route("two"))
    with pytest.raises(Killed):
        await settle_mortal(server, operator)
    monkeypatch.undo()
    assert recorded(server)["rollout"]["phase"] == "Promoting", "recorded before it is carried out"
    assert recorded(server)["revision"]["active"] == old
    new = recorded(server)["rollout"]["revision"]
    assert served(server)[0] == old
    for place in [p for p in server.objects if p[0] == POD]:
        if server.objects[place]["metadata"]["labels"][LABEL_REVISION] == new:
            server.objects[place]["status"] = {"conditions": [{"type": "Ready", "status": "False"}]}

    operator = Operator(server)
    await steps(operator, 3)
    assert served(server) == (old, {old, new})
    for place in [p for p in server.objects if p[0] == POD]:
        del server.objects[place]
    await settle(server, lambda _: "", operator)
    assert served(server) == (new, {new}), "new pods prove themselves and the flip is made up for"


@pytest.mark.parametrize("refused", [False, True])
async def test_a_deleted_deployment_of_what_serves_comes_back_while_another_spec_is_asked_for(
    refused: bool,
) -> None:
    server, operator, old = await serving_one()
    server.put(refused_spec(route("one")) if refused else route("two"))
    await steps(operator, 6)
    del server.objects[DEPLOYMENT, NS, f"assistant-gw-{old}"]
    await steps(operator, 6)
    assert served(server)[0] == old
    assert server.objects[DEPLOYMENT, NS, f"assistant-gw-{old}"]["spec"]["replicas"] == 2


async def test_what_serves_stays_selected_when_its_deployment_loses_the_revision_label() -> None:
    server, operator, old = await serving_one()
    server.put(route("two"))
    await steps(operator, 6)
    place = DEPLOYMENT, NS, f"assistant-gw-{old}"
    edited = server.objects[place]
    del edited["metadata"]["labels"][LABEL_REVISION]
    server._store(place, edited)
    await steps(operator, 4)
    assert served(server)[0] == old
    assert server.objects[place]["metadata"]["labels"][LABEL_REVISION] == old


async def test_an_annotation_taken_out_of_the_spec_goes_from_the_service() -> None:
    server = Server()
    server.put(backend("one"))
    annotated = route("one")
    annotated["spec"]["gateway"]["service"] = {"annotations": {"internal": "true"}}
    server.put(annotated)
    operator = await settle(server, lambda _: "")
    assert server.objects[THE_SERVICE]["metadata"]["annotations"]["internal"] == "true"
    server.put(route("one"))
    await settle(server, lambda _: "", operator)
    assert "internal" not in (server.objects[THE_SERVICE]["metadata"].get("annotations") or {})


async def test_a_field_that_the_server_insists_on_does_not_hide_later_changes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server, operator, _ = await serving_one()
    extra = {"name": "x", "port": 443}
    apply = server.apply

    async def with_a_port_of_its_own(manifest: dict[str, Any], **more: Any) -> dict[str, Any]:
        result = await apply(manifest, **more)
        if (manifest["kind"], manifest["metadata"]["name"]) != ("Service", "assistant"):
            return result
        server.objects[THE_SERVICE]["spec"]["ports"].append(deepcopy(extra))
        return deepcopy(server.objects[THE_SERVICE])

    monkeypatch.setattr(server, "apply", with_a_port_of_its_own)
    edited = server.objects[THE_SERVICE]
    edited["spec"]["ports"].append(deepcopy(extra))
    server._store(THE_SERVICE, edited)  # a version of its own, or the cache ignores it
    before = len(server.writes)
    await settle(server, lambda _: "", operator)
    assert len(server.writes) == before + 1, "tried once, and then let be"
    changed = route("one")
    changed["spec"]["gateway"]["service"] = {"port": 8080}
    server.put(changed)
    await settle(server, lambda _: "", operator)
    assert [port["port"] for port in server.objects[THE_SERVICE]["spec"]["ports"]] == [8080, 443]


async def test_an_object_held_by_a_finalizer_is_not_looked_at_ten_times_a_second(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server, operator, _ = await serving_one()

    async def held(kind: Kind, namespace: str, name: str, **_: Any) -> None:
        server.writes.append(f"delete {name}")
        kept = server.objects[kind, namespace, name]
        kept["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
        server._store((kind, namespace, name), kept)  # a version of its own, or the cache ignores it

    monkeypatch.setattr(server, "delete", held)
    server.put(route("two"))
    looks = []
    for _ in range(15):
        operator.watch()
        looks.append(await operator.reconciler.reconcile(KEY))
        server.kubelet()
    assert all(look is not None and look.total_seconds() >= 10 for look in looks[-4:])


async def test_objects_of_a_deleted_route_of_the_same_name_are_waited_for() -> None:
    server, operator, _ = await serving_one()
    del server.objects[MOLTBOT_ROUTE, NS, "assistant"]
    server.put(route("one"))
    operator.watch()
    again = await operator.reconciler.reconcile(KEY)
    assert again is not None
    assert again.total_seconds() <= 1
    assert "NameTaken" not in conditions(server).values()
    for place in [p for p in server.objects if p[0] not in {MOLTBOT_ROUTE, POD} and "assistant" in p[2]]:
        del server.objects[place]
    await settle(server, lambda _: "", operator)
    assert conditions(server)["Ready"] == "Ready"


def foreign(name: str, key: str, namespaces: str) -> dict[str, Any]:
    """A backend of namespace `o` that uses a key of Secret `o/keys`."""
    manifest = backend(name)
    manifest["metadata"]["namespace"] = "o"
    auth = {"type": "APIKey", "apiKey": {"secretRef": {"name": "keys", "key": key}}}
    manifest["spec"] |= {"auth": auth, "allowedRoutes": {"namespaces": namespaces}}
    return manifest


def keys(**values: str) -> dict[str, Any]:
    data = {key: b64encode(value.encode()).decode() for key, value in values.items()}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"namespace": "o", "name": "keys"},
        "data": data,
    }


def copied(server: Server) -> list[dict[str, str]]:
    return [
        o["data"] for (k, n, name), o in server.objects.items() if (k, n) == (SECRET, NS) and "copy" in name
    ]


async def lent(*others: dict[str, Any]) -> tuple[Server, Operator, dict[str, Any]]:
    """A settled route that uses backend o/x besides its own, and its manifest."""
    server = Server()
    for manifest in (backend("one"), keys(a="A", b="B"), foreign("x", "a", "All"), *others):
        server.put(manifest)
    spec = route("o/x")
    also = "one" if not others else "o/y"
    spec["spec"]["rules"][0]["candidates"].append({"backend": also})
    server.put(spec)
    return server, await settle(server, lambda _: ""), spec


async def test_a_credential_rotated_after_consent_was_withdrawn_does_not_reach_a_refused_route() -> None:
    server, operator, spec = await lent()
    assert copied(server) == [keys(a="A")["data"]]
    server.put(refused_spec(deepcopy(spec)))
    await settle(server, lambda _: "", operator)
    server.put(foreign("x", "a", "Same"))
    server.put(keys(a="rotated"))
    await settle(server, lambda _: "", operator)
    assert copied(server) == []


async def test_a_credential_rotated_after_consent_was_withdrawn_does_not_reach_a_rollout_under_way() -> None:
    server, operator, _ = await lent()
    server.put(foreign("x", "a", "Same"))
    await steps(operator, 6)
    server.put(keys(a="rotated"))
    await steps(operator, 6)
    assert copied(server) == [keys(a="A")["data"]], "the old pods keep what they have"
    await settle(server, lambda _: "", operator)
    assert copied(server) == []


async def test_a_copy_loses_the_key_of_a_backend_that_withdrew_its_consent() -> None:
    server, operator, _ = await lent(foreign("y", "b", "All"))
    assert copied(server) == [keys(a="A", b="B")["data"]]
    server.put(foreign("y", "b", "Same"))
    await settle(server, lambda _: "", operator)
    assert copied(server) == [keys(a="A")["data"]]


async def test_a_changed_copy_of_a_ca_bundle_is_updated_in_place() -> None:
    def bundle(text: str) -> dict[str, Any]:
        meta = {"namespace": "o", "name": "ca"}
        return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {"ca.crt": text}}

    server = Server()
    lender = foreign("x", "a", "All")
    tls = {"caRef": {"kind": "ConfigMap", "name": "ca", "key": "ca.crt"}}
    lender["spec"]["endpoint"] = {"url": "https://models.test:9", "tls": tls}
    for manifest in (keys(a="A"), bundle("first"), lender, route("o/x")):
        server.put(manifest)
    operator = await settle(server, lambda _: "")
    (place,) = [p for p in server.objects if p[0] == CONFIG_MAP and p[1] == NS and "copy" in p[2]]
    server.put(bundle("second"))
    await settle(server, lambda _: "", operator)
    assert server.objects[place]["data"] == {"ca.crt": "second"}
    assert not [write for write in server.writes if write.startswith("delete") and place[2] in write]
