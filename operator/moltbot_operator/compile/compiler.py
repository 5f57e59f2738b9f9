"""From a route and its references to one immutable revision."""

import hashlib
from typing import Final

import orjson

from moltbot_agent.config import pack
from moltbot_operator.compile.delivery import agent_config, mounts, worker_mounts
from moltbot_operator.compile.envoy.bootstrap import bootstrap
from moltbot_operator.compile.lint import warnings
from moltbot_operator.compile.plan import Plan, plan
from moltbot_operator.compile.result import BackendReport, CompiledRoute
from moltbot_operator.compile.revision import of_revision, worker_of_revision
from moltbot_operator.compile.sources import BackendRef, RouteSources
from moltbot_operator.compile.worker_config import worker_config

__all__ = ["compile_route"]

_DIGITS: Final = 10
"""Hexadecimal digits of a revision."""


def compile_route(sources: RouteSources) -> CompiledRoute:
    """The revision that serves the route as well as its references allow.

    Equal sources give equal bytes. What can't be used is left out and reported: a rule without any usable
    backend answers 503, and the others serve.
    """
    planned = plan(sources)
    agent, envoy = agent_config(planned.gateway), bootstrap(planned.gateway)
    worker = worker_config(planned.gateway, sources)
    document = {"agent": agent.model_dump(mode="json"), "envoy": envoy}
    if worker is not None:
        document["worker"] = worker.model_dump(mode="json", by_alias=True)
    content = orjson.dumps(document, option=orjson.OPT_SORT_KEYS)
    revision = hashlib.sha256(content).hexdigest()[:_DIGITS]
    agent, envoy = of_revision(agent, envoy, sources.files, revision)
    return CompiledRoute(
        revision=revision,
        agent=agent,
        envoy=envoy,
        parts=pack(agent, envoy),
        mounts=mounts(planned.gateway, sources),
        rules=planned.reports,
        backends=_backends(planned, sources),
        warnings=warnings(planned, sources),
        files=sources.files,
        worker=worker_of_revision(worker, sources.files, revision),
        worker_mounts=() if worker is None else worker_mounts(sources),
    )


def _backends(planned: Plan, sources: RouteSources) -> tuple[BackendReport, ...]:
    """Every backend that a rule names, with the sum of its weights."""
    weights: dict[BackendRef, int] = {}
    for rule in sources.spec.rules:
        for candidate in rule.candidates:
            ref = BackendRef.parse(candidate.backend, sources.namespace)
            weights[ref] = weights.get(ref, 0) + candidate.weight
        aggregated = rule.aggregate.backends if rule.aggregate else ()
        for reference in (*rule.fallback, *aggregated):
            weights.setdefault(BackendRef.parse(reference, sources.namespace), 0)
    return tuple(BackendReport(ref, weights[ref], planned.missing.get(ref)) for ref in sorted(weights))
