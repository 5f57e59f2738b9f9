"""When a further attempt is made, and how long each may take."""

from datetime import timedelta
from typing import Final

from moltbot_operator.api import RetryCondition
from moltbot_operator.compile.envoy import names
from moltbot_operator.compile.envoy.proto import Json, regex, seconds
from moltbot_operator.compile.ir import Chain, Retry

__all__ = ["limits", "policy", "silence"]

_ON: Final[dict[RetryCondition, tuple[str, ...]]] = {
    RetryCondition.CONNECT_FAILURE: ("connect-failure", "refused-stream"),
    RetryCondition.RESET: ("reset",),
    RetryCondition.SERVER_ERROR: ("5xx",),
    # Envoy counts an attempt that ran out of time among those that were reset
    RetryCondition.PER_TRY_TIMEOUT: ("reset",),
}
"""Envoy's conditions (https://www.envoyproxy.io/docs/envoy/v1.40.0/configuration/http/http_filters/router_filter)."""

_CODES: Final = {
    RetryCondition.TOO_MANY_REQUESTS: 429,
    RetryCondition.UNAUTHORIZED: 401,
    RetryCondition.FORBIDDEN: 403,
}

_FLAGS: Final[dict[RetryCondition, tuple[str, ...]]] = {
    RetryCondition.CONNECT_FAILURE: ("UF",),
    RetryCondition.RESET: ("UC", "UR", "UPE"),
    RetryCondition.PER_TRY_TIMEOUT: ("UT",),
}
"""What the inner tier says of a backend that did not answer, by Envoy's response flags."""

_ALWAYS: Final = ("NC", "UH", "UO", "UCR")
"""No healthy host, no cluster, full, credential missing: such an attempt reached nobody."""


def policy(retry: Retry, chain: Chain) -> Json:
    """The `retry_policy` of a route; attempt timeouts are part of it."""
    conditions = dict.fromkeys(name for on in sorted(retry.on) for name in _ON.get(on, ()))
    codes = sorted(_CODES[on] for on in retry.on if on in _CODES)
    flags = [*_ALWAYS, *(flag for on in sorted(retry.on) for flag in _FLAGS.get(on, ()))]
    made: Json = {
        "retry_on": ",".join(
            [*conditions, "retriable-headers", *(["retriable-status-codes"] if codes else [])]
        ),
        "num_retries": retry.retries,
        "retriable_headers": [regex(names.FAULT, "|".join(flags))],
        "retry_back_off": {"base_interval": seconds(retry.base), "max_interval": seconds(retry.maximum)},
        **limits(_per_try(retry, chain), max(backend.idle for backend in chain.backends)),
    }
    if codes:
        made["retriable_status_codes"] = codes
    return made


def limits(first_byte: timedelta, idle: timedelta) -> Json:
    """How long an attempt may take until its headers, and be silent after them.

    Envoy's limit of silence also counts before the headers, so that it can't be the shorter one.
    """
    return {"per_try_timeout": seconds(first_byte), "per_try_idle_timeout": seconds(max(first_byte, idle))}


def _per_try(retry: Retry, chain: Chain) -> timedelta:
    return retry.per_try or max(backend.first_byte for backend in chain.backends)


def silence(retry: Retry, chain: Chain) -> timedelta:
    """How long a client may hear nothing: every attempt may use its time."""
    attempts = 1 + retry.retries
    idle = max(backend.idle for backend in chain.backends)
    return idle + attempts * (_per_try(retry, chain) + retry.maximum)
