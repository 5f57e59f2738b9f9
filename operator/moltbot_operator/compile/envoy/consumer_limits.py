"""Limits of consumers: a bucket of tokens for each, in each Envoy, before anything is read or sent on.

Source: https://www.envoyproxy.io/docs/envoy/v1.40.0/configuration/http/http_filters/local_rate_limit_filter
"""

from typing import Final

from moltbot_operator.compile.consumers import Limit
from moltbot_operator.compile.envoy import names
from moltbot_operator.compile.envoy.proto import Json, extension
from moltbot_operator.compile.ir import Gateway

__all__ = ["LIMITED", "limit_filters"]

LIMITED: Final = "local_rate_limited"
"""Response code details of a request above its consumer's limit."""

_ALWAYS: Final = {
    "runtime_key": "moltbot.unused",
    "default_value": {"numerator": 100, "denominator": "HUNDRED"},
}


def limit_filters(gateway: Gateway) -> list[Json]:
    """The filter that counts; none where no consumer has a limit."""
    if not gateway.limits:
        return []
    fields: Json = {"stat_prefix": "consumers", "filter_enabled": _ALWAYS, "filter_enforced": _ALWAYS}
    if gateway.anonymous is not None:
        fields["token_bucket"] = _bucket(gateway.limits[gateway.anonymous])
    else:
        header = {"header_name": names.CONSUMER, "descriptor_key": "consumer"}
        fields["rate_limits"] = [{"actions": [{"request_headers": header}]}]
        fields["descriptors"] = [
            {"entries": [{"key": "consumer", "value": name}], "token_bucket": _bucket(limit)}
            for name, limit in gateway.limits.items()
        ]
        fields["always_consume_default_token_bucket"] = False
    return [
        extension(
            "envoy.filters.http.local_ratelimit",
            "extensions.filters.http.local_ratelimit.v3.LocalRateLimit",
            **fields,
        )
    ]


def _bucket(limit: Limit) -> Json:
    return {"max_tokens": limit.burst, "tokens_per_fill": limit.rate, "fill_interval": "1s"}
