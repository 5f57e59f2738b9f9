# ruff: noqa: ARG005 - stand-ins have the signatures of what they stand for

import json
import logging
import sys

import pytest
import structlog

from moltbot_operator import cli
from moltbot_operator.settings import product_version


@pytest.fixture
def moltbot(monkeypatch, capsys):
    """Runs the command as a shell would; returns (exit code, stdout, stderr)."""

    def run(*arguments: str, **variables: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["moltbot", *arguments])
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        with pytest.raises(SystemExit) as caught:
            cli.main()
        captured = capsys.readouterr()
        return int(caught.value.code or 0), captured.out, captured.err

    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield run
    root.handlers[:], root.level = handlers, level  # `moltbot operator` sets up logging for its process
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()


def test_version(moltbot):
    assert moltbot("version") == (0, f"{product_version()}\n", "")


def test_help_names_every_command(moltbot):
    code, out, _ = moltbot("--help")
    assert code == 0
    for command in ("operator", "convert", "serve", "audit", "rotation", "version"):
        assert command in out


@pytest.mark.parametrize(
    "arguments",
    [("bogus",), ("convert",), ("serve",), ("serve", "--port", "x", "f"), ("serve", "f", "--endpoint", "a")],
)
def test_wrong_usage_is_2_and_shows_no_traceback(moltbot, arguments):
    code, _, err = moltbot(*arguments)
    assert code == 2
    assert "Traceback" not in err


def test_a_bad_setting_is_1_and_one_line(moltbot):
    code, _, err = moltbot("operator", MOLTBOT_CONCURRENCY="0")
    assert code == 1
    assert err.startswith("error: MOLTBOT_CONCURRENCY='0'")
    assert err.count("\n") == 1


def test_a_bad_option_of_the_operator_names_the_setting(moltbot):
    code, _, err = moltbot("operator", "--log-level", "loud")
    assert code == 1
    assert "LOG_LEVEL" in err


def test_an_operator_without_a_cluster_ends_with_1_and_says_so_in_json(moltbot, tmp_path):
    code, _, err = moltbot("operator", MOLTBOT_KUBECONFIG=str(tmp_path / "absent"))
    assert code == 1
    last = json.loads(err.splitlines()[-1])
    assert last["message"] == "ending"
    assert "no way to the API server" in last["reason"]


def test_convert_of_a_missing_file_names_it(moltbot, tmp_path):
    code, _, err = moltbot("convert", str(tmp_path / "absent.json"))
    assert code == 1
    assert "absent.json: can't be read" in err


def test_convert_of_rubbish_names_the_file(moltbot, tmp_path):
    file = tmp_path / "models.config.json"
    file.write_text("{")
    code, _, err = moltbot("convert", str(file))
    assert code == 1
    assert "models.config.json" in err


def test_convert_prints_or_writes(moltbot, tmp_path, monkeypatch):
    from moltbot_operator import convert

    monkeypatch.setattr(
        convert,
        "convert_text",
        lambda text, *, source, namespace: {"a.yaml": "a: 1\n", "b.yaml": "---\nb: 2\n"},
    )
    file = tmp_path / "models.config.json"
    file.write_text("{}")
    assert moltbot("convert", str(file)) == (0, "a: 1\n---\nb: 2\n", "")
    code, out, err = moltbot("convert", str(file), "-o", str(tmp_path / "out" / "deep"))
    assert (code, out) == (0, "")
    assert (tmp_path / "out" / "deep" / "b.yaml").read_text() == "---\nb: 2\n"
    assert "kubectl apply" in err


def test_convert_to_where_nothing_can_be_written(moltbot, tmp_path, monkeypatch):
    from moltbot_operator import convert

    monkeypatch.setattr(convert, "convert_text", lambda text, *, source, namespace: {"a.yaml": "a: 1\n"})
    file = tmp_path / "models.config.json"
    file.write_text("{}")
    code, _, err = moltbot("convert", str(file), "-o", str(file))
    assert code == 1
    assert "can't be written" in err


def test_serve_passes_its_options_and_the_exit_code(moltbot, monkeypatch):
    from moltbot_operator import serve

    given = {}

    def run(files, **options):
        given.update(options, files=[file.name for file in files])
        return 3

    monkeypatch.setattr(serve, "run", run)
    code, *_ = moltbot(
        "serve", "a.yaml", "b.yaml", "-p", "0", "--route", "r", "--endpoint", "m=http://127.0.0.1:1/v1"
    )
    assert code == 3
    assert given == {
        "files": ["a.yaml", "b.yaml"], "route": "r", "address": "127.0.0.1", "port": 0,
        "endpoints": {"m": "http://127.0.0.1:1/v1"}, "keys": None, "metrics_port": None, "concurrency": 0,
        "state": None, "access_log": None, "view": None, "watch": True,
    }  # fmt: skip
