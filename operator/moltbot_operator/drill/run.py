"""Runs a drill: a real gateway here, one backend that fails in one way after the other, requests."""

import asyncio
import contextlib
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final

import httpx

from moltbot_operator.compare.samples import samples
from moltbot_operator.compile import BackendRef, Files
from moltbot_operator.compile.ir import Gateway as Planned
from moltbot_operator.compile.plan import plan
from moltbot_operator.drill.rehearsal import rehearse
from moltbot_operator.drill.simulated import Simulated
from moltbot_operator.explain import Fault, Request, course, explain
from moltbot_operator.serve import Gateway, gateway
from moltbot_operator.serve.files import Manifests

__all__ = ["FAULTS", "Result", "Trial", "drill"]

FAULTS: Final = {
    "refuse": Fault.REFUSED,
    "reset": Fault.RESET,
    "hang": Fault.SILENT,
    "429": Fault.STATUS_429,
    "500": Fault.STATUS_500,
    "503": Fault.STATUS_503,
    "401": Fault.STATUS_401,
    "403": Fault.STATUS_403,
}
"""By their names on the command line."""

_PATIENCE: Final = timedelta(minutes=5)
"""For one answer: real backends may be slow, and attempts add up."""


@dataclass(frozen=True)
class Trial:
    """One request to a rule while the backend failed in one way."""

    rule: str
    fault: str
    status: int
    backend: str | None
    attempts: int
    milliseconds: int
    expected: int
    """The status that the compiled rule means the client to get."""

    def fired(self, ref: str) -> bool:
        """Whether another backend served the request."""
        return self.status < 400 and self.backend not in {None, ref}  # noqa: PLR2004 - HTTP's errors


@dataclass(frozen=True)
class Result:
    """What came of a drill."""

    route: str
    backend: str
    trials: tuple[Trial, ...]
    fallbacks: tuple[str, ...]
    """Rules that have the backend as a fallback only: nothing fails over from it there."""
    unreached: tuple[str, ...]
    """Rules that no request was found for."""


def drill(
    manifests: Manifests, route: str | None, backend: str, faults: Sequence[str], *, real: bool
) -> Result:
    """Every fault at every rule that draws the backend. InvalidInput, EnvoyRejected."""
    return asyncio.run(_drill(manifests, route, backend, faults, real=real))


async def _drill(
    manifests: Manifests, route: str | None, backend: str, faults: Sequence[str], *, real: bool
) -> Result:
    rehearsal = rehearse(manifests, route, backend, real=real)
    namespace, chosen = rehearsal.manifests.chosen(None)
    ref = BackendRef.parse(backend, namespace)
    async with contextlib.AsyncExitStack() as stack:
        simulated = {
            each: await stack.enter_async_context(Simulated(str(each)))
            for each in rehearsal.manifests.backends
            if each == ref or not real
        }
        endpoints = {str(each): server.url for each, server in simulated.items()}
        sources = rehearsal.manifests.sources(None, endpoints, Files(loopback=True))
        planned = plan(sources).gateway
        asked = {name: _request(planned, name) for name in rehearsal.rules}
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="moltbot-drill-"))
        running = await stack.enter_async_context(
            gateway(
                rehearsal.manifests, endpoints=endpoints, access_log=Path(folder, "access.log"), concurrency=1
            )
        )
        trials = []
        for fault in faults:
            await simulated[ref].fail(FAULTS[fault])
            for name, request in asked.items():
                if request is not None:
                    trials.append(await _try(running, planned, name, fault, request, ref))
    unreached = tuple(name for name, request in asked.items() if request is None)
    return Result(
        f"{namespace}/{chosen.metadata.name}", str(ref), tuple(trials), rehearsal.fallbacks, unreached
    )


def _request(planned: Planned, rule: str) -> Request | None:
    """A request that the rule takes."""
    for request in samples((planned,)):
        found = explain(planned, request)
        if request.method == "POST" and found.answered is None and found.rule and found.rule.name == rule:
            return request
    return None


async def _try(  # noqa: PLR0917 - all are of one trial
    running: Gateway, planned: Planned, rule: str, fault: str, request: Request, ref: BackendRef
) -> Trial:
    found = explain(planned, request)
    label = next(each.label for each in planned.backends.values() if each.ref == ref)
    retry = next(each.retry for each in planned.rules if each.name == rule)
    came = course(found.options[0].choice.chain, retry, {label: FAULTS[fault]})
    loop = asyncio.get_running_loop()
    began = loop.time()
    async with httpx.AsyncClient(base_url=running.url, timeout=_PATIENCE.total_seconds()) as client:
        headers = {**request.headers, "content-type": "application/json"}
        answer = await client.request(request.method, request.path, content=request.body, headers=headers)
    served = answer.headers.get("x-moltbot-backend")
    return Trial(
        rule,
        fault,
        answer.status_code,
        None if served is None else str(BackendRef.parse(served, planned.namespace)),
        int(answer.headers.get("x-moltbot-attempts", 0)),
        round((loop.time() - began) * 1000),
        came.status,
    )
