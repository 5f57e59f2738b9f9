"""The live view: who serves, how fast, and what goes wrong; drawn again each second."""

import asyncio
import contextlib
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from moltbot_operator.serve.front import scrape
from moltbot_operator.serve.server import Server
from moltbot_operator.serve.words import Words

if TYPE_CHECKING:
    from moltbot_operator.rotation.state import State

__all__ = ["Figures", "figures", "screen", "watch", "worker_line"]

PERIOD: Final = timedelta(seconds=1)

_SAMPLE: Final = re.compile(r"^(?P<name>[a-z_]+)(?:\{(?P<labels>.*)\})? (?P<value>\S+)$", re.MULTILINE)
_LABEL: Final = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


@dataclass
class Backend:
    """One backend's figures: totals since the start of its revision, or as they are now."""

    attempts: float = 0
    failed: float = 0
    """Attempts without a good answer: none, 4xx or 5xx."""
    seconds: float = 0
    """Sum of the times to the first byte of `answered` attempts."""
    answered: float = 0
    in_flight: float = 0
    ejected: bool = False
    credential: str = ""


@dataclass
class Working:
    """The worker's figures (docs/workers.md)."""

    requests: float = 0
    in_flight: float = 0
    hits: float = 0
    coalesced: float = 0
    waiting: float = 0
    """Jobs that wait or run."""


@dataclass
class Figures:
    """What one scrape says."""

    requests: float = 0
    errors: float = 0
    """5xx answers to clients."""
    in_flight: float = 0
    backends: dict[str, Backend] = field(default_factory=lambda: defaultdict(Backend))
    worker: Working | None = None
    """None where there is none, or it is away."""


def figures(text: str) -> Figures:
    """Read the expositions of the agent (moltbot_agent.metrics) and of the worker."""
    found = Figures()
    for name, labels, value in _samples(text):
        backend = labels.get("backend")
        if name == "moltbot_requests_total":
            found.requests += value
            found.errors += value if labels["code"] == "5xx" else 0
        elif name == "moltbot_requests_in_flight":
            found.in_flight = value
        elif name.startswith("moltbot_worker_"):
            found.worker = found.worker or Working()
            _add_worker(found.worker, name, labels, value)
        elif backend is not None:
            _add(found.backends[backend], name, labels, value)
    return found


def _add(backend: Backend, name: str, labels: Mapping[str, str], value: float) -> None:
    match name:
        case "moltbot_attempts_total":
            backend.attempts += value
            backend.failed += value if labels["code"] in {"4xx", "5xx", "none"} else 0
        case "moltbot_model_load_latency_seconds_sum":
            backend.seconds = value
        case "moltbot_model_load_latency_seconds_count":
            backend.answered = value
        case "moltbot_concurrent_requests":
            backend.in_flight = value
        case "moltbot_backend_ejected":
            backend.ejected = value > 0
        case "moltbot_agent_credential_present":
            backend.credential = "present" if value else "missing"
        case "moltbot_agent_credential_expiry_seconds":
            backend.credential = f"token, {timedelta(seconds=int(value))} left"


def _add_worker(worker: Working, name: str, labels: Mapping[str, str], value: float) -> None:
    match name:
        case "moltbot_worker_requests_total":
            worker.requests += value
        case "moltbot_worker_in_flight":
            worker.in_flight = value
        case "moltbot_worker_cache_total" if labels["result"] in {"hit", "stale"}:
            worker.hits += value
        case "moltbot_worker_coalesced_total":
            worker.coalesced += value
        case "moltbot_worker_queue_depth":
            worker.waiting += value


def _samples(text: str) -> Iterator[tuple[str, dict[str, str], float]]:
    for found in _SAMPLE.finditer(text):
        with contextlib.suppress(ValueError):
            yield found["name"], dict(_LABEL.findall(found["labels"] or "")), float(found["value"])


def screen(server: Server, now: Figures, before: Figures, elapsed: float, said: list[str]) -> RenderableType:
    """Everything that is shown; rates are over `elapsed` seconds since `before`."""
    compiled = server.active.gateway.compiled
    head = Text.assemble(
        (f"{compiled.agent.namespace}/{compiled.agent.route}", "bold"),
        f"  revision {server.active.identity.revision}  {server.url}/v1  "
        f"metrics 127.0.0.1:{server.options.metrics_port}",
    )
    if server.draining:
        head.append(f"  {server.draining} draining", "yellow")
    rate = max(0.0, now.requests - before.requests) / elapsed
    errors = max(0.0, now.errors - before.errors) / elapsed
    line = Text.assemble(
        f"{rate:8.1f} requests/s  {now.in_flight:5.0f} in flight  ",
        (f"{errors:6.1f} errors/s", "red" if errors else "dim"),
        f"  {now.requests:,.0f} in all",
    )
    table = Table("backend", "attempts/s", "failed/s", "first byte", "in flight", "circuit", "credential")
    for name, backend in sorted(now.backends.items()):
        table.add_row(*_row(name, backend, before.backends.get(name, Backend()), elapsed))
    parts: list[RenderableType] = [head, line, table]
    if (worker := server.active.gateway.worker) is not None:
        parts.append(worker_line(now.worker, before.worker, worker.ends, elapsed))
    rotations = [] if server.rotations is None else server.rotations.all
    parts += [_rotation(each.subject.label, each.store.state) for each in rotations]
    if server.failure is not None:
        parts.append(Text(f"not taken over: {server.failure}", "red"))
    parts += [Text(each, "dim", no_wrap=False) for each in said[-5:]]
    return Group(*parts)


def _row(name: str, now: Backend, before: Backend, elapsed: float) -> list[RenderableType]:
    answered = now.answered - before.answered
    latency = f"{(now.seconds - before.seconds) / answered * 1000:.0f} ms" if answered > 0 else "-"
    failed = max(0.0, now.failed - before.failed) / elapsed
    return [
        name,
        f"{max(0.0, now.attempts - before.attempts) / elapsed:.1f}",
        Text(f"{failed:.1f}", "red" if failed else "dim"),
        latency,
        f"{now.in_flight:.0f}",
        Text("open", "red") if now.ejected else Text("closed", "dim"),
        now.credential or "-",
    ]


def worker_line(now: "Working | None", before: "Working | None", ends: int, elapsed: float) -> Text:
    """The line of the worker: what it does, or that it is away."""
    text = Text("worker: ")
    if now is None:
        text.append("away, requests go on without it", "yellow")
    else:
        past = before or now
        rate = max(0.0, now.requests - past.requests) / elapsed
        text.append(
            f"{rate:.1f} requests/s  {now.in_flight:.0f} in flight  {now.hits:,.0f} kept answers given  "
            f"{now.coalesced:,.0f} calls shared  {now.waiting:.0f} jobs"
        )
    if ends:
        text.append(f"  ended {ends} times", "yellow")
    return text


def _rotation(label: str, state: "State") -> Text:
    due = "" if state.due is None else f", next {state.due:%Y-%m-%d %H:%M} UTC"
    text = Text(f"{label}: {state.version or 'none yet'}, {state.phase}{due}")
    if state.message:
        text.append(f"  {state.message}", "yellow" if state.attempts else "dim")
    return text


async def watch(server: Server, words: Words, console: Console | None = None) -> None:
    """Show it until cancelled."""
    clock = asyncio.get_running_loop().time
    words.quiet = True
    before, revision, then = Figures(), "", clock()
    try:
        with Live(console=console or Console(stderr=True), auto_refresh=False, screen=False) as live:
            while True:
                text = await scrape(server)
                worker = server.active.gateway.worker
                more = None if worker is None else await asyncio.to_thread(worker.metrics)
                now, moment = figures(f"{text or ''}\n{more or ''}"), clock()
                if revision != server.active.identity.revision:  # its counters begin at 0
                    before, revision = Figures() if revision else now, server.active.identity.revision
                live.update(screen(server, now, before, max(moment - then, 0.001), words.last), refresh=True)
                before, then = now, moment
                await asyncio.sleep(PERIOD.total_seconds())
    finally:
        words.quiet = False
