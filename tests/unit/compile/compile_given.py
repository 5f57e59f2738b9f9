"""Short ways to write the compiler's input."""

from moltbot_operator.api import ModelBackendSpec, MoltBotRouteSpec
from moltbot_operator.compile import (
    BackendRef,
    BackendSource,
    ConsumerSource,
    Problem,
    RouteSources,
    compile_route,
)

__all__ = ["backend", "clusters", "compiled", "jwt", "oauth2", "ref", "rule", "sources", "walk"]


def ref(name):
    return BackendRef.parse(name, "default")


def oauth2(secret="client", **more):  # noqa: S107
    given = {"tokenUrl": "https://login.example/token", "clientId": "gateway", **more}
    return {"type": "OAuth2", "oauth2": {**given, "clientSecretRef": {"name": secret, "key": "secret"}}}


def jwt(secret="signing", **more):  # noqa: S107
    key = {"secretRef": {"name": secret, "key": "pem"}} if secret else {"managed": True}
    claims = {"issuer": "i", "subject": "s", "audience": "a"}
    return {"type": "JWT", "jwt": {**claims, "signingKey": key, **more}}


def backend(name, problem=None, *, secret=None, **spec):
    given = {"provider": "Custom", "endpoint": {"url": f"http://{name.replace('/', '.')}.example"}, **spec}
    if secret is not None:
        given["auth"] = {"type": "APIKey", "apiKey": {"secretRef": {"name": secret, "key": "token"}}}
    return BackendSource(
        ref(name),
        ModelBackendSpec.model_validate(given),
        None if problem is None else Problem(problem, f"{name} has a problem: solve it"),
    )


def rule(name, candidates, fallback=(), **more):
    weights = candidates if isinstance(candidates, dict) else dict.fromkeys(candidates, 1)
    listed = [{"backend": each, "weight": weight} for each, weight in weights.items()]
    return {"name": name, "candidates": listed, "fallback": list(fallback), **more}


def sources(rules, backends, consumers=None, problems=None, spec=None, **more):
    names = [str(each.ref) for each in backends]
    anyone = [{"name": "anyone", "auth": {"anonymous": {}}, "backends": names}]
    given = {"rules": rules, "consumers": anyone if consumers is None else consumers, **(spec or {})}
    return RouteSources(
        "default",
        "assistant",
        MoltBotRouteSpec.model_validate(given),
        {each.ref: each for each in backends},
        {name: ConsumerSource(name, problem) for name, problem in (problems or {}).items()},
        **more,
    )


def compiled(rules, backends, consumers=None, **more):
    return compile_route(sources(rules, backends, consumers, **more))


def clusters(result):
    """Cluster name → names of members (composites) or None."""
    return {
        each["name"]: [member["name"] for member in each["cluster_type"]["typed_config"]["clusters"]]
        if "cluster_type" in each
        else None
        for each in result.envoy["static_resources"]["clusters"]
    }


def walk(node):
    """Every dictionary of a document."""
    if isinstance(node, dict):
        yield node
        for value in node.values():
            yield from walk(value)
    elif isinstance(node, list):
        for value in node:
            yield from walk(value)
