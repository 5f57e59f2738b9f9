"""What is allowed and looks like a mistake."""

from collections.abc import Iterator
from typing import Final

from moltbot_operator.compile.consumers import Consumer, Issuer, takes, unreachable
from moltbot_operator.compile.lint_backends import backend_warnings, failover_warnings
from moltbot_operator.compile.lint_selection import selection_warnings
from moltbot_operator.compile.plan import Plan
from moltbot_operator.compile.shadows import shadows
from moltbot_operator.compile.sources import BackendRef, Problem, RouteSources

__all__ = ["warnings"]

_MANY_CREDENTIALS: Final = 100
"""Linux grants a user 128 inotify instances unless told otherwise; Envoy keeps one for each credential."""


def warnings(planned: Plan, sources: RouteSources) -> tuple[Problem, ...]:
    """Reason and message of each, in the order of the spec."""
    return (
        *failover_warnings(planned, sources),
        *_shadowed(planned),
        *_access(planned, sources),
        *_scopes(planned, sources),
        *backend_warnings(planned, sources),
        *_credentials(planned),
        *_tokens(planned, sources),
        *_collector(planned),
        *selection_warnings(planned),
    )


def _shadowed(planned: Plan) -> Iterator[Problem]:
    for shadow in shadows([(rule.name, rule.conditions) for rule in planned.gateway.rules]):
        yield Problem(
            "Unreachable",
            f"rule {shadow.rule} is never reached: {shadow.because}: change their order or matches",
        )


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


def _scopes(planned: Plan, sources: RouteSources) -> Iterator[Problem]:
    """Rules that nobody may use, and parts of scopes that no rule uses."""
    rules = planned.gateway.rules
    if any(rule.choices and rule.consumers != () for rule in rules):  # else each consumer was told
        for rule in rules:
            if rule.choices and rule.consumers == () and sources.spec.consumers:
                used = dict.fromkeys(each.label for choice in rule.choices for each in choice.chain.backends)
                yield Problem(
                    "RuleOutOfScope",
                    f"rule {rule.name} answers everybody with 403: no consumer has all of {', '.join(used)} "
                    "in its backends: add them to one's, or remove the rule",
                )
    named = {
        BackendRef.parse(name, sources.namespace) for rule in sources.spec.rules for name in rule.backends
    }
    for consumer in sources.spec.consumers:
        refs = [BackendRef.parse(reference, sources.namespace) for reference in consumer.backends]
        unused = [str(ref) for ref in refs if ref not in named and ref not in planned.missing]
        if unused:
            yield Problem(
                "ScopeUnused",
                f"consumer {consumer.name} may use {', '.join(unused)}, which no rule serves from: remove it "
                "from the consumer's backends, or add it to a rule",
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


def _tokens(planned: Plan, sources: RouteSources) -> Iterator[Problem]:
    """Consumers with tokens that an earlier consumer's are too, and doubtful places of keys."""
    earlier: list[Consumer] = []
    for consumer in planned.gateway.consumers:
        if consumer.token is None:
            continue
        taker = next((each for each in earlier if each.token and takes(each.token, consumer.token)), None)
        if taker is not None:
            yield Problem(
                "ConsumerUnreachable",
                f"consumer {consumer.name} is never recognised: consumer {taker.name} before it takes every "
                "token with this issuer, audience and claims; tell them apart by auth.jwt.claims, or put the "
                "one with more claims first",
            )
        earlier.append(consumer)
    yield from _issuers(planned)
    for spec in sources.spec.consumers:
        url = None if spec.auth.jwt is None else spec.auth.jwt.jwks.url
        if unreachable(url, loopback=sources.files.loopback):
            yield Problem(
                "Loop",
                f"consumers[{spec.name}].auth.jwt.jwks.url leads to the gateway's own pod or node, where no "
                "keys are fetched from, so its tokens get 503: write the address of the issuer",
            )


def _collector(planned: Plan) -> Iterator[Problem]:
    if planned.gateway.audit.otlp is not None and planned.gateway.collector is None:
        yield Problem(
            "Loop",
            "audit.otlp.url leads to the gateway's own pod or node, where no records are sent to, so they go "
            "to standard output: write the address of the collector",
        )


def _issuers(planned: Plan) -> Iterator[Problem]:
    known: dict[str, Issuer] = {}
    for issuer in planned.gateway.issuers:
        if known.setdefault(issuer.iss, issuer) is not issuer:
            yield Problem(
                "IssuerKeysDiffer",
                f"consumers {known[issuer.iss].consumer} and {issuer.consumer} have the same issuer "
                f"{issuer.iss} and different jwks: a token that keys of the first verify is only looked up "
                "among that one's consumers; name the same jwks",
            )
        if issuer.url is not None and issuer.url.startswith("http:"):
            yield Problem(
                "JWKSNotEncrypted",
                f"consumers[{issuer.consumer}].auth.jwt.jwks.url is fetched without TLS, so whoever is on "
                "the way can put in keys of their own: write https://, or put the keys into a ConfigMap",
            )
