"""What comes of a request when backends fail: the attempts that are made, and the answer at last.

The same decisions as Envoy makes by the expressions of `compile/envoy/retry.py`; docs/failover.md says why.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum
from typing import Final

from moltbot_operator.api import RetryCondition
from moltbot_operator.compile.ir import Chain, Retry

__all__ = ["Course", "Fault", "course"]

_CODES: Final = {
    RetryCondition.TOO_MANY_REQUESTS: range(429, 430),
    RetryCondition.SERVER_ERROR: range(500, 600),
    RetryCondition.UNAUTHORIZED: range(401, 402),
    RetryCondition.FORBIDDEN: range(403, 404),
}
_PASSING: Final = {RetryCondition.SERVER_ERROR, RetryCondition.TOO_MANY_REQUESTS}
_RESETS: Final = {RetryCondition.RESET, RetryCondition.SERVER_ERROR, RetryCondition.PER_TRY_TIMEOUT}
"""Any of these makes Envoy try again after a first attempt without an answer, whatever became of it."""


class Fault(Enum):
    """What is wrong with a backend: the words, the status that comes of it, and `Retry-After` in seconds."""

    REFUSED = ("connection refused", 503, None)
    RESET = ("connection lost before the answer", 503, None)
    SILENT = ("silence", 504, None)
    STATUS_429 = ("429", 429, None)
    STATUS_429_LONG = ("429, Retry-After: 3600", 429, 3600)
    STATUS_500 = ("500", 500, None)
    STATUS_503 = ("503", 503, None)
    STATUS_401 = ("401", 401, None)
    STATUS_403 = ("403", 403, None)
    OVERLONG = ("prompt too long", 400, None)

    def __init__(self, words: str, status: int, retry_after: int | None) -> None:
        self.words = words
        self.status = status
        self.retry_after = retry_after

    @property
    def unanswered(self) -> bool:
        """Whether the backend gives no answer at all."""
        return self in {Fault.REFUSED, Fault.RESET, Fault.SILENT}


_INNER: Final = {
    Fault.REFUSED: {RetryCondition.CONNECT_FAILURE, RetryCondition.SERVER_ERROR},
    Fault.RESET: {RetryCondition.RESET, RetryCondition.SERVER_ERROR},
    Fault.SILENT: {RetryCondition.PER_TRY_TIMEOUT, RetryCondition.SERVER_ERROR},
}


@dataclass(frozen=True)
class Course:
    """Backends that are asked in turn, and the status that the client gets."""

    tries: tuple[str, ...]
    status: int

    @property
    def served(self) -> bool:
        """Whether a backend answered well at last."""
        return self.status == 200  # noqa: PLR2004 - what a backend without a fault answers


def course(
    chain: Chain, retry: Retry, faults: Mapping[str, Fault], *, unreadable: int | None = None
) -> Course:
    """What comes of a request along a chain, with faults by the backends' labels; the others answer 200.

    `unreadable`: the status with which the request's body is refused where a model must be written into it.
    """
    tries, status = [], 200
    for number in range(chain.attempts):
        backend = chain.backends[min(number, len(chain.backends) - 1)]
        tries.append(backend.label)
        inner = not _straight(chain, number)
        if unreadable is not None and inner and backend.model is not None:
            return Course(tuple(tries), unreadable)
        fault = faults.get(backend.label)
        if fault is None:
            return Course(tuple(tries), 200)
        status = fault.status
        if number + 1 == chain.attempts or not _further(chain, retry, number, fault):
            break
    return Course(tuple(tries), status)


def _further(chain: Chain, retry: Retry, number: int, fault: Fault) -> bool:
    """Whether there is another attempt after the one of this number, counted from 0, has failed so."""
    on = retry.on if retry.retries else frozenset()
    same = number + 1 >= len(chain.backends)
    if fault is Fault.OVERLONG:
        return chain.overlong and RetryCondition.CONTEXT_LENGTH in on and not same
    if not fault.unanswered:
        return _after_answer(on, retry.maximum, fault, same=same)
    if _straight(chain, number):
        connect = fault is Fault.REFUSED and RetryCondition.CONNECT_FAILURE in on
        return connect or bool(on & _RESETS)
    if fault is Fault.SILENT:
        backend = chain.backends[min(number, len(chain.backends) - 1)]
        outside = not same and chain.wait <= backend.first_byte  # the inner tier has no time to say it
        return bool(on & (_RESETS if outside else _INNER[fault])) and not same
    return bool(on & _INNER[fault])


def _straight(chain: Chain, number: int) -> bool:
    """Whether the attempt of this number goes to its backend by no inner tier."""
    return chain.direct and (number == 0 or len(chain.backends) == 1)


def _after_answer(on: frozenset[RetryCondition], longest: timedelta, fault: Fault, *, same: bool) -> bool:
    meant = {each for each in on if fault.status in _CODES.get(each, ())}
    if not same:
        return bool(meant)
    waits = fault.retry_after is None or fault.retry_after <= longest // timedelta(seconds=1)
    return bool(meant & _PASSING) and waits
