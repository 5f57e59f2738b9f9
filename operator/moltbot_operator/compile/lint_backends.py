"""What looks like a mistake in backends and in how a rule goes from one to the next."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Final

from moltbot_operator.api import PRESETS, Limits, ModelBackendSpec, RetryCondition, Rule, format_duration
from moltbot_operator.compile.ir import Backend, PlannedRule
from moltbot_operator.compile.plan import Plan
from moltbot_operator.compile.sources import BackendRef, Problem, RouteSources

__all__ = ["backend_warnings", "failover_warnings"]

_OUT_OF_TIME: Final = frozenset(
    {RetryCondition.PER_TRY_TIMEOUT, RetryCondition.RESET, RetryCondition.SERVER_ERROR}
)
"""Any of these makes a further attempt after one that ran out of time."""

_REFUSED: Final = (RetryCondition.UNAUTHORIZED, RetryCondition.FORBIDDEN)


def failover_warnings(planned: Plan, sources: RouteSources) -> Iterator[Problem]:
    """Retries and fallbacks that are configured and do nothing, rule by rule."""
    for rule, spec in zip(planned.gateway.rules, sources.spec.rules, strict=True):
        yield from _too_few(rule, spec, sources.namespace)
        yield from _never(rule, spec)
        yield from _same(rule)


def _too_few(rule: PlannedRule, spec: Rule, namespace: str) -> Iterator[Problem]:
    retries = spec.failover.max_retries
    longest = max((len(choice.chain.backends) for choice in rule.choices), default=0)
    if spec.fallback and longest > 1 + retries:
        yield Problem(
            "RetriesTooFew",
            f"rule {rule.name}: {retries} retries do not reach every fallback when all candidates fail at "
            f"once: write failover.maxRetries: {longest - 1}",
        )
        return
    resting = [
        str(BackendRef.parse(candidate.backend, namespace))
        for candidate in spec.candidates
        if not candidate.weight
    ]
    if resting and not retries and longest > 1:
        yield Problem(
            "RetriesTooFew",
            f"rule {rule.name}: candidate {resting[0]} has weight 0, so it takes further attempts only, and "
            "there are none: give it a weight, or write failover.maxRetries: 1",
        )


def _never(rule: PlannedRule, spec: Rule) -> Iterator[Problem]:
    failover, retry = spec.failover, rule.retry
    used = {backend for choice in rule.choices for backend in choice.chain.backends}
    written = len(spec.candidates) + len(spec.fallback)  # some may just not be usable now
    if not used:
        return
    if not retry.on and retry.retries and written > 1:
        yield Problem(
            "RetryNever",
            f"rule {rule.name}: failover.retryOn is empty, so a failed attempt goes nowhere else: leave it "
            "out for the usual conditions, or write e.g. [ConnectFailure, 5xx]",
        )
    if not retry.retries and written == 1 and retry.on and "retry_on" in failover.model_fields_set:
        yield Problem(
            "RetryNever",
            f"rule {rule.name}: failover.retryOn has no effect with maxRetries: 0: write maxRetries: 1 or "
            "more, or leave retryOn out",
        )
    refused = [on for on in _REFUSED if on in retry.on]
    if retry.retries and refused and written == 1:
        yield Problem(
            "RetryNever",
            f"rule {rule.name}: failover.retryOn {refused[0]} asks the same backend again with the same "
            "credential: give the rule a fallback, or leave it out",
        )
    if retry.retries and RetryCondition.CONNECT_FAILURE in retry.on and not retry.on & _OUT_OF_TIME:
        yield from _connect(rule, used)


def _connect(rule: PlannedRule, used: set[Backend]) -> Iterator[Problem]:
    """An attempt that ends before connecting may time out is none of ConnectFailure."""
    for backend in sorted(used, key=lambda each: each.label):
        attempt = _attempt(rule, used)
        if backend.connect >= attempt:
            yield Problem(
                "RetryNever",
                f"rule {rule.name}: an attempt ends after {format_duration(attempt)}, before a connection to "
                f"{backend.label} fails after {format_duration(backend.connect)}, and retryOn has "
                "ConnectFailure but not PerTryTimeout: add that, or shorten the backend's timeouts.connect",
            )
            return


def _attempt(rule: PlannedRule, used: set[Backend]) -> timedelta:
    return rule.retry.per_try or max(backend.first_byte for backend in used)


def _same(rule: PlannedRule) -> Iterator[Problem]:
    """Two names for one model at one endpoint: when one fails, so does the other."""
    known: dict[object, str] = {}
    chain = dict.fromkeys(backend for choice in rule.choices for backend in choice.chain.backends)
    for backend in chain:
        first = known.setdefault(_identity(backend), backend.label)
        if first != backend.label:
            yield Problem(
                "SameBackend",
                f"rule {rule.name}: backends {first} and {backend.label} are the same model at the same "
                "endpoint with the same credential, so they fail together: name another one, or keep one",
            )


def _identity(backend: Backend) -> object:
    return backend.host, backend.port, backend.prefix, backend.tls, backend.model, backend.credential


def backend_warnings(planned: Plan, sources: RouteSources) -> Iterator[Problem]:
    """Settings of backends that never take effect."""
    for backend in planned.gateway.backends.values():
        spec = sources.backends[backend.ref].spec
        yield from _credential(backend, spec)
        limits = spec.limits
        if limits is None:
            continue
        if limits.max_pending_requests is not None and limits.max_connections is None:
            yield Problem(
                "LimitNever",
                f"ModelBackend {backend.ref}: limits.maxPendingRequests without maxConnections: no request "
                "waits while more connections may be made: add maxConnections, or remove it",
            )
        yield from _breaker(backend, limits)


def _credential(backend: Backend, spec: ModelBackendSpec) -> Iterator[Problem]:
    """At a provider's own address only: a proxy elsewhere may add a credential, or take others."""
    preset = PRESETS[spec.provider]
    if backend.host == preset.host and spec.auth.type not in preset.auth:
        taken = " or ".join(sorted(preset.auth))
        yield Problem(
            "CredentialUnusual",
            f"ModelBackend {backend.ref}: {spec.provider} at {preset.host} takes {taken} and no auth.type "
            f"{spec.auth.type}, so it answers 401: write auth.type {taken}",
        )


def _breaker(backend: Backend, limits: Limits) -> Iterator[Problem]:
    if backend.breaker is None or limits.requests_per_second is None:
        return
    interval, needed = backend.breaker.interval, backend.breaker.minimum_requests
    most = limits.requests_per_second * interval.total_seconds() + (
        limits.burst or limits.requests_per_second
    )
    if most < needed:
        yield Problem(
            "BreakerNever",
            f"ModelBackend {backend.ref}: circuitBreaker.minimumRequests {needed} never come within "
            f"{format_duration(interval)}, since limits let {int(most)} pass: write {max(1, int(most) // 2)} "
            "or less, or a longer interval",
        )
