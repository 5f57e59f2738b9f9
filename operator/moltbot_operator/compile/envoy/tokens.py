"""Consumers that show a token (JWT, RFC 7519): verified by Envoy, given a name by a script.

::

    Authorization: Bearer eyJ… ─ jwt_authn: issuer, signature, time ─> consumer.lua: audience, claims ─> name
                   anything else ─ api_key_auth, where consumers have keys too

A credential that looks like a token is never looked up among the keys, and the other way round.
Source: https://www.envoyproxy.io/docs/envoy/v1.40.0/configuration/http/http_filters/jwt_authn_filter
"""

from datetime import timedelta
from functools import cache
from importlib.resources import files
from typing import Final

from moltbot_agent.jwks import ALGORITHMS
from moltbot_operator.api.endpoint import ResolvedEndpoint
from moltbot_operator.compile.consumers import Issuer, Token
from moltbot_operator.compile.envoy import names
from moltbot_operator.compile.envoy.lua_text import quoted, table
from moltbot_operator.compile.envoy.proto import Json, seconds, typed
from moltbot_operator.compile.envoy.servers import server_cluster
from moltbot_operator.compile.ir import Gateway

__all__ = [
    "TOKENS",
    "consumer_script",
    "jwks_clusters",
    "token_filters",
    "token_template",
    "tokens_path",
    "without_tokens",
]

TOKENS: Final = "consumer-tokens"
"""ECDS resource name of the filter that verifies tokens."""

_AUTHN: Final = "extensions.filters.http.jwt_authn.v3.JwtAuthentication"

_TOKEN: Final = r"Bearer +eyJ[A-Za-z0-9_-]*\.[A-Za-z0-9_-]*\.[A-Za-z0-9_-]* *"  # noqa: S105 - a pattern
"""A JWS in its compact form (RFC 7515 §7.1): its first part is a JSON object in base64url."""

_SKEW: Final = timedelta(seconds=60)
"""How far clocks of issuers and gateway may be apart."""

_FETCH: Final = timedelta(seconds=5)
"""How long an issuer may take to answer with its keys, and how soon it is asked again after a failure."""

_FRESH: Final = timedelta(minutes=1)
"""How old keys fetched from a URL may get: an issuer's new key is known by then. They stay in use while the
issuer can't be reached."""

_ASKED_AT_ONCE: Final = 8
"""Connections and requests to one issuer: while its keys are not there, each token would ask for them."""

_CACHED: Final = {"jwt_cache_size": 1000, "jwt_max_token_size": 8192}
"""Verified tokens that each thread remembers. Only with keys of a ConfigMap: a new set begins with an empty
cache, while tokens under a key that an issuer took off its URL would pass until they expire."""

_NO_KEYS: Final = "jwks_none"
"""A cluster without endpoints: where keys are looked for that are not there. Envoy refuses an empty set."""


def tokens_path(run: str) -> str:
    """The file that the agent writes and Envoy watches."""
    return f"{run}/ecds/{TOKENS}.json"


def token_filters(gateway: Gateway) -> list[Json]:
    """Verification, and the script that says whose token it is; nothing where no consumer has tokens."""
    if not gateway.issuers:
        return []
    source = {"path_config_source": {"path": tokens_path(gateway.files.run)}, "resource_api_version": "V3"}
    verify = {
        "name": TOKENS,
        "config_discovery": {
            "config_source": source,
            "type_urls": [f"type.googleapis.com/envoy.{_AUTHN}"],
        },
    }
    return [verify, _names_consumer(gateway)]


def token_template(gateway: Gateway) -> Json:
    """The filter's configuration but for the keys of ConfigMaps, which the agent adds."""
    providers = {issuer.name: _provider(issuer) for issuer in gateway.issuers}
    required = [{"provider_name": name} for name in providers]
    match: Json = {"prefix": "/"}
    if gateway.has_keys:
        match["headers"] = [{"name": "authorization", "string_match": {"safe_regex": {"regex": _TOKEN}}}]
    requires = required[0] if len(required) == 1 else {"requires_any": {"requirements": required}}
    return typed(_AUTHN, providers=providers, rules=[{"match": match, "requires": requires}])


def _provider(issuer: Issuer) -> Json:
    made: Json = {
        "issuer": issuer.iss,
        "from_headers": [{"name": "Authorization", "value_prefix": "Bearer "}],
        "forward": False,
        "require_expiration": True,
        "clock_skew_seconds": int(_SKEW.total_seconds()),
        "payload_in_metadata": issuer.name,
        "header_in_metadata": f"{issuer.name} header",
    }
    endpoint = issuer.endpoint
    if endpoint is None:
        nowhere = {"uri": "http://none", "cluster": _NO_KEYS, "timeout": seconds(_FETCH)}
        return {**made, "remote_jwks": {"http_uri": nowhere}, "jwt_cache_config": _CACHED}
    uri = {"uri": issuer.url, "cluster": _cluster_name(endpoint), "timeout": seconds(_FETCH)}
    fetched = {
        "http_uri": uri,
        "cache_duration": seconds(_FRESH),
        "async_fetch": {"fast_listener": True, "failed_refetch_duration": seconds(_FETCH)},
    }
    return {**made, "remote_jwks": fetched}


def _skipped(name: str, wrapped: Json, header: str, pattern: str) -> Json:
    """A filter (its `typed_config`) that is skipped where the whole header matches the RE2 expression."""
    read = typed("type.matcher.v3.HttpRequestHeaderMatchInput", header_name=header)
    predicate = {
        "input": {"name": "header", "typed_config": read},
        "value_match": {"safe_regex": {"google_re2": {}, "regex": pattern}},
    }
    skip = {"name": "skip", "typed_config": typed("extensions.filters.common.matcher.action.v3.SkipFilter")}
    return typed(
        "extensions.common.matching.v3.ExtensionWithMatcher",
        extension_config={"name": name, "typed_config": wrapped},
        xds_matcher={
            "matcher_list": {
                "matchers": [{"predicate": {"single_predicate": predicate}, "on_match": {"action": skip}}]
            }
        },
    )


def without_tokens(name: str, wrapped: Json) -> Json:
    """A filter that is skipped for requests with a token."""
    return _skipped(name, wrapped, "authorization", _TOKEN)


@cache
def consumer_script() -> str:
    """The script but for the table of consumers before it."""
    return files("moltbot_operator.compile").joinpath("lua", "consumer.lua").read_text("utf-8")


def _names_consumer(gateway: Gateway) -> Json:
    """The script; skipped where the consumer's key has named it already."""
    consumers = [_row(each.name, each.token) for each in gateway.consumers if each.token is not None]
    lines = [
        f"local CONSUMERS = {table(consumers)}",
        f"local ALGORITHMS = {table(dict.fromkeys(ALGORITHMS, 'true'))}",
    ]
    source = "\n".join([*lines, consumer_script()])
    name = "consumer-of-token"
    lua = typed("extensions.filters.http.lua.v3.Lua", default_source_code={"inline_string": source})
    if not gateway.has_keys:
        return {"name": name, "typed_config": lua}
    return {"name": name, "typed_config": _skipped(name, lua, names.CONSUMER, ".+")}


def _row(name: str, token: Token) -> str:
    claims = {claim: quoted(value) for claim, value in token.claims}
    return table(
        {
            "name": quoted(name),
            "issuer": quoted(token.issuer.name),
            "audiences": table(map(quoted, token.audiences)),
            "claims": table(claims),
        }
    )


def _cluster_name(endpoint: ResolvedEndpoint) -> str:
    return f"jwks_{endpoint.scheme}_{endpoint.host}_{endpoint.port}"


def jwks_clusters(gateway: Gateway) -> list[Json]:
    """One cluster for each server that keys are fetched from, and the one for keys that are not there."""
    endpoints = {_cluster_name(e): e for issuer in gateway.issuers if (e := issuer.endpoint) is not None}
    ca = gateway.files.system_ca
    made = [
        server_cluster(name, endpoints[name], ca, connect=_FETCH, at_once=_ASKED_AT_ONCE)
        for name in sorted(endpoints)
    ]
    if any(issuer.endpoint is None for issuer in gateway.issuers):
        made.append({"name": _NO_KEYS, "type": "STATIC", "load_assignment": {"cluster_name": _NO_KEYS}})
    return made
