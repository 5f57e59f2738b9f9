"""Who may use what: consumers' keys (delivered as a file by the agent) and scopes."""

from typing import Final

from moltbot_operator.compile.envoy import names
from moltbot_operator.compile.envoy.proto import Json, exact, extension, typed
from moltbot_operator.compile.envoy.tokens import token_filters, without_tokens
from moltbot_operator.compile.ir import Gateway, PlannedRule

__all__ = [
    "KEYS",
    "PROBE_KEY",
    "authentication",
    "key_template",
    "keys_path",
    "probe_authentication",
    "probe_template",
    "scope",
    "scope_filter",
]

KEYS: Final = "consumer-keys"
"""ECDS resource name of the filter that knows consumers' keys."""

PROBE_KEY: Final = "probe-key"
"""ECDS resource name of the filter that knows the key of test requests."""

_RBAC: Final = "envoy.filters.http.rbac"
_KEY_AUTH: Final = "extensions.filters.http.api_key_auth.v3.ApiKeyAuth"


def keys_path(run: str, resource: str = KEYS) -> str:
    """The file that the agent writes and Envoy watches."""
    return f"{run}/ecds/{resource}.json"


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
    return _delivered(gateway, KEYS, key_template(gateway)[0])


def _delivered(gateway: Gateway, resource: str, template: Json) -> Json:
    """The filter that Envoy finds in the agent's file."""
    path = keys_path(gateway.files.run, resource)
    source = {"path_config_source": {"path": path}, "resource_api_version": "V3"}
    return {"name": resource, "config_discovery": {"config_source": source, "type_urls": [template["@type"]]}}


def probe_template() -> Json:
    """The filter's configuration but for the one key; it leaves no trace of the key in the request."""
    sources = [{"header": "Authorization"}]
    return typed(_KEY_AUTH, key_sources=sources, forwarding={"hide_credentials": True})


def probe_authentication(gateway: Gateway) -> list[Json]:
    """The filter that lets only test requests pass."""
    return [_delivered(gateway, PROBE_KEY, probe_template())]


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
