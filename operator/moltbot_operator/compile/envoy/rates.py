"""Rates of backends: a bucket of tokens for each in the inner tier; a request above it goes elsewhere.

A backend with a rate is never asked directly: both its first and its further attempts take a token here. The
refusal carries the header that leads to the next attempt.

Source: https://www.envoyproxy.io/docs/envoy/v1.40.0/configuration/http/http_filters/local_rate_limit_filter
"""

from collections.abc import Iterable
from typing import Final

from moltbot_operator.compile.envoy.proto import Json, extension, typed
from moltbot_operator.compile.ir import Backend

__all__ = ["OVER_RATE", "rate_counted", "rate_filter", "rate_filter_awake"]

OVER_RATE: Final = "local_rate_limited"
"""Response code details of a request above the rate."""

_FILTER: Final = "envoy.filters.http.local_ratelimit"
_KEY: Final = "backend"
_ALWAYS: Final = {
    "runtime_key": "moltbot.unused",
    "default_value": {"numerator": 100, "denominator": "HUNDRED"},
}


def rate_filter(backends: Iterable[Backend]) -> list[Json]:
    """The filter that counts, asleep but on routes that wake it; none where no backend has a rate."""
    rates = {backend.label: backend.rate for backend in backends if backend.rate is not None}
    if not rates:
        return []
    counting = extension(
        _FILTER,
        "extensions.filters.http.local_ratelimit.v3.LocalRateLimit",
        stat_prefix="backends",
        filter_enabled=_ALWAYS,
        filter_enforced=_ALWAYS,
        always_consume_default_token_bucket=False,
        descriptors=[
            {
                "entries": [{"key": _KEY, "value": label}],
                "token_bucket": {
                    "max_tokens": rate.burst,
                    "tokens_per_fill": rate.rate,
                    "fill_interval": "1s",
                },
            }
            for label, rate in sorted(rates.items())
        ],
    )
    return [{**counting, "disabled": True}]


def rate_filter_awake() -> Json:
    """`typed_per_filter_config` of the inner route of a backend with a rate."""
    return {_FILTER: typed("config.route.v3.FilterConfig", disabled=False, config={})}


def rate_counted(backend: Backend) -> list[Json]:
    """`rate_limits` of that route: whose bucket it is."""
    return [{"actions": [{"generic_key": {"descriptor_key": _KEY, "descriptor_value": backend.label}}]}]
