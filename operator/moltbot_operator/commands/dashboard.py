"""`moltbot dashboard`: the Grafana dashboard."""

import json
from pathlib import Path
from typing import Annotated

import typer

from moltbot_operator.errors import InvalidInput

__all__ = ["dashboard"]


def dashboard(
    output: Annotated[
        str, typer.Option("--output", "-o", metavar="FILE|-", help="File to write, or - to print.")
    ] = "-",
    title: Annotated[str, typer.Option(help="The dashboard's title.")] = "MoltBot",
) -> None:
    """Write the Grafana dashboard of gateways and operator, as JSON for Grafana's import.

    The chart ships the same one: metrics.dashboard.enabled.
    Exit codes: 0 written, 1 the file can't be written, 2 wrong usage.
    """
    from moltbot_operator.dashboard import dashboard as made  # noqa: PLC0415 - the other commands start faster

    text = json.dumps(made(title), indent=2, ensure_ascii=False) + "\n"
    if output == "-":
        typer.echo(text, nl=False)
        return
    try:
        Path(output).write_text(text, encoding="utf-8")
    except OSError as error:
        raise InvalidInput(
            f"{output}: can't be written: {error.strerror}; give another file with -o"
        ) from error
