"""What holds for each command: help for every option, wrong usage is 2, no traceback."""

import click
import pytest
import typer

from moltbot_operator import cli

ROOT = typer.main.get_command(cli.app)


def commands(group=ROOT, path=()):
    for name, command in sorted(group.commands.items()):
        if isinstance(command, click.Group) or hasattr(command, "commands"):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name), command


EACH = list(commands())
IDS = [" ".join(path) for path, _ in EACH]


@pytest.mark.parametrize(("path", "command"), EACH, ids=IDS)
def test_help_says_what_it_does_and_what_each_option_is(moltbot, path, command):
    code, out, err = moltbot(*path, "--help")
    assert (code, err) == (0, "")
    assert (command.help or "").strip()
    for parameter in command.params:
        assert parameter.help, f"{' '.join(path)} {parameter.name} has no help"
        if parameter.param_type_name == "option":
            assert parameter.opts[0] in out


@pytest.mark.parametrize("path", [path for path, _ in EACH], ids=IDS)
def test_an_option_that_there_is_not_is_wrong_usage(moltbot, path):
    code, _, err = moltbot(*path, "--no-such-option")
    assert code == 2
    assert err


def test_the_list_of_commands_tells_each_in_a_line(moltbot):
    code, out, _ = moltbot("--help")
    assert code == 0
    assert {path[0] for path, _ in EACH} <= set(out.split())
    assert "--install-completion" in out


@pytest.mark.parametrize("command", ["check", "convert", "dashboard", "drill", "explain", "plan"])
def test_exit_codes_are_in_the_help(moltbot, command):
    assert "Exit codes:" in moltbot(command, "--help")[1]
