"""The manifests of a drill: the same rules and orders of attempts, with the one backend drawn first.

A candidate's chain of attempts begins with itself and goes on with the others in turn, so that taking the
weight from the others leaves this candidate's chain as it is. Everybody may call; no secret is sent.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from moltbot_operator.api import Anonymous, Auth, Consumer, ConsumerAuth, ModelBackend, MoltBotRoute, Rule
from moltbot_operator.compile import BackendRef
from moltbot_operator.compile.features import without
from moltbot_operator.errors import InvalidInput
from moltbot_operator.serve.files import Manifests

__all__ = ["LONGEST", "Rehearsal", "rehearse"]

LONGEST: Final = timedelta(seconds=2)
"""What a backend may take until its headers in a drill, so that silence does not take long."""


@dataclass(frozen=True)
class Rehearsal:
    """Manifests to serve, and the names of the rules in which the backend is a candidate."""

    manifests: Manifests
    rules: tuple[str, ...]
    fallbacks: tuple[str, ...]
    """Rules that have it as a fallback only."""


def rehearse(manifests: Manifests, route: str | None, backend: str, *, real: bool) -> Rehearsal:
    """`real`: the other backends keep credentials and times. InvalidInput where no rule has the backend."""
    namespace, given = manifests.chosen(route)
    ref = BackendRef.parse(backend, namespace)
    if ref not in manifests.backends:
        known = ", ".join(map(str, sorted(manifests.backends)))
        raise InvalidInput(f"the files hold no ModelBackend {ref}: choose one of {known or 'none'}")
    first = [rule.name for rule in given.spec.rules if ref in set(_candidates(rule, namespace))]
    later = [
        rule.name
        for rule in given.spec.rules
        if ref in {BackendRef.parse(each, namespace) for each in rule.fallback}
    ]
    if not first and not later:
        raise InvalidInput(
            f"no rule of {namespace}/{given.metadata.name} names ModelBackend {ref}: choose another"
        )
    used = sorted(manifests.backends)
    everybody = Consumer(
        name="drill", auth=ConsumerAuth(anonymous=Anonymous()), backends=tuple(str(each) for each in used)
    )
    rules = tuple(_drawn_first(without(rule), ref, namespace, real=real) for rule in given.spec.rules)
    spec = given.spec.model_copy(update={"rules": rules, "consumers": (everybody,)})
    held = {each: _harmless(found, real=real and each != ref) for each, found in manifests.backends.items()}
    changed = Manifests(
        {BackendRef(namespace, given.metadata.name): _with(given, spec)}, held, manifests.data
    )
    return Rehearsal(changed, tuple(first), tuple(later))


def _candidates(rule: Rule, namespace: str) -> Iterator[BackendRef]:
    for candidate in rule.candidates:
        yield BackendRef.parse(candidate.backend, namespace)


def _drawn_first(rule: Rule, ref: BackendRef, namespace: str, *, real: bool) -> Rule:
    refs = list(_candidates(rule, namespace))
    failover = rule.failover
    if not real and failover.per_try_timeout is not None:
        shorter = min(failover.per_try_timeout, LONGEST)
        failover = failover.model_copy(update={"per_try_timeout": shorter})
    if ref not in refs:
        return rule.model_copy(update={"failover": failover})
    candidates = tuple(
        candidate.model_copy(update={"weight": int(each == ref)})
        for candidate, each in zip(rule.candidates, refs, strict=True)
    )
    return rule.model_copy(update={"candidates": candidates, "failover": failover})


def _harmless(backend: ModelBackend, *, real: bool) -> ModelBackend:
    if real:
        return backend
    spec = backend.spec
    first_byte = min(spec.timeouts.first_byte, LONGEST)
    update: dict[str, Any] = {
        "auth": Auth(),
        "timeouts": spec.timeouts.model_copy(update={"first_byte": first_byte}),
        "limits": None,
        "circuit_breaker": None,
    }
    return backend.model_copy(update={"spec": spec.model_copy(update=update)})


def _with(route: MoltBotRoute, spec: Any) -> MoltBotRoute:
    return route.model_copy(update={"spec": spec})
