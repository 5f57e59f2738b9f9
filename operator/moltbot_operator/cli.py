"""The `moltbot` command. Exit codes: 0 done, 1 failed (one line says why), 2 wrong usage."""

import asyncio
import json
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from moltbot_operator import rotation_cli
from moltbot_operator.commands import add_commands
from moltbot_operator.errors import InvalidInput, MoltBotError
from moltbot_operator.service.commands import app as service_app
from moltbot_operator.settings import Settings, product_version

__all__ = ["app", "main"]

app = typer.Typer(
    name="moltbot",
    help="One governed door to many language models, on Kubernetes or on one machine.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

app.add_typer(rotation_cli.app, name="rotation")
app.add_typer(service_app)

_STDIO = "-"


@app.command()
def operator(
    namespaces: Annotated[
        list[str] | None,
        typer.Option("--namespace", "-n", help="Watch only this namespace; may be given several times."),
    ] = None,
    log_level: Annotated[str | None, typer.Option(help="debug, info, warning or error.")] = None,
) -> None:
    """Run the operator: in a pod by its service account, elsewhere by KUBECONFIG.

    All settings are MOLTBOT_* environment variables (see the docs); options here win over them.
    """
    from moltbot_operator.operator_process import run  # noqa: PLC0415 - the other commands start faster
    from moltbot_operator.telemetry import logging  # noqa: PLC0415
    from moltbot_operator.telemetry.crashes import leave_no_core  # noqa: PLC0415

    leave_no_core()
    given: dict[str, Any] = {"namespaces": tuple(namespaces) if namespaces else None, "log_level": log_level}
    settings = Settings.from_env(**{name: value for name, value in given.items() if value is not None})
    logging.configure(settings.log_level)
    raise typer.Exit(_event_loop()(run(settings)))


@app.command()
def serve(  # noqa: PLR0917 - typer's options
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE…", help="Manifests with a MoltBotRoute, or a models.config.json; files or folders."
        ),
    ],
    route: Annotated[
        str | None, typer.Option(metavar="NAME", help="Which MoltBotRoute, where the files have several.")
    ] = None,
    endpoint: Annotated[
        list[str] | None,
        typer.Option(metavar="BACKEND=URL", help="Where a backend is instead; may be given several times."),
    ] = None,
    address: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", "-p", min=0, max=65535, help="Port; 0: a free one.")] = 8080,
    keys: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Where managed signing keys are kept; default: the state folder."),
    ] = None,
    metrics_port: Annotated[
        int | None,
        typer.Option(
            min=0, max=65535, help="Port of /metrics on loopback; 0: a free one. [default: 9090 if free]"
        ),
    ] = None,
    concurrency: Annotated[int, typer.Option(min=0, max=1024, help="Envoy's threads; 0: one a CPU.")] = 0,
    state: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Where state is kept; default: ~/.local/state/moltbot/serve."),
    ] = None,
    view: Annotated[
        bool | None,
        typer.Option(
            "--view/--no-view", help="Show live figures, records to a file. [default: on a terminal]"
        ),
    ] = None,
    access_log: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Where records of calls go. [default: standard output]"),
    ] = None,
    watch: Annotated[bool, typer.Option("--watch/--no-watch", help="Take over changed files.")] = True,
) -> None:
    """Compile manifests and run the gateway here, in the foreground, without a cluster.

    A changed file is taken over without a failed request; one that can't be served changes nothing.
    """
    from moltbot_operator.serve import run  # noqa: PLC0415

    code = run(
        files,
        route=route,
        address=address,
        port=port,
        endpoints=dict(_pair(each) for each in endpoint or ()),
        keys=keys,
        metrics_port=metrics_port,
        concurrency=concurrency,
        state=state,
        access_log=access_log,
        view=view,
        watch=watch,
    )
    raise typer.Exit(code)


@app.command()
def audit(
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="Log of a gateway, or - for standard input.")
    ] = _STDIO,
) -> None:
    """Print each call of a gateway's log with its attempts, one JSON object a line.

    kubectl logs -l moltbot.io/route=assistant -c envoy --tail=-1 | moltbot audit
    """
    from moltbot_operator.audit import calls  # noqa: PLC0415

    lines = sys.stdin if file == _STDIO else _read(Path(file)).splitlines()
    for call in calls(lines):
        typer.echo(json.dumps(call))


add_commands(app)


@app.command()
def version() -> None:
    """Print the version."""
    typer.echo(product_version())


def main() -> None:
    """Entry point of the `moltbot` script."""
    try:
        app()
    except MoltBotError as error:
        Console(stderr=True, soft_wrap=True, highlight=False).print(f"[red]error:[/red] {escape(str(error))}")
        sys.exit(1)


def _event_loop() -> Callable[[Coroutine[Any, Any, int]], int]:
    if sys.platform == "win32":
        return asyncio.run
    import uvloop  # noqa: PLC0415 - not made for Windows

    return uvloop.run


def _pair(text: str) -> tuple[str, str]:
    name, equals, url = text.partition("=")
    if not (name and equals and url):
        raise typer.BadParameter(f"{text!r} is not BACKEND=URL", param_hint="--endpoint")
    return name, url


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{file}: can't be read: {error}") from error


if __name__ == "__main__":
    main()
