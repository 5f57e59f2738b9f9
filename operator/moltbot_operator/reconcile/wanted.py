"""From a route as it is written to the revision that it asks for, or the reason why there is none."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from moltbot_operator.api import Gateway, Rollout
from moltbot_operator.compile.result import CompiledRoute
from moltbot_operator.compile.sources import Problem, RouteSources
from moltbot_operator.compile.workloads import GatewayRevision, Image, Owner, gateway_revision
from moltbot_operator.conditions import Reason
from moltbot_operator.errors import CompileError, InvalidInput
from moltbot_operator.kube.cluster import Manifest
from moltbot_operator.reconcile.gather import Gatherer
from moltbot_operator.reconcile.specs import RouteSpecs

__all__ = ["Compiler", "Wanted", "Wanter"]

Compiler = Callable[[RouteSources], CompiledRoute]
"""`moltbot_operator.compile.compile_route`."""


@dataclass(frozen=True)
class Wanted:
    """What a route asks for: `revision` and its `gateway`, or `refused`.

    `rollout`: how revisions replace each other; also of a refused spec, as long as it can be read.
    """

    refused: Problem | None = None
    gateway: Gateway | None = None
    revision: GatewayRevision | None = None
    unresolved: tuple[Problem, ...] = ()
    rollout: Rollout = field(default_factory=Rollout)

    @property
    def warnings(self) -> tuple[Problem, ...]:
        """What is served and yet surely not meant."""
        if self.revision is None:
            return ()
        ignored = [
            Problem(Reason.ACCEPTED, f"spec.gateway.podTemplate.{path} is the operator's own and is ignored.")
            for path in self.revision.ignored
        ]
        return (*self.revision.compiled.warnings, *ignored)


class Wanter:
    """Parses, gathers and compiles; each route's latest result is kept, since most events change nothing."""

    def __init__(self, gatherer: Gatherer, compiler: Compiler, image: Image) -> None:
        self._gatherer = gatherer
        self._compiler = compiler
        self._image = image
        self._specs = RouteSpecs()
        self._latest: dict[Owner, tuple[RouteSources, GatewayRevision]] = {}

    async def want(self, manifest: Manifest, owner: Owner) -> Wanted:
        """What the route asks for; ClusterError if a Secret can't be read just now."""
        parsed = self._specs.parse(manifest)
        spec = parsed.spec
        rollout = (spec.rollout if spec else None) or Rollout()
        if parsed.refused or spec is None:
            return Wanted(refused=parsed.refused, rollout=rollout)
        gathered = await self._gatherer.route(owner.namespace, owner.name, spec)
        try:
            revision = await self._revision(owner, gathered.sources)
        except (CompileError, InvalidInput) as error:
            refused = Problem(Reason.COMPILE_FAILED, str(error))
            return Wanted(refused=refused, unresolved=gathered.unresolved, rollout=rollout)
        return Wanted(None, spec.gateway, revision, gathered.unresolved, rollout)

    def forget(self, namespace: str, name: str) -> None:
        """The route is gone."""
        self._specs.forget(namespace, name)
        for owner in [known for known in self._latest if (known.namespace, known.name) == (namespace, name)]:
            del self._latest[owner]

    async def _revision(self, owner: Owner, sources: RouteSources) -> GatewayRevision:
        latest = self._latest.get(owner)
        if latest and latest[0] == sources:
            return latest[1]
        # A large route compiles for a second: the thread lets the lease be renewed meanwhile.
        revision = await asyncio.to_thread(self._compile, owner, sources)
        self._latest[owner] = (sources, revision)
        return revision

    def _compile(self, owner: Owner, sources: RouteSources) -> GatewayRevision:
        return gateway_revision(owner, sources.spec.gateway, self._compiler(sources), self._image)
