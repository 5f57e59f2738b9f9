"""When and how a failed attempt is made again."""

from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BeforeValidator, Field, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError

from moltbot_operator.api.constraints import WithListType
from moltbot_operator.api.duration import Duration, DurationBounds
from moltbot_operator.api.model import ApiModel, Check

__all__ = [
    "Backoff",
    "BackoffStrategy",
    "Failover",
    "RetryCondition",
    "StreamGuard",
    "StreamRecovery",
]


class BackoffStrategy(StrEnum):
    """How the pause between attempts grows."""

    EXPONENTIAL = "Exponential"


class Backoff(ApiModel):
    """The pause before a further attempt, with full jitter."""

    strategy: BackoffStrategy = BackoffStrategy.EXPONENTIAL
    """Exponential: doubles with each attempt, up to max."""
    base: Annotated[timedelta, DurationBounds("1ms", "1m")] = timedelta(milliseconds=100)
    """Pause before the first further attempt."""
    max: Annotated[timedelta, DurationBounds("1ms", "10m")] = timedelta(seconds=2)
    """Longest pause. Before the same backend is asked again, its Retry-After is waited for if it is not
    longer, else its answer goes to the client."""

    checks = (
        Check(
            "duration(has(self.max) ? self.max : '2s') >= duration(has(self.base) ? self.base : '100ms')",
            lambda self: self.max >= self.base,
            "max is shorter than base: write a max of at least base (base is 100ms and max is 2s unless "
            "given)",
            ".max",
        ),
    )


class RetryCondition(StrEnum):
    """What counts as a failure that another backend may cure."""

    CONNECT_FAILURE = "ConnectFailure"
    RESET = "Reset"
    SERVER_ERROR = "5xx"
    TOO_MANY_REQUESTS = "429"
    PER_TRY_TIMEOUT = "PerTryTimeout"
    UNAUTHORIZED = "401"
    FORBIDDEN = "403"
    CONTEXT_LENGTH = "ContextLength"


_NUMBERS: Final = [int(condition) for condition in RetryCondition if condition.isdigit()]
"""Status codes may be written as numbers, since YAML reads a plain 429 as one."""


class _Written:
    """The conditions as strings, status codes also as numbers."""

    @staticmethod
    def __get_pydantic_json_schema__(schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {
            "x-kubernetes-int-or-string": True,
            "enum": [*(condition.value for condition in RetryCondition), *_NUMBERS],
        }


def _as_condition(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | str) or str(value) not in set(RetryCondition):
        remedy = f"Unsupported value, supported values: {', '.join(RetryCondition)}"
        raise PydanticCustomError("retry_on", "{remedy}", {"remedy": remedy})
    return str(value)


def _once(conditions: tuple[RetryCondition, ...]) -> tuple[RetryCondition, ...]:
    """429 and "429" differ for the API server and mean the same."""
    return tuple(dict.fromkeys(conditions))


Conditions = Annotated[
    tuple[Annotated[RetryCondition, BeforeValidator(_as_condition), _Written()], ...],
    Field(max_length=2 * len(RetryCondition)),
    AfterValidator(_once),
    WithListType("set"),
]


class StreamRecovery(StrEnum):
    """What to do when a stream breaks after its first token."""

    ERROR = "Error"
    CONTINUE = "Continue"
    HOLD = "Hold"


class StreamGuard(ApiModel):
    """How streamed answers are watched. This sends the rule through the worker."""

    first_token: Duration = timedelta(seconds=10)
    """Longest wait for the first token, after which the next backend is tried."""
    stall: Duration = timedelta(seconds=15)
    """Longest silence between tokens."""
    recover: StreamRecovery = StreamRecovery.ERROR
    """After the first token: Error ends the stream with an error event, Continue goes on at the next backend,
    Hold delivers the answer only when it is whole."""


class Failover(ApiModel):
    """When and how a failed attempt is made again, at the next candidate or fallback."""

    max_retries: Annotated[int, Field(strict=True, ge=0, le=10)] = 3
    """Further attempts after the first; 0 for none. They go to the other candidates and the fallbacks in
    turn, then again to the last one. A backend above its rate is passed over and uses none up, up to the
    number of backends."""
    backoff: Backoff = Backoff()
    """The pause before each further attempt."""
    per_try_timeout: Duration | None = None
    """Longest wait for the answer's headers of one attempt; by default the backend's timeouts.firstByte."""
    retry_on: Conditions = (
        RetryCondition.CONNECT_FAILURE,
        RetryCondition.RESET,
        RetryCondition.SERVER_ERROR,
        RetryCondition.TOO_MANY_REQUESTS,
        RetryCondition.PER_TRY_TIMEOUT,
    )
    """What counts as a failure: ConnectFailure, Reset, 5xx, 429, PerTryTimeout, 401, 403, and ContextLength
    (the backend says that the prompt is too long for its model). By default the first five."""
    stream: StreamGuard | None = None
    """How streamed answers are watched; absent: until the first byte only."""
