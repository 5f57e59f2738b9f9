"""`moltbot check`: are these files right?"""

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from moltbot_operator.commands.given import FileArguments, assumed, expanded

if TYPE_CHECKING:
    from moltbot_operator.compile import RouteSources
    from moltbot_operator.serve.files import Manifests

__all__ = ["check"]


class Report(StrEnum):
    """For whom."""

    TEXT = "text"
    JSON = "json"
    SARIF = "sarif"
    JUNIT = "junit"


def check(
    files: FileArguments,
    strict: Annotated[bool, typer.Option("--strict", help="Warnings count as errors.")] = False,
    envoy: Annotated[
        bool, typer.Option("--envoy/--no-envoy", help="Whether Envoy is asked if it takes the configuration.")
    ] = True,
    output: Annotated[
        Report,
        typer.Option("--output", "-o", help="text for people, json for programs, sarif or junit for CI."),
    ] = Report.TEXT,
) -> None:
    """Check files: schema, references, likely mistakes, and whether Envoy takes what they compile to.

    Secrets and ConfigMaps that are in none of the files are taken as present; objects of other projects are
    passed over. Exit codes: 0 nothing wrong, 1 errors (with --strict warnings too), 2 wrong usage.
    """
    from moltbot_operator import check as checking  # noqa: PLC0415 - the other commands start faster
    from moltbot_operator.check import formats  # noqa: PLC0415
    from moltbot_operator.settings import product_version  # noqa: PLC0415

    checked = checking.check(expanded(files), files, _sources, envoy=envoy)
    match output:
        case Report.TEXT:
            said = formats.as_text(checked.findings, checked.files)
        case Report.JSON:
            said = formats.as_json(checked.findings, checked.files)
        case Report.SARIF:
            said = formats.as_sarif(checked.findings, product_version())
        case Report.JUNIT:
            said = formats.as_junit(checked.findings, checked.files, strict=strict)
    typer.echo(said)
    if checking.failed(checked.findings, strict=strict):
        raise typer.Exit(1)


def _sources(manifests: "Manifests", route: str) -> "RouteSources":
    return assumed(manifests, route)[0]
