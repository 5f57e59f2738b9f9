"""Commands of the tutorials that need no cluster are run: blocks after `<!-- run -->`, one script a page."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from free_ports import free_ports

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs/tutorials").glob("*.md"))
RUN = re.compile(r"^<!-- run -->\n```[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PORT = re.compile(r"\b(8088|90[01][0-9])\b")
SCRIPT = """\
set -euo pipefail
trap 'for each in $(jobs -p); do kill "$each" || true; done; wait || true' EXIT
"""
COMMANDS = {"moltbot": "-m moltbot_operator.cli", "python": ""}


def scripted(page):
    """The page's commands, with free ports in place of those that it names."""
    script = "\n".join(RUN.findall(page.read_text()))
    named = sorted(set(PORT.findall(script)))
    ports = dict(zip(named, free_ports(len(named)), strict=True))
    return SCRIPT + PORT.sub(lambda found: str(ports[found[0]]), script)


def test_there_are_tutorials():
    assert {page.name for page in PAGES} >= {"one-machine.md", "cluster.md"}
    assert all(RUN.search(page.read_text()) for page in PAGES)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_its_commands_work(tmp_path, page):
    shutil.copytree(ROOT / "tests/provider", tmp_path / "tests/provider")
    env = {
        **os.environ,
        "PYTHON": sys.executable,
        "PYTHONPATH": str(ROOT / "operator"),
        "HOME": str(tmp_path),
    }
    with (tmp_path / "said").open("w+") as said:
        done = subprocess.run(
            ["bash", "-c", scripted(page)],
            cwd=tmp_path,
            env=env,
            stdout=said,
            stderr=said,
            timeout=300,
            check=False,
        )
        said.seek(0)
        text = said.read()
    assert done.returncode == 0, text
    if page.name == "one-machine.md":
        for part in ("rule tech takes it", "failover fires", "HTTP/1.1 200 OK", "x-moltbot-backend:", "50 %"):
            assert part in text, text
    else:
        for part in ("no errors, no warnings", "further attempts", "failover fires"):
            assert part in text, text
