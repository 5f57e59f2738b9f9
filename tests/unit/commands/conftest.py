import sys

import pytest

from moltbot_operator import cli


@pytest.fixture
def moltbot(monkeypatch, capsys):
    """Runs the command as a shell would; returns (exit code, stdout, stderr)."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["moltbot", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            cli.main()
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err
        return int(caught.value.code or 0), captured.out, captured.err

    return run
