"""What the compiler gives: a revision, its configuration, and a report on each rule and backend."""

from dataclasses import dataclass, field
from typing import Any, Literal

from moltbot_agent.config import AgentConfig
from moltbot_operator.compile.sources import BackendRef, Files, Problem
from moltbot_worker.config import WorkerConfig

__all__ = ["BackendReport", "CompiledRoute", "Mount", "RuleReport"]


@dataclass(frozen=True)
class Mount:
    """One key of a Secret or ConfigMap as a file in the gateway pod.

    `folder` is the credential's, backend's or consumer's own folder below the mount of that kind; `key` None
    takes every key. `namespace` is where the object lives; another one than the route's means a copy.
    """

    kind: Literal["Secret", "ConfigMap"]
    namespace: str
    name: str
    key: str | None
    purpose: Literal["credential", "consumer", "ca", "jwks", "tls", "store", "templates"]
    folder: str
    path: str | None
    """File name in the folder; None with `key` None."""


@dataclass(frozen=True)
class RuleReport:
    """How a rule is served. With a `problem` it answers 503 unless `serving`: then by what is left."""

    name: str
    serving: bool
    problem: Problem | None = None


@dataclass(frozen=True)
class BackendReport:
    """How a backend is used by the route.

    Its share of first attempts over all rules is not defined, so `weight` is the sum of its candidate
    weights, 0 for a mere fallback.
    """

    ref: BackendRef
    weight: int
    problem: Problem | None = None


@dataclass(frozen=True)
class CompiledRoute:
    """One immutable revision.

    `envoy` is the whole static bootstrap (dynamic parts are files by SDS and ECDS); `parts` is
    `pack(agent, envoy)`. `revision` (10 hexadecimal digits) is derived from the content of both.
    """

    revision: str
    agent: AgentConfig
    envoy: dict[str, Any]
    parts: tuple[bytes, ...]
    mounts: tuple[Mount, ...]
    rules: tuple[RuleReport, ...]
    backends: tuple[BackendReport, ...]
    warnings: tuple[Problem, ...] = ()
    files: Files = field(default_factory=Files)
    worker: WorkerConfig | None = None
    """What the workers are told; None if no rule needs any."""
    worker_mounts: tuple[Mount, ...] = ()
    """Files in the worker pods: the store's password, templates."""
