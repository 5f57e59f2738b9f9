"""When a further attempt is made, and how long each may take.

Envoy retries by status code or by kind of reset, whatever the next attempt's backend is. Here it matters
whether that is another one, which is asked at once, or the same again, which must not be asked before its
`Retry-After` nor after it was silent. So each answer is given one header that says everything (`said`), and
expressions on it decide::

    x-mb-said: STATUS/FAULT/LAST/RETRY-AFTER/RETRY-AFTER-MS
               503/UF//1/      the inner tier did not reach the backend
               429//1/7/       a backend asks for 7 seconds, and the next attempt would ask it again

Only what happens to the first attempt without an answer is Envoy's own conditions' business. They don't tell
silence from a reset, so that a rule's only backend may be asked again after silence, within the budget.
"""

from collections.abc import Iterable
from datetime import timedelta
from typing import Final

from moltbot_operator.api import RetryCondition
from moltbot_operator.compile.envoy import names
from moltbot_operator.compile.envoy.proto import Json, extension, header, regex, seconds, typed
from moltbot_operator.compile.envoy.script import awake
from moltbot_operator.compile.ir import Chain, Retry

__all__ = ["again", "limits", "policy", "said", "silence", "up_to"]

_ON: Final[dict[RetryCondition, tuple[str, ...]]] = {
    RetryCondition.CONNECT_FAILURE: ("connect-failure", "refused-stream"),
    RetryCondition.RESET: ("reset",),
    RetryCondition.SERVER_ERROR: ("reset",),
    # Envoy counts an attempt that ran out of time among those that were reset
    RetryCondition.PER_TRY_TIMEOUT: ("reset",),
}
"""Envoy's conditions (https://www.envoyproxy.io/docs/envoy/v1.40.0/configuration/http/http_filters/router_filter)."""

_CODES: Final = {
    RetryCondition.SERVER_ERROR: "5[0-9][0-9]",
    RetryCondition.TOO_MANY_REQUESTS: "429",
    RetryCondition.UNAUTHORIZED: "401",
    RetryCondition.FORBIDDEN: "403",
}

_PASSING: Final = {RetryCondition.SERVER_ERROR, RetryCondition.TOO_MANY_REQUESTS}
"""Answers that the same backend may not give again."""

_FLAGS: Final[dict[RetryCondition, tuple[str, ...]]] = {
    RetryCondition.CONNECT_FAILURE: ("UF",),
    RetryCondition.RESET: ("UC", "UR", "UPE"),
    RetryCondition.SERVER_ERROR: ("UF", "UC", "UR", "UPE", "UT"),
    RetryCondition.PER_TRY_TIMEOUT: ("UT",),
    RetryCondition.CONTEXT_LENGTH: ("CL",),
}
"""What the inner tier says of a backend that did not answer, by Envoy's response flags; CL is our own."""

_UNASKED: Final = ("NC", "UH", "UO", "UCR", "RL")
"""No cluster, no healthy host, full, credential missing, above its rate: such an attempt reached nobody."""

_AGAIN: Final = {"UF", "UC", "UR", "UPE", "UO"}
"""What may pass until the same backend is asked again."""


def said(*, repeats: bool, overlong: bool = False) -> list[Json]:
    """The upstream filters that write `x-mb-said`; answers pass them from the last to the first.

    `repeats`: the direct answers too are those of a backend that the next attempt asks again. `overlong`: an
    error that says that the prompt is too long counts as a fault.
    """
    last = "1" if repeats else f"%RESP({names.LAST})%"
    line = f"%RESP(:STATUS)%/%RESP({names.FAULT})%/{last}/%RESP(RETRY-AFTER)%/%RESP(RETRY-AFTER-MS)%"
    added = [header(names.SAID, line)]
    if repeats:
        added.append(header(names.WAIT, "%RESP(RETRY-AFTER)%"))
    mutation = extension(
        "envoy.filters.http.header_mutation",
        "extensions.filters.http.header_mutation.v3.HeaderMutation",
        mutations={"response_mutations": [{"append": each} for each in added]},
    )
    return [_unless_good(mutation), *([awake("overlong.lua")] if overlong else [])]


def _unless_good(filter_: Json) -> Json:
    """The filter, left out for answers with 200: they lead to no further attempt, and are the most.

    But for those with a provider's own `x-mb-said`, which would ask for one: the filter overwrites it.
    """
    skip = typed("extensions.filters.common.matcher.action.v3.SkipFilter")
    feigned = {
        "input": _answered(names.SAID),
        "value_match": {"safe_regex": {"google_re2": {}, "regex": ".*"}},
    }
    unfeigned: Json = {
        "matcher_list": {
            "matchers": [
                {
                    "predicate": {"not_matcher": {"single_predicate": feigned}},
                    "on_match": {"action": {"name": "skip", "typed_config": skip}},
                }
            ]
        }
    }
    matcher = {
        "matcher_tree": {
            "input": _answered(":status"),
            "exact_match_map": {"map": {"200": {"matcher": unfeigned}}},
        }
    }
    return extension(
        filter_["name"],
        "extensions.common.matching.v3.ExtensionWithMatcher",
        xds_matcher=matcher,
        extension_config=filter_,
    )


def _answered(name: str) -> Json:
    """A header of an answer, as the input of a matcher."""
    message = "type.matcher.v3.HttpResponseHeaderMatchInput"
    return {"name": "header", "typed_config": typed(message, header_name=name)}


def policy(retry: Retry, chain: Chain) -> Json:
    """The `retry_policy` of a route; attempt timeouts are part of it."""
    times = limits(chain.wait, max(backend.idle for backend in chain.backends))
    if chain.attempts == 1:
        return {"num_retries": 0, **times}
    on = sorted(retry.on) if retry.retries else []
    conditions = dict.fromkeys(name for each in on for name in _ON.get(each, ()))
    longest = int(retry.maximum / timedelta(seconds=1))
    made: Json = {
        "retry_on": ",".join([*conditions, "retriable-headers"]),
        "num_retries": chain.attempts - 1,
        # one expression: each is looked for in every answer
        "retriable_headers": [regex(names.SAID, "|".join(_expressions(on, longest)))],
        "retry_back_off": {"base_interval": seconds(retry.base), "max_interval": seconds(retry.maximum)},
        **times,
    }
    if longest:
        made["rate_limited_retry_back_off"] = {
            "reset_headers": [{"name": names.WAIT, "format": "SECONDS"}],
            "max_interval": seconds(timedelta(seconds=longest)),
        }
    return made


def _expressions(on: Iterable[RetryCondition], longest: int) -> list[str]:
    """What `x-mb-said` must match one of; `longest`: seconds that a Retry-After may ask for."""
    codes = {each: _CODES[each] for each in on if each in _CODES}
    flags = dict.fromkeys((*_UNASKED, *(flag for each in on for flag in _FLAGS.get(each, ()))))
    passing = [code for each, code in codes.items() if each in _PASSING]
    made = [f"[0-9]+/(?:{'|'.join(flags)})//.*"]
    made.append(f"[0-9]+/(?:{'|'.join(flag for flag in flags if flag in _AGAIN)})/1/.*")
    if codes:
        made.append(f"(?:{'|'.join(codes.values())})///.*")
    if passing:
        made.append(f"(?:{'|'.join(passing)})//1/(?:|{up_to(longest)})/")
    return made


def up_to(number: int) -> str:
    """An expression for the whole numbers from 0 to this one, in decimal."""
    digits = str(number)
    shorter = [f"[1-9][0-9]{{{count - 1}}}" for count in range(1, len(digits))]
    equal = []
    for at, digit in enumerate(digits):
        low = 1 if at == 0 else 0
        if int(digit) > low:
            equal.append(f"{digits[:at]}[{low}-{int(digit) - 1}][0-9]{{{len(digits) - at - 1}}}")
    return "|".join(["0", *shorter, *equal, *([digits] if number else [])])


def limits(first_byte: timedelta, idle: timedelta) -> Json:
    """How long an attempt may take until its headers, and be silent after them.

    Envoy's limit of silence also counts before the headers, so that it must be the longer one: what runs out
    first is what the audit record says.
    """
    longer = max(first_byte + timedelta(seconds=1), idle)
    return {"per_try_timeout": seconds(first_byte), "per_try_idle_timeout": seconds(longer)}


def again(chain: Chain) -> timedelta:
    """How long an attempt may be silent after which the same backend would be asked again.

    A little less than the public listener waits: only the inner tier can say that it was silence.
    """
    return min(chain.backends[-1].first_byte, chain.wait - min(chain.wait / 20, timedelta(milliseconds=250)))


def silence(retry: Retry, chain: Chain) -> timedelta:
    """How long a client may hear nothing.

    This limit is the one that ends a silence within an answer (Envoy's per_try_idle_timeout did not, after
    the headers), so it is no longer than it must be: every attempt may use its time before the headers.
    """
    idle = max(backend.idle for backend in chain.backends)
    return max(idle, chain.attempts * (chain.wait + retry.maximum))
