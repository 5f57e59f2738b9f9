"""The docs as a site: built with strict links, with every field and command in the reference."""

import html
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[3]
sys.path.insert(0, str(ROOT / "scripts"))


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    env = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(
        command, cwd=ROOT, env=env, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def text(file):
    return html.unescape(re.sub(r"<[^>]+>", "", file.read_text()))


def test_every_page_is_there(site):
    pages = {file.relative_to(ROOT / "docs").with_suffix(".html") for file in (ROOT / "docs").rglob("*.md")}
    assert {page for page in pages if not (site / page).exists()} == set()
    index = (site / "index.html").read_text()
    assert {page for page in pages if f'href="{page}"' not in index and page.name != "index.html"} == set()


def fields(schema, path):
    for name, field in schema.get("properties", {}).items():
        yield f"{path}.{name}"
        yield from fields(field, f"{path}.{name}")
        yield from fields(field.get("items", {}), f"{path}.{name}[]")


@pytest.mark.parametrize("kind", ["modelbackend", "moltbotroute"])
def test_every_field_is_in_the_reference(site, kind):
    crd = yaml.safe_load((ROOT / "crds" / f"moltbot.io_{kind}s.yaml").read_text())
    schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]
    wanted = {field for part in ("spec", "status") for field in fields(schema[part], part)}
    shown = set(re.findall(r"<td><code>([^<]+)</code></td>", (site / f"reference/{kind}.html").read_text()))
    assert len(wanted) > 50
    assert wanted - shown == set()


def test_every_command_and_option_is_in_the_reference(site):
    import typer

    from moltbot_operator.cli import app

    said = text(site / "reference/commands.html")
    for name, command in typer.main.get_command(app).commands.items():
        assert f"moltbot {name}" in said
        for parameter in getattr(command, "params", ()):
            if parameter.param_type_name == "option":
                assert parameter.opts[0] in said


def test_links_out_of_the_docs_are_named_and_not_broken(site):
    page = (site / "failover.html").read_text()
    assert "(<code>tests/matrix/fault_matrix.toml</code>)" in page
    assert 'href="../tests' not in page


def test_the_order_of_pages_asks_for_none_and_leaves_none_out():
    from site_hooks import navigation

    made = navigation({"index.md", "new-page.md", "decisions/0001-a.md"})
    assert made == [
        {"Start": ["index.md"]},
        {"More": ["new-page.md"]},
        {"Decisions": ["decisions/0001-a.md"]},
    ]
