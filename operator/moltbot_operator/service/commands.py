"""The commands of `moltbot service`."""

import os
import pwd
import sys
from pathlib import Path
from typing import Annotated

import typer

from moltbot_operator.errors import InvalidInput

__all__ = ["app"]

app = typer.Typer(
    name="service",
    help="Keep moltbot serve running: a unit of systemd, or of launchd on macOS.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Name = Annotated[str, typer.Option(metavar="NAME", help="Name of the service.")]
System = Annotated[
    bool, typer.Option("--system/--user", help="For the machine (needs root), or for you alone.")
]


@app.command()
def install(  # noqa: PLR0917 - typer's options
    files: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="FILE…", help="Files or folders to serve. [default: ~/.config/moltbot, or /etc/moltbot]"
        ),
    ] = None,
    route: Annotated[str | None, typer.Option(metavar="NAME", help="As of moltbot serve.")] = None,
    endpoint: Annotated[
        list[str] | None, typer.Option(metavar="BACKEND=URL", help="As of moltbot serve.")
    ] = None,
    address: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", "-p", min=1, max=65535, help="Port to listen on.")] = 8080,
    metrics_port: Annotated[int, typer.Option(min=1, max=65535, help="Port of /metrics.")] = 9090,
    concurrency: Annotated[int, typer.Option(min=0, max=1024, help="Envoy's threads; 0: one a CPU.")] = 0,
    name: Name = "moltbot",
    system: System = False,
    run_as: Annotated[
        str, typer.Option(metavar="ACCOUNT", help="Whom a service of the machine runs as.")
    ] = "moltbot",
    show: Annotated[bool, typer.Option("--print", help="Print the unit and change nothing.")] = False,
    start: Annotated[bool, typer.Option("--start/--no-start", help="Start it, now and at boot.")] = True,
) -> None:
    """Register the service and start it; again to change it."""
    from moltbot_operator.service.registry import installed, place  # noqa: PLC0415
    from moltbot_operator.service.wanted import Service, config_folder  # noqa: PLC0415

    folder = config_folder(system=system, home=Path.home(), config_home=os.environ.get("XDG_CONFIG_HOME"))
    served = [file.absolute() for file in files or [folder]]
    options = [f"--address={address}", f"--port={port}", f"--metrics-port={metrics_port}", "--no-view"]
    options += [f"--concurrency={concurrency}"] if concurrency else []
    options += [f"--route={route}"] if route else []
    options += [f"--endpoint={each}" for each in endpoint or ()]
    command = (*_program(), "serve", *map(str, served), *options)
    service = Service(name, command, system, run_as if system else None, port)
    where = place(service, Path.home())
    if show:
        typer.echo(where.text, nl=False)
        return
    _check(served, folder, run_as if system else None)
    changed = installed(where, start=start)
    typer.echo(f"{where.file}: {'written' if changed else 'unchanged'}{', started' if start else ''}")
    typer.echo(f"base_url http://{address}:{port}/v1")
    typer.echo(f"undo it with: moltbot service uninstall{' --system' if system else ''} --name {name}")


@app.command()
def uninstall(name: Name = "moltbot", system: System = False) -> None:
    """Stop the service and remove it; files that it served stay."""
    from moltbot_operator.service.registry import place, remove  # noqa: PLC0415
    from moltbot_operator.service.wanted import Service  # noqa: PLC0415

    where = place(Service(name, (), system), Path.home())
    typer.echo(f"{where.file}: {'removed' if remove(where) else 'was not there'}")


@app.command()
def status(name: Name = "moltbot", system: System = False) -> None:
    """Say whether it runs: code 0 where it does, 1 where not."""
    from moltbot_operator.service.registry import place, running  # noqa: PLC0415
    from moltbot_operator.service.wanted import Service  # noqa: PLC0415

    where = place(Service(name, (), system), Path.home())
    word = "running" if running(where) else "not running" if where.file.exists() else "not installed"
    typer.echo(f"{where.file}: {word}")
    raise typer.Exit(0 if word == "running" else 1)


def _program() -> tuple[str, ...]:
    script = Path(sys.prefix) / "bin" / "moltbot"
    return (str(script),) if script.exists() else (sys.executable, "-m", "moltbot_operator.cli")


def _check(served: list[Path], folder: Path, account: str | None) -> None:
    """What would only fail later, and out of sight."""
    from moltbot_operator.serve.files import read  # noqa: PLC0415

    missing = next((file for file in served if not file.exists()), None)
    if missing is not None:
        hint = "put your manifests there, or name others" if missing == folder else "correct its name"
        raise InvalidInput(f"{missing}: there is no such file or folder: {hint}")
    read(served)
    if account is not None:
        try:
            pwd.getpwnam(account)
        except KeyError:
            raise InvalidInput(
                f"there is no account {account}: make one (useradd --system --no-create-home --shell "
                f"/usr/sbin/nologin {account}), or name another with --run-as"
            ) from None
