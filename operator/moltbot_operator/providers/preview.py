"""Tests of a revision before users see it: requests at its pods under the operator's own identity.

They go to the listener for test requests (compile/envoy/listeners.py, probe_listener), which leads the same
ways as the public one. A pod that can't be reached, or does not know the key, is nobody's verdict
(EffectError); whatever a pod answers, or that it keeps silent, is one.
"""

import asyncio
import itertools
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from moltbot_agent.attempts import BUCKETS_MS, well_answered
from moltbot_operator.api import Testing, TestRequest
from moltbot_operator.compile.drill import DRILL_HEADER, LIST
from moltbot_operator.compile.workloads import probe_key
from moltbot_operator.constants import PORT_PROBE
from moltbot_operator.objectives.counts import Counts
from moltbot_operator.providers.gates import told
from moltbot_operator.providers.outbound import Address, Answer, Outbound, Unanswered, Unreached
from moltbot_operator.rollout.ports import EffectError, Target, TestOutcome

__all__ = ["PreviewTester"]

TIMEOUT: Final = timedelta(seconds=60)
"""Limit of one test request, and so the longest silence of a model that passes."""

LARGEST: Final = 1024 * 1024
"""Bytes of an answer that are looked into."""

AT_ONCE: Final = 4
"""Test requests at a time while samples are taken."""

_BACKEND: Final = "x-moltbot-backend"


@dataclass(frozen=True)
class _Result:
    """One line of the outcome; `failure`: what was expected and did not come, empty if it did."""

    line: str
    failure: str = ""


class PreviewTester:
    """Implements Tester."""

    def __init__(self, outbound: Outbound, *, port: int = PORT_PROBE, timeout: timedelta = TIMEOUT) -> None:
        self._outbound = outbound
        self._port = port
        self._timeout = timeout

    async def test(self, target: Target, testing: Testing, effect: str) -> TestOutcome:  # noqa: ARG002
        """Every request at every pod, in order, then the drill; also what comes after a failure is tried."""
        pods = _pods(target)
        results = [await self._request(target, pod, each) for each in testing.requests for pod in pods]
        if testing.fault_drill:
            results += await self._drill(target, pods[0])
        failures = [each.failure for each in results if each.failure]
        figures = tuple(each.line for each in results)
        if not failures:
            return TestOutcome(True, f"{len(results)} tests passed", figures)
        more = f" (and {len(failures) - 1} more of {len(results)} tests failed)" if len(failures) > 1 else ""
        return TestOutcome(False, f"{failures[0]}{more}", figures)

    async def probe(self, target: Target, testing: Testing, samples: int, effect: str) -> Counts:  # noqa: ARG002
        """`testing.requests` in turn over all pods, a few at a time, until so many ended."""
        if not testing.requests:
            raise EffectError("there are no testing.requests to take samples with")
        turns = itertools.cycle([(each, pod) for each in testing.requests for pod in _pods(target)])
        every = [next(turns) for _ in range(samples)]
        slots = asyncio.Semaphore(AT_ONCE)

        async def one(request: TestRequest, pod: str) -> Counts:
            async with slots:
                try:
                    answer = await self._send(target, pod, request)
                except Unanswered:
                    return Counts(ended=1, unanswered=1)
                return Counts(1, int(not _missing(request, answer)), buckets=_bucket(answer.seconds))

        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(one(*turn)) for turn in every]
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from None
        return sum((task.result() for task in tasks), Counts())

    async def _request(self, target: Target, pod: str, request: TestRequest) -> _Result:
        what = f"{_method(request)} {request.path} at {pod}"
        try:
            answer = await self._send(target, pod, request)
        except Unreached:
            raise
        except Unanswered as error:
            return _Result(f"{what}: no answer", f"{what}: {error}")
        line = f"{what}: {_said(answer)}"
        missing = _missing(request, answer)
        return _Result(line, f"{line}; {missing}" if missing else "")

    async def _send(self, target: Target, pod: str, request: TestRequest) -> Answer:
        content = None if request.body is None else request.body.encode()
        return await self._ask(target, pod, _method(request), request.path, content)

    async def _drill(self, target: Target, pod: str) -> list[_Result]:
        listed = await self._ask(target, pod, "GET", "/", drill=LIST)
        drills = _drills(listed)
        if not drills:
            return [_Result("fault drill: no rule has another backend to fall back on")]
        return [await self._cut(target, pod, each) for each in drills]

    async def _cut(self, target: Target, pod: str, drill: dict[str, Any]) -> _Result:
        """One drill: who serves while these backends can't be connected to."""
        what = f"fault drill: rule {drill['rule']} without {' and '.join(drill['cut'])}"
        path = "/v1/embeddings" if drill["embeds"] else "/v1/chat/completions"
        asked: dict[str, Any] = {"model": drill["model"]}
        if drill["embeds"]:
            asked["input"] = "ping"
        else:
            asked |= {"messages": [{"role": "user", "content": "ping"}], "max_tokens": 1}
        content = json.dumps(asked).encode()
        try:
            answer = await self._ask(target, pod, "POST", path, content, drill=drill["key"])
        except Unreached:
            raise
        except Unanswered as error:
            return _Result(f"{what}: no answer", f"{what}: {error}")
        server = answer.headers.get(_BACKEND, "")
        line = f"{what}: {_said(answer)}"
        if server in drill["left"] and well_answered(str(answer.status)):
            return _Result(line)
        wanted = " or ".join(drill["left"])
        return _Result(line, f"{line}; {wanted} should have served: {told(answer) or 'look at failover'}")

    async def _ask(  # noqa: PLR0917
        self, target: Target, pod: str, method: str, path: str, content: bytes | None = None, drill: str = ""
    ) -> Answer:
        host = f"[{pod}]" if ":" in pod else pod
        address = Address(f"http://{host}:{self._port}{path}", f"pod {pod}", probe_key(target.token))
        headers = {} if content is None else {"content-type": "application/json"}
        if drill:
            headers[DRILL_HEADER] = drill
        answer = await self._outbound.send(
            method, address, timeout=self._timeout, headers=headers, content=content, most=LARGEST
        )
        if answer.status == 401 and _BACKEND not in answer.headers:  # noqa: PLR2004 - Unauthorized
            raise EffectError(f"pod {pod} does not know the key of test requests (yet)")
        return answer


def _pods(target: Target) -> Sequence[str]:
    if not target.pods:
        raise EffectError(f"revision {target.revision} has no ready pod to test")
    return target.pods


def _method(request: TestRequest) -> str:
    return "GET" if request.body is None else "POST"


def _said(answer: Answer) -> str:
    server = answer.headers.get(_BACKEND)
    by = f" from {server}" if server else ""
    return f"{answer.status}{by} in {answer.seconds * 1000:.0f} ms"


def _missing(request: TestRequest, answer: Answer) -> str:
    """What was expected of the answer and did not come; empty if it did."""
    expected = request.expect
    if answer.status != expected.status:
        because = f": {said}" if (said := told(answer)) else ""
        return f"{expected.status} was expected{because}"
    if expected.contains is not None and expected.contains.encode() not in answer.body:
        return f"the body does not contain {expected.contains!r}"
    return ""


def _drills(listed: Answer) -> list[dict[str, Any]]:
    if listed.headers.get(DRILL_HEADER) != LIST:
        raise EffectError("the revision was compiled without drills")
    found: list[dict[str, Any]] = json.loads(listed.body)["drills"]
    return found


def _bucket(seconds: float) -> tuple[tuple[float, int], ...]:
    bounds = [bound / 1000 for bound in BUCKETS_MS]
    return (*((bound, int(seconds <= bound)) for bound in bounds), (math.inf, 1))
