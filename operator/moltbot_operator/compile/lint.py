"""What is allowed and looks like a mistake."""

from collections.abc import Iterator
from typing import Final

from moltbot_operator.compile.plan import Plan
from moltbot_operator.compile.sources import BackendRef, Problem, RouteSources

__all__ = ["warnings"]

_MANY_CREDENTIALS: Final = 100
"""Linux grants a user 128 inotify instances unless told otherwise; Envoy keeps one for each credential."""


def warnings(planned: Plan, sources: RouteSources) -> tuple[Problem, ...]:
    """Reason and message of each, in the order of the spec."""
    return (
        *_retries(planned, sources),
        *_shadowed(planned),
        *_access(planned, sources),
        *_credentials(planned),
    )


def _retries(planned: Plan, sources: RouteSources) -> Iterator[Problem]:
    for rule, spec in zip(planned.gateway.rules, sources.spec.rules, strict=True):
        longest = max((len(choice.chain.backends) for choice in rule.choices), default=0)
        if spec.fallback and longest > 1 + spec.failover.max_retries:
            yield Problem(
                "RetriesTooFew",
                f"rule {rule.name}: {spec.failover.max_retries} retries do not reach every fallback when all "
                f"candidates fail at once: write failover.maxRetries: {longest - 1}",
            )


def _shadowed(planned: Plan) -> Iterator[Problem]:
    """Rules behind one that takes every request, and those whose every match an earlier rule has too."""
    taken: dict[object, str] = {}  # by condition
    catch_all: str | None = None
    for rule in planned.gateway.rules:
        earlier = [taken[match] for match in rule.conditions if match in taken]
        if catch_all is not None:
            yield _unreachable(rule.name, catch_all, "takes every request")
        elif rule.conditions and len(earlier) == len(rule.conditions):
            yield _unreachable(rule.name, earlier[0], "has the same matches")
        if catch_all is None and any(match.takes_everything for match in rule.conditions):
            catch_all = rule.name
        for match in rule.conditions:
            taken.setdefault(match, rule.name)


def _unreachable(rule: str, earlier: str, because: str) -> Problem:
    message = (
        f"rule {rule} is never reached: rule {earlier} before it {because}; change their order or matches"
    )
    return Problem("Unreachable", message)


def _access(planned: Plan, sources: RouteSources) -> Iterator[Problem]:
    consumers = sources.spec.consumers
    if not consumers:
        yield Problem(
            "NoConsumers",
            "spec.consumers is empty, so every request gets 401: list who may use the route, or let "
            "everybody in with {name: anyone, auth: {anonymous: {}}, backends: [...]}",
        )
    for consumer in consumers:
        found = sources.consumers.get(consumer.name)
        if found is not None and found.problem is not None:
            yield Problem("ConsumerNotUsable", f"consumer {consumer.name}: {found.problem.message}")
        for reference in consumer.backends:
            ref = BackendRef.parse(reference, sources.namespace)
            if ref in planned.missing:
                message = f"consumer {consumer.name}: {planned.missing[ref].message}"
                yield Problem(planned.missing[ref].reason, message)
        if not any(
            rule.choices and (rule.consumers is None or consumer.name in rule.consumers)
            for rule in planned.gateway.rules
        ):
            yield Problem(
                "ConsumerScopeEmpty",
                f"consumer {consumer.name} may use no rule: a rule needs every backend that it serves "
                "from in the consumer's backends, candidates and fallbacks alike",
            )


def _credentials(planned: Plan) -> Iterator[Problem]:
    different = {backend.credential for backend in planned.gateway.backends.values()} - {None}
    if len(different) > _MANY_CREDENTIALS:
        yield Problem(
            "ManyCredentials",
            f"the route uses {len(different)} different credentials, and Envoy needs an inotify instance for "
            f"each: set fs.inotify.max_user_instances on the nodes to {len(different) + 128} or more, let "
            "backends of one provider share a Secret, or split the route",
        )
