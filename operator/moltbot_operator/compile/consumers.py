"""Consumers in the intermediate form: how each is known, and how much it may ask for.

::

    Consumer ── token: Token ── issuer: Issuer (whose public keys come from a ConfigMap or a URL)
       │        None: by the keys of its Secret
       └── limit: Limit
"""

from dataclasses import dataclass

from moltbot_operator.api import Consumer as ConsumerSpec
from moltbot_operator.api import ConsumerJWT, ConsumerLimits
from moltbot_operator.api.endpoint import ResolvedEndpoint, resolve_url, url_host
from moltbot_operator.compile.local import is_local

__all__ = ["Consumer", "Issuer", "Limit", "Token", "consumer_limits", "takes", "told_apart", "unreachable"]


@dataclass(frozen=True)
class Limit:
    """A bucket of tokens in each gateway pod: one a request, `rate` new ones a second, `burst` at most."""

    rate: int
    burst: int


@dataclass(frozen=True)
class Issuer:
    """Who signs tokens, and where the public keys are: in a ConfigMap of the route's namespace, or at a URL.

    Consumers with the same `iss` and the same place of keys share one.
    """

    name: str
    """Unique in the gateway."""
    iss: str
    config_map: tuple[str, str] | None
    """Name and key of the ConfigMap."""
    url: str | None
    """None too where keys may not be fetched from there; then there are none."""
    consumer: str
    """The first consumer of this issuer, for messages."""

    @property
    def endpoint(self) -> ResolvedEndpoint | None:
        """Host, port and so on of the URL."""
        return None if self.url is None else resolve_url(self.url)


@dataclass(frozen=True)
class Token:
    """What a token must say for a consumer, once its signature is verified."""

    issuer: Issuer
    audiences: tuple[str, ...]
    """Any of these; empty: not looked at."""
    claims: tuple[tuple[str, str], ...]
    """All of these, name and value."""


@dataclass(frozen=True)
class Consumer:
    """A client application that is told apart by what it shows: a token, or a key if `token` is None."""

    name: str
    token: Token | None = None


def told_apart(consumers: tuple[ConsumerSpec, ...], *, loopback: bool) -> tuple[Consumer, ...]:
    """Every consumer but the anonymous one, in the order of the spec.

    Without `loopback`, no keys are fetched from the gateway's own pod or node.
    """
    issuers: dict[tuple[object, ...], Issuer] = {}
    made = []
    for consumer in consumers:
        if consumer.auth.jwt is not None:
            made.append(
                Consumer(consumer.name, _token(consumer.name, consumer.auth.jwt, issuers, loopback=loopback))
            )
        elif consumer.auth.api_key is not None:
            made.append(Consumer(consumer.name))
    return tuple(made)


def _token(
    consumer: str, jwt: ConsumerJWT, issuers: dict[tuple[object, ...], Issuer], *, loopback: bool
) -> Token:
    ref = jwt.jwks.config_map_ref
    place = None if ref is None else (ref.name, ref.key)
    known = (jwt.issuer, place, jwt.jwks.url)
    if known not in issuers:
        url = None if unreachable(jwt.jwks.url, loopback=loopback) else jwt.jwks.url
        issuers[known] = Issuer(f"issuer-{len(issuers)}", jwt.issuer, place, url, consumer)
    return Token(issuers[known], jwt.audiences, tuple(sorted(jwt.claims.items())))


def takes(earlier: Token, later: Token) -> bool:
    """Whether every token that the later one asks for is taken by the earlier one."""
    issuer = earlier.issuer == later.issuer
    audience = not earlier.audiences or (bool(later.audiences) and {*later.audiences} <= {*earlier.audiences})
    return issuer and audience and {*earlier.claims} <= {*later.claims}


def unreachable(url: str | None, *, loopback: bool) -> bool:
    """Whether a URL leads to the gateway's own pod or node, where nobody is asked for keys."""
    return url is not None and not loopback and is_local(url_host(url))


def consumer_limits(consumers: tuple[ConsumerSpec, ...]) -> dict[str, Limit]:
    """Limits of those consumers that have one, by name."""
    return {consumer.name: _limit(consumer.limits) for consumer in consumers if consumer.limits is not None}


def _limit(limits: ConsumerLimits) -> Limit:
    return Limit(limits.requests_per_second, limits.burst or limits.requests_per_second)
