"""Which parts of a spec this version does not implement yet.

Fields of later versions exist and are validated now. A resource that uses one is told so by a condition
(`Accepted=False`, `NotSupportedYet`), never served as if the field were not there. Once a field is
implemented, its line here goes.
"""

from collections.abc import Iterator

from moltbot_operator.api.backend import ModelBackendSpec
from moltbot_operator.api.rotation import IssuerType
from moltbot_operator.api.route import MoltBotRouteSpec
from moltbot_operator.api.rule import Rule

__all__ = ["unsupported_backend", "unsupported_route"]


def unsupported_backend(spec: ModelBackendSpec) -> list[str]:
    """Fields used by a backend that are not implemented yet, as in `rotation`."""
    if spec.rotation is None or spec.auth.jwt is None:
        return []
    issuer, managed = spec.rotation.issuer.type, spec.auth.jwt.signing_key.managed
    if issuer not in {IssuerType.MANAGED_KEY, IssuerType.EXTERNAL} or (
        managed and issuer is IssuerType.EXTERNAL
    ):
        return [f"rotation.issuer.type: {issuer} with auth.type: JWT and jwt.signingKey"]
    return []


def unsupported_route(spec: MoltBotRouteSpec) -> list[str]:
    """Fields used by a route that are not implemented yet, as in `rules[tech].cache`."""
    return [field for rule in spec.rules for field in _of_rule(rule)]


def _of_rule(rule: Rule) -> Iterator[str]:
    at = f"rules[{rule.name}]"
    if rule.failover.stream is not None:
        yield f"{at}.failover.stream"
    if rule.cache is not None and rule.cache.warm_up is not None:
        yield f"{at}.cache.warmUp"
    for name, feature in (
        ("batch", rule.batch),
        ("async", rule.async_),
        ("aggregate", rule.aggregate),
    ):
        if feature is not None:
            yield f"{at}.{name}"
