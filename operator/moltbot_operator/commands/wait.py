"""`moltbot wait`: a verdict on a route or backend as an exit code and a report, for pipelines."""

import asyncio
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from moltbot_operator.commands.connect import cluster, find, namespace_of
from moltbot_operator.errors import ClusterError, InvalidInput

if TYPE_CHECKING:
    from moltbot_operator.commands.verdict_report import Format, Waiting

__all__ = ["CODES", "wait"]

CODES: Final = {"Done": 0, "Failed": 1, "Paused": 3, "Waiting": 124}
"""Exit codes by what was seen last; 124 as of timeout(1). 2 is wrong usage."""

PAUSE: Final = timedelta(seconds=1)
"""Between two looks."""


def wait(  # noqa: PLR0917 - typer's options
    object_: Annotated[str, typer.Argument(metavar="NAME", help="route/NAME, backend/NAME, or NAME.")],
    wanted: Annotated[
        str, typer.Option("--for", metavar="CONDITION", help="Condition that must be True.")
    ] = "Ready",
    timeout: Annotated[str, typer.Option(help="Longest wait, such as 90s or 10m.")] = "10m",
    report: Annotated[
        str | None, typer.Option(metavar="json|junit|markdown", help="Write a report in this form.")
    ] = None,
    output: Annotated[
        str, typer.Option("--output", "-o", metavar="FILE|-", help="Where to; - for standard output.")
    ] = "-",
    namespace: Annotated[
        str | None, typer.Option("--namespace", "-n", help="Default: the current context's.")
    ] = None,
) -> None:
    """Wait until a route or backend is Ready with its present spec, and its rollout is over.

    Exit code: 0 done; 1 failed or rolled back; 3 the rollout is paused and asks for somebody; 124 too late.
    """
    from moltbot_operator.api.duration import parse_duration  # noqa: PLC0415 - commands start faster
    from moltbot_operator.commands.verdict_report import written  # noqa: PLC0415

    if report not in {None, "json", "junit", "markdown"}:
        raise typer.BadParameter(f"{report!r} is not json, junit or markdown", param_hint="--report")
    try:
        limit = parse_duration(timeout)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--timeout") from None
    waiting = asyncio.run(_wait(namespace_of(namespace), object_, wanted, limit))
    if report is not None:
        form: Format = report  # type: ignore[assignment]  # checked above
        _write(written(waiting, form), output)
    typer.echo(f"{waiting.kind} {waiting.namespace}/{waiting.name}: {waiting.result}", err=True)
    typer.echo(waiting.waited.message, err=True)
    raise typer.Exit(CODES[str(waiting.waited.outcome)])


async def _wait(namespace: str, given: str, wanted: str, limit: timedelta) -> "Waiting":
    from moltbot_operator.commands.verdict_report import Waiting  # noqa: PLC0415 - as above
    from moltbot_operator.conditions.verdict import Outcome, Waited, conclude  # noqa: PLC0415

    began, shown = time.monotonic(), ""
    async with cluster() as client:
        while True:
            kind, name, manifest = None, given, None
            try:
                kind, name, manifest = await find(client, namespace, given)
                missing = Waited(Outcome.WAITING, "It does not exist.")
                waited = conclude(manifest, wanted) if manifest is not None else missing
            except ClusterError as error:
                if error.status in {401, 403}:
                    raise
                waited = Waited(Outcome.WAITING, str(error))  # a server that restarts is no verdict
            if waited.message != shown:
                shown = waited.message
                typer.echo(f"{time.monotonic() - began:5.0f} s  {shown}", err=True)
            passed = time.monotonic() - began
            over = waited.outcome is not Outcome.WAITING
            if over or passed + PAUSE.total_seconds() > limit.total_seconds():
                shown_kind = str(kind) if kind else "object"
                return Waiting(shown_kind, namespace, name, wanted, waited, not over, passed, manifest or {})
            await asyncio.sleep(PAUSE.total_seconds())


def _write(text: str, output: str) -> None:
    if output == "-":
        sys.stdout.write(text)
        return
    try:
        Path(output).write_text(text, encoding="utf-8")
    except OSError as error:
        raise InvalidInput(f"{output}: can't be written: {error.strerror}; give another file") from error
