"""Commands of `moltbot` that tell about files, or see and steer what is in a cluster, one a file."""

import typer

from moltbot_operator.commands.check import check
from moltbot_operator.commands.convert import convert
from moltbot_operator.commands.dashboard import dashboard
from moltbot_operator.commands.drill import drill
from moltbot_operator.commands.explain import explain
from moltbot_operator.commands.plan import plan
from moltbot_operator.commands.rollout import app as rollout
from moltbot_operator.commands.wait import wait

__all__ = ["add_commands"]


def add_commands(app: typer.Typer) -> None:
    """Registers them."""
    for command in (check, convert, dashboard, drill, explain, plan, wait):
        app.command()(command)
    app.add_typer(rollout, name="rollout")
