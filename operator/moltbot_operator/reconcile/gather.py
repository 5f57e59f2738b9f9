"""What a route refers to, found in the cache: the compiler's input, and what is missing."""

import asyncio
from dataclasses import dataclass

from moltbot_operator.api import Consumer, ModelBackendSpec, MoltBotRouteSpec
from moltbot_operator.compile.sources import BackendRef, BackendSource, ConsumerSource, Problem, RouteSources
from moltbot_operator.conditions import Reason
from moltbot_operator.kube.cache import Cache
from moltbot_operator.kube.cluster import Manifest
from moltbot_operator.kube.kinds import CONFIG_MAP, MODEL_BACKEND, NAMESPACE, SECRET
from moltbot_operator.reconcile.contents import Contents, ContentsMemo
from moltbot_operator.reconcile.loops import loop_problem
from moltbot_operator.reconcile.problems import (
    Place,
    backend_places,
    backend_problems,
    certificate_problem,
    consent_problem,
    consumer_problem,
    jwks_problem,
    not_found,
)
from moltbot_operator.reconcile.specs import BackendSpecs

__all__ = ["Gathered", "Gatherer", "is_rotated", "named_backends"]


@dataclass(frozen=True)
class Gathered:
    """`unresolved` in the order in which the spec names things."""

    sources: RouteSources
    unresolved: tuple[Problem, ...]


def named_backends(spec: MoltBotRouteSpec, namespace: str) -> list[BackendRef]:
    """Every backend that the spec names, once, in its order."""
    names = [name for rule in spec.rules for name in rule.backends]
    names += [name for consumer in spec.consumers for name in consumer.backends]
    return list(dict.fromkeys(BackendRef.parse(name, namespace) for name in names))


def is_rotated(manifest: Manifest, spec: ModelBackendSpec) -> bool:
    """Whether the operator has taken the backend's credential over.

    The Secret that gateways mount then is written before the status says so.
    """
    status = (manifest.get("status") or {}).get("credential") or {}
    return spec.rotation is not None and status.get("version") is not None


class Gatherer:
    """Looks references up."""

    def __init__(self, cache: Cache, contents: ContentsMemo, specs: BackendSpecs) -> None:
        self._cache = cache
        self._contents = contents
        self._specs = specs

    async def route(self, namespace: str, name: str, spec: MoltBotRouteSpec) -> Gathered:
        """The compiler's input for a route; ClusterError if a Secret can't be read just now."""
        refs = named_backends(spec, namespace)
        found = await asyncio.gather(*(self._backend(ref, (namespace, name)) for ref in refs))
        backends = {source.ref: source for source in found if isinstance(source, BackendSource)}
        unresolved = [source.problem if isinstance(source, BackendSource) else source for source in found]
        consumers: dict[str, ConsumerSource] = {}
        for consumer in spec.consumers:
            consumers[consumer.name], problem = await self._consumer(consumer, namespace)
            unresolved.append(problem)
        if spec.gateway.tls is not None:
            shown = spec.gateway.tls.secret_ref.name
            contents = await self._contents.look(SECRET, namespace, shown)
            unresolved.append(certificate_problem(shown, namespace, contents))
        sources = RouteSources(namespace, name, spec, backends, consumers)
        return Gathered(sources, tuple(problem for problem in unresolved if problem))

    async def places(self, namespace: str, places: list[Place]) -> dict[Place, Contents | None]:
        """What is in the Secrets and ConfigMaps that a backend names."""
        return {
            (kind, name): await self._contents.look(
                SECRET if kind == "Secret" else CONFIG_MAP, namespace, name
            )
            for kind, name in places
        }

    async def _backend(self, ref: BackendRef, route: tuple[str, str]) -> BackendSource | Problem:
        """Consent comes first: without it a message tells nothing about another namespace's Secrets."""
        namespace = route[0]
        manifest = self._cache.get(MODEL_BACKEND, ref.namespace, ref.name)
        if manifest is None:
            self._specs.forget(ref.namespace, ref.name)
            return not_found(ref)
        parsed = self._specs.parse(manifest)
        if parsed.spec is None:
            return Problem(
                Reason.BACKEND_NOT_ACCEPTED, f"ModelBackend {ref} can't be read: see its conditions."
            )
        if problem := consent_problem(ref, parsed.spec, namespace, self._labels(namespace)):
            return BackendSource(ref, parsed.spec, problem)
        if parsed.refused:
            message = f"ModelBackend {ref} is not accepted: {parsed.refused.message}"
            return BackendSource(ref, parsed.spec, Problem(Reason.BACKEND_NOT_ACCEPTED, message))
        if problem := loop_problem(self._cache, self._specs, route, ref, parsed.spec):
            return BackendSource(ref, parsed.spec, problem)
        rotated = is_rotated(manifest, parsed.spec)
        found = await self.places(ref.namespace, backend_places(parsed.spec, rotated=rotated))
        problems = backend_problems(ref, parsed.spec, found, rotated=rotated)
        return BackendSource(ref, parsed.spec, problems[0] if problems else None, rotated)

    async def _consumer(self, consumer: Consumer, namespace: str) -> tuple[ConsumerSource, Problem | None]:
        """A consumer is usable as long as one of its keys is. What a URL answers is only known to Envoy."""
        api_key, jwt = consumer.auth.api_key, consumer.auth.jwt
        if jwt is not None and jwt.jwks.config_map_ref is not None:
            reference = jwt.jwks.config_map_ref
            contents = await self._contents.look(CONFIG_MAP, namespace, reference.name)
            problem = jwks_problem(consumer.name, reference, namespace, contents)
            return ConsumerSource(consumer.name, problem), problem
        if api_key is None:
            return ConsumerSource(consumer.name), None
        contents = await self._contents.look(SECRET, namespace, api_key.secret_ref.name)
        problem = consumer_problem(consumer.name, api_key, namespace, contents)
        usable = contents is not None and bool(contents.keys - set(contents.flaws))
        return ConsumerSource(consumer.name, None if usable else problem), problem

    def _labels(self, namespace: str) -> dict[str, str]:
        manifest = self._cache.get(NAMESPACE, "", namespace)
        return dict((manifest or {}).get("metadata", {}).get("labels") or {})
