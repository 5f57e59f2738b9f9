"""The examples for pipelines and the page about them: they can be read, and what they run exists."""

import re
import shlex
from pathlib import Path

import click
import pytest
import typer
import yaml

from moltbot_operator.cli import app
from moltbot_operator.constants import API_VERSION

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / "examples" / "pipelines"
PAGES = [ROOT / "docs" / name for name in ("pipelines.md", "rollouts.md")]
FILES = sorted(FOLDER.glob("*.yaml"))


def commands(text):
    """Each call of `moltbot` in a text: after the start of a line, of code, or of a YAML item's command."""
    found = re.findall(r"(?:^|`|run: |- )\s*(moltbot (?:[^`\n]|\n(?!\n))*?)(?=`|\n|$)", text, re.MULTILINE)
    return [shlex.split(re.split(r" >>? | && ", each)[0], comments=True) for each in found]


EVERY = [(file.name, call) for file in (*FILES, *PAGES) for call in commands(file.read_text())]


def test_there_is_something_to_check():
    assert len(FILES) == 4
    assert len(EVERY) > 15
    assert {"github-actions.yaml", "gitlab-ci.yaml", "pipelines.md", "rollouts.md"} == {
        name for name, _ in EVERY
    }


@pytest.mark.parametrize(("where", "call"), EVERY, ids=[f"{name}: {' '.join(call)}" for name, call in EVERY])
def test_what_they_run_exists(where, call):
    command = typer.main.get_command(app)
    arguments = call[1:]
    while isinstance(command, typer.core.TyperGroup) and arguments:
        name = arguments.pop(0)
        assert name in command.commands, (where, name)
        command = command.commands[name]
    options = {option for parameter in command.params for option in parameter.opts}
    for argument in arguments:
        if argument.startswith("-") and argument != "-":
            assert argument.partition("=")[0] in options, (where, argument)


@pytest.mark.parametrize("name", ["github-actions.yaml", "gitlab-ci.yaml"])
def test_whole_calls_are_understood(name):
    for call in commands((FOLDER / name).read_text()):
        command, arguments = typer.main.get_command(app), call[1:]
        while isinstance(command, typer.core.TyperGroup):
            command = command.commands[arguments.pop(0)]
        try:
            command.make_context("moltbot", list(arguments))
        except click.exceptions.BadParameter as error:
            assert "does not exist" in str(error), call  # noqa: PT017 - the reader's own files


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_they_can_be_read(file):
    documents = list(yaml.safe_load_all(file.read_text()))
    assert all(isinstance(document, dict) for document in documents)


def test_github_runs_production_only_after_the_test_environment():
    workflow = yaml.safe_load((FOLDER / "github-actions.yaml").read_text())
    assert workflow["jobs"]["production"]["needs"] == "test"
    assert workflow["jobs"]["test"]["needs"] == "check"
    assert (
        "repository_dispatch" in workflow[True]
    )  # YAML 1.1 takes `on` for true, and so does GitHub's own parser not


def test_gitlab_takes_a_paused_rollout_for_no_failure():
    jobs = yaml.safe_load((FOLDER / "gitlab-ci.yaml").read_text())
    assert jobs["stages"] == ["check", "test", "production"]
    assert jobs["production"]["allow_failure"] == {"exit_codes": [3]}


def test_flux_waits_for_our_kind():
    kinds = {each["kind"]: each for each in yaml.safe_load_all((FOLDER / "flux.yaml").read_text())}
    (check,) = kinds["Kustomization"]["spec"]["healthChecks"]
    assert (check["apiVersion"], check["kind"]) == (API_VERSION, "MoltBotRoute")
    assert kinds["Kustomization"]["spec"]["sourceRef"]["name"] == kinds["GitRepository"]["metadata"]["name"]


def test_the_function_that_verifies_signatures_takes_ours_and_no_other():
    from datetime import UTC, datetime

    from moltbot_operator.providers.notifications import signature

    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "pipelines.md").read_text(), re.DOTALL)
    scope = {}
    exec(code, scope)  # noqa: S102 - the page's own text
    now = datetime.now(UTC).timestamp()
    stamp = str(int(now))
    headers = {"webhook-id": "n-1", "webhook-timestamp": stamp}
    signed = {**headers, "webhook-signature": signature("key", "n-1", stamp, b"body")}
    assert scope["genuine"](b"key", signed, b"body", now)
    assert not scope["genuine"](b"key", signed, b"another", now)
    assert not scope["genuine"](b"other", signed, b"body", now)
    assert not scope["genuine"](b"key", signed, b"body", now + 600)
