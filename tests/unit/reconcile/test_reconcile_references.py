"""The index agrees with a full search, whatever happens."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from moltbot_operator.compile.sources import BackendRef
from moltbot_operator.kube.cache import Cache
from moltbot_operator.kube.kinds import (
    CONFIG_MAP,
    DEPLOYMENT,
    MODEL_BACKEND,
    MOLTBOT_ROUTE,
    NAMESPACE,
    SECRET,
    Kind,
)
from moltbot_operator.kube.queue import Key
from moltbot_operator.reconcile.references import affected, references_of, route_backends

R, B = "Route", "Backend"


def manifest(
    kind: Kind, namespace: str, name: str, spec: dict[str, Any] | None = None, **meta: Any
) -> dict[str, Any]:
    return {
        "apiVersion": kind.api_version,
        "kind": kind.kind,
        "metadata": {"namespace": namespace, "name": name, "uid": f"{kind.kind}-{namespace}-{name}", **meta},
        "spec": spec or {},
    }


def route(name: str, *backends: str, namespace: str = "n", secret: str | None = None) -> dict[str, Any]:
    consumers = [{"name": "c", "auth": {"apiKey": {"secretRef": {"name": secret}}}}] if secret else []
    rules = [{"name": "r", "candidates": [{"backend": backend} for backend in backends]}]
    return manifest(MOLTBOT_ROUTE, namespace, name, {"rules": rules, "consumers": consumers})


def backend(name: str, secret: str = "", namespace: str = "n", ca: str = "") -> dict[str, Any]:
    spec: dict[str, Any] = {"provider": "Custom"}
    if secret:
        spec["auth"] = {"type": "APIKey", "apiKey": {"secretRef": {"name": secret, "key": "k"}}}
    if ca:
        spec["endpoint"] = {"tls": {"caRef": {"name": ca}}}
    return manifest(MODEL_BACKEND, namespace, name, spec)


def put(cache: Cache, kind: Kind, found: dict[str, Any]) -> set[Key]:
    references_of(cache)
    cache.put(kind, found)
    return set(affected(cache, kind, found))


def test_a_route_concerns_itself_and_backends_that_it_begins_or_ceases_to_use() -> None:
    cache = Cache()
    assert put(cache, MOLTBOT_ROUTE, route("a", "x", "m/y")) == {
        Key(R, "n", "a"),
        Key(B, "n", "x"),
        Key(B, "m", "y"),
    }
    assert put(cache, MOLTBOT_ROUTE, route("a", "x", "z")) == {
        Key(R, "n", "a"),
        Key(B, "m", "y"),
        Key(B, "n", "z"),
    }
    assert put(cache, MOLTBOT_ROUTE, route("a", "x", "z")) == {Key(R, "n", "a")}
    assert references_of(cache).routes_of[BackendRef("n", "x")] == {Key(R, "n", "a")}


def test_a_changed_backend_concerns_its_routes_but_its_status_does_not() -> None:
    cache = Cache()
    put(cache, MOLTBOT_ROUTE, route("a", "x"))
    found = backend("x")
    assert put(cache, MODEL_BACKEND, found) == {Key(B, "n", "x"), Key(R, "n", "a")}
    assert put(cache, MODEL_BACKEND, {**found, "status": {"routes": 1}}) == {Key(B, "n", "x")}
    assert put(cache, MODEL_BACKEND, backend("x", secret="s")) == {Key(B, "n", "x"), Key(R, "n", "a")}
    cache.remove(MODEL_BACKEND, found)
    assert set(affected(cache, MODEL_BACKEND, found)) == {Key(B, "n", "x"), Key(R, "n", "a")}


def test_a_secret_concerns_backends_their_routes_and_consumers() -> None:
    cache = Cache()
    put(cache, MODEL_BACKEND, backend("x", secret="s"))
    put(cache, MOLTBOT_ROUTE, route("a", "n/x", namespace="m"))
    put(cache, MOLTBOT_ROUTE, route("b", "y", secret="s"))
    assert put(cache, SECRET, manifest(SECRET, "n", "s")) == {
        Key(B, "n", "x"),
        Key(R, "m", "a"),
        Key(R, "n", "b"),
    }
    assert put(cache, SECRET, manifest(SECRET, "n", "other")) == set()


def test_a_ca_concerns_its_backend() -> None:
    cache = Cache()
    put(cache, MODEL_BACKEND, backend("x", ca="bundle"))
    assert put(cache, CONFIG_MAP, manifest(CONFIG_MAP, "n", "bundle")) == {Key(B, "n", "x")}


def test_a_jwks_concerns_routes_whose_consumers_show_tokens() -> None:
    cache = Cache()
    given = route("a", "x")
    jwt = {"issuer": "i", "jwks": {"configMapRef": {"name": "keys", "key": "k"}}}
    given["spec"]["consumers"] = [{"name": "c", "auth": {"jwt": jwt}}]
    put(cache, MOLTBOT_ROUTE, given)
    assert put(cache, CONFIG_MAP, manifest(CONFIG_MAP, "n", "keys")) == {Key(R, "n", "a")}
    assert put(cache, CONFIG_MAP, manifest(CONFIG_MAP, "n", "others")) == set()


def test_a_namespace_concerns_its_routes_that_look_beyond_it() -> None:
    cache = Cache()
    put(cache, MOLTBOT_ROUTE, route("a", "x"))
    put(cache, MOLTBOT_ROUTE, route("b", "m/x"))
    assert put(cache, NAMESPACE, manifest(NAMESPACE, "", "n")) == {Key(R, "n", "b")}
    put(cache, MOLTBOT_ROUTE, route("b", "x"))
    assert put(cache, NAMESPACE, manifest(NAMESPACE, "", "n")) == set()


def test_a_child_concerns_its_route_by_label_or_owner() -> None:
    cache = Cache()
    labelled = manifest(DEPLOYMENT, "n", "d", labels={"moltbot.io/route": "a"})
    assert put(cache, DEPLOYMENT, labelled) == {Key(R, "n", "a")}
    relabelled = manifest(
        DEPLOYMENT,
        "n",
        "e",
        labels={"moltbot.io/route": "b"},
        ownerReferences=[{"kind": "MoltBotRoute", "name": "a"}],
    )
    assert put(cache, DEPLOYMENT, relabelled) == {Key(R, "n", "a"), Key(R, "n", "b")}


def test_a_spec_that_does_not_parse_still_names_its_backends() -> None:
    odd = manifest(
        MOLTBOT_ROUTE,
        "n",
        "a",
        {
            "rules": [
                {"candidates": [{"backend": "x"}], "fallback": ["y"], "aggregate": {"backends": ["z"]}}
            ],
            "odd": 1,
        },
    )
    assert route_backends(odd) == {BackendRef("n", name) for name in "xyz"}
    assert route_backends(None) == set()


def test_the_index_made_late_knows_what_the_cache_holds() -> None:
    cache = Cache()
    cache.put(MOLTBOT_ROUTE, route("a", "x"))
    assert references_of(cache).routes_of[BackendRef("n", "x")] == {Key(R, "n", "a")}


EVENTS = st.lists(
    st.one_of(
        st.tuples(
            st.just("route"), st.sampled_from("ab"), st.lists(st.sampled_from(["x", "y", "m/x"]), max_size=3)
        ),
        st.tuples(st.just("backend"), st.sampled_from("xy"), st.sampled_from(["", "s", "t"])),
        st.tuples(st.just("no route"), st.sampled_from("ab"), st.none()),
        st.tuples(st.just("no backend"), st.sampled_from("xy"), st.none()),
    ),
    max_size=20,
)


@given(EVENTS)
def test_the_index_agrees_with_a_full_search(events: list[tuple[str, str, Any]]) -> None:
    cache = Cache()
    index = references_of(cache)
    for event, name, what in events:
        match event:
            case "route":
                cache.put(MOLTBOT_ROUTE, route(name, *what))
            case "backend":
                cache.put(MODEL_BACKEND, backend(name, what))
            case "no route":
                cache.remove(MOLTBOT_ROUTE, route(name))
            case _:
                cache.remove(MODEL_BACKEND, backend(name))
    expected: dict[BackendRef, set[Key]] = {}
    for found in cache.list(MOLTBOT_ROUTE):
        for ref in route_backends(found):
            expected.setdefault(ref, set()).add(Key(R, "n", found["metadata"]["name"]))
    assert dict(index.routes_of) == expected
    secrets = {
        (SECRET, "n", found["spec"]["auth"]["apiKey"]["secretRef"]["name"])
        for found in cache.list(MODEL_BACKEND)
        if "auth" in found["spec"]
    }
    assert set(index.users_of) == secrets
