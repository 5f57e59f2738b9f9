"""Who may use what: consumers' keys (delivered as a file by the agent) and scopes."""

from typing import Final

from moltbot_operator.compile.envoy import names
from moltbot_operator.compile.envoy.proto import Json, exact, extension, typed
from moltbot_operator.compile.envoy.tokens import token_filters, without_tokens
from moltbot_operator.compile.ir import Gateway, PlannedRule

__all__ = ["KEYS", "authentication", "key_template", "keys_path", "scope", "scope_filter"]

KEYS: Final = "consumer-keys"
"""ECDS resource name of the filter that knows consumers' keys."""

_RBAC: Final = "envoy.filters.http.rbac"
_KEY_AUTH: Final = "extensions.filters.http.api_key_auth.v3.ApiKeyAuth"


def keys_path(run: str) -> str:
    """The file that the agent writes and Envoy watches."""
    return f"{run}/ecds/{KEYS}.json"


def key_template(gateway: Gateway) -> tuple[Json, tuple[str, ...]]:
    """The filter's configuration but for the keys, and where in it the agent puts them.

    SDKs send keys as OpenAI (`authorization: Bearer`), Anthropic (`x-api-key`) or Azure (`api-key`)
    want them.
    """
    sources = [{"header": name} for name in ("Authorization", "x-api-key", "api-key")]
    filter_config = typed(
        _KEY_AUTH, key_sources=sources, forwarding={"header": names.CONSUMER, "hide_credentials": True}
    )
    if not gateway.issuers:
        return filter_config, ()
    return without_tokens(KEYS, filter_config), ("extension_config", "typed_config")


def authentication(gateway: Gateway) -> list[Json]:
    """Filters that put the consumer's name into a header, or refuse the request; none for everybody."""
    keys = [_keys_filter(gateway)] if gateway.has_keys else []
    return [*keys, *token_filters(gateway)]


def _keys_filter(gateway: Gateway) -> Json:
    """The filter that Envoy finds in the agent's file."""
    source = {"path_config_source": {"path": keys_path(gateway.files.run)}, "resource_api_version": "V3"}
    urls = [key_template(gateway)[0]["@type"]]
    return {"name": KEYS, "config_discovery": {"config_source": source, "type_urls": urls}}


def scope_filter() -> Json:
    """Refuses by the final route's scope; lets everything through where a route has none."""
    return extension(_RBAC, "extensions.filters.http.rbac.v3.RBAC")


def scope(rule: PlannedRule) -> Json:
    """`typed_per_filter_config` of a final route: only these consumers pass. Empty if all may."""
    if rule.consumers is None:
        return {}
    allowed = [{"header": exact(names.CONSUMER, name)} for name in rule.consumers]
    policies = {"scope": {"permissions": [{"any": True}], "principals": allowed}} if allowed else {}
    rules = {"action": "ALLOW", "policies": policies}
    return {_RBAC: typed("extensions.filters.http.rbac.v3.RBACPerRoute", rbac={"rules": rules})}
