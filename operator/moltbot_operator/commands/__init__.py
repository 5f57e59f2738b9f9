"""Commands of `moltbot` that tell about files, one a file."""

import typer

from moltbot_operator.commands.check import check
from moltbot_operator.commands.convert import convert
from moltbot_operator.commands.dashboard import dashboard
from moltbot_operator.commands.drill import drill
from moltbot_operator.commands.explain import explain
from moltbot_operator.commands.plan import plan

__all__ = ["add_commands"]


def add_commands(app: typer.Typer) -> None:
    """Registers them."""
    for command in (check, convert, dashboard, drill, explain, plan):
        app.command()(command)
