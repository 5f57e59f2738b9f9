"""Requests that would come back: a backend that leads to its own route, directly or by way of others."""

from collections.abc import Iterator

from moltbot_operator.api import ModelBackendSpec, resolve_endpoint
from moltbot_operator.compile.sources import BackendRef, Problem
from moltbot_operator.conditions import Reason
from moltbot_operator.errors import InvalidInput
from moltbot_operator.kube.cache import Cache
from moltbot_operator.kube.kinds import MODEL_BACKEND, MOLTBOT_ROUTE
from moltbot_operator.reconcile.references import route_backends
from moltbot_operator.reconcile.specs import BackendSpecs

__all__ = ["loop_problem", "service_of"]

Place = tuple[str, str]
"""Namespace and name."""


def service_of(spec: ModelBackendSpec, namespace: str) -> Place | None:
    """The Service inside the cluster that a backend's endpoint names, if it does."""
    try:
        host = resolve_endpoint(spec, namespace).host
    except InvalidInput:
        return None
    name, dot, rest = host.partition(".")
    space, _, suffix = rest.partition(".")
    return (space, name) if dot and suffix in {"svc", "svc.cluster.local"} else None


def loop_problem(
    cache: Cache, specs: BackendSpecs, route: Place, ref: BackendRef, spec: ModelBackendSpec
) -> Problem | None:
    """Why the backend would lead back to the route; None if it does not.

    Follows Services that are routes' own; the search visits each route once. A preview Service counts too.
    """
    start = _route_behind(cache, service_of(spec, ref.namespace))
    seen, waiting = set[Place](), [start] if start else []
    while waiting:
        place = waiting.pop()
        if place == route:
            message = (
                f"ModelBackend {ref} leads back to MoltBotRoute {route[0]}/{route[1]}, so requests would go "
                "in circles: give it the endpoint of a model."
            )
            return Problem(Reason.LOOP, message)
        if place not in seen:
            seen.add(place)
            waiting += _next(cache, specs, place)
    return None


def _next(cache: Cache, specs: BackendSpecs, place: Place) -> Iterator[Place]:
    for ref in route_backends(cache.get(MOLTBOT_ROUTE, *place)):
        manifest = cache.get(MODEL_BACKEND, ref.namespace, ref.name)
        spec = specs.parse(manifest).spec if manifest else None
        if spec and (found := _route_behind(cache, service_of(spec, ref.namespace))):
            yield found


def _route_behind(cache: Cache, service: Place | None) -> Place | None:
    if service is None:
        return None
    namespace, name = service
    for route in (name, name.removesuffix("-preview")):
        if cache.get(MOLTBOT_ROUTE, namespace, route) is not None:
            return namespace, route
    return None
