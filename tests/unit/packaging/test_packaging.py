"""What is handed out: wheel, sdist and bill of materials."""

import json
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def built(kind, source, target):
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", str(target)],
        cwd=source, check=True, capture_output=True, timeout=120,
    )  # fmt: skip
    (found,) = target.iterdir()
    return found


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    return built("wheel", ROOT, tmp_path_factory.mktemp("wheel"))


def content(wheel):
    with zipfile.ZipFile(wheel) as packed:
        return {name: packed.read(name) for name in packed.namelist()}


def test_the_wheel_holds_every_module_and_script(wheel):
    names = set(content(wheel))
    for package in ("moltbot_operator", "moltbot_agent", "moltbot_worker"):
        folder = ROOT / "operator" / package
        for file in folder.rglob("*"):
            if file.suffix in {".py", ".lua"}:
                assert str(file.relative_to(ROOT / "operator")) in names


def test_the_wheel_has_the_command_and_the_one_version(wheel):
    found = content(wheel)
    top = f"moltbot_operator-{PROJECT['version']}.dist-info"
    assert b"moltbot = moltbot_operator.cli:main" in found[f"{top}/entry_points.txt"]
    metadata = found[f"{top}/METADATA"].decode()
    assert f"\nVersion: {PROJECT['version']}\n" in metadata
    assert "\nRequires-Python: >=3.11\n" in metadata
    assert f"{top}/licenses/LICENSE" in found


def test_the_version_is_written_once():
    chart = (ROOT / "charts" / "moltbot-operator" / "Chart.yaml").read_text()
    assert re.search(rf"^appVersion: \"?{re.escape(PROJECT['version'])}\"?$", chart, re.MULTILINE)
    for file in (ROOT / "operator").rglob("*.py"):
        assert f'"{PROJECT["version"]}"' not in file.read_text(), file


def test_the_command_runs_from_the_wheel_alone(wheel, tmp_path):
    """From the unpacked wheel, not from the checkout."""
    with zipfile.ZipFile(wheel) as packed:
        packed.extractall(tmp_path)  # noqa: S202 - made above
    code = (
        "import moltbot_operator, moltbot_operator.cli as cli, sys;"
        f"assert moltbot_operator.__file__.startswith({str(tmp_path)!r}), moltbot_operator.__file__;"
        "sys.argv = ['moltbot', 'version']; cli.main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path, env={"PYTHONPATH": str(tmp_path), "PATH": "/usr/bin:/bin"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout.strip()) == (0, PROJECT["version"]), done.stderr


def test_a_wheel_from_the_sdist_is_the_same(wheel, tmp_path):
    sdist = built("sdist", ROOT, tmp_path / "sdist")
    with tarfile.open(sdist) as packed:
        packed.extractall(tmp_path / "source", filter="data")
    (source,) = (tmp_path / "source").iterdir()
    assert (source / "install.sh").exists()
    again = built("wheel", source, tmp_path / "wheel")
    records = [name for name in content(wheel) if name.endswith("RECORD")]
    first, second = content(wheel), content(again)
    for each in records:
        first.pop(each)
        second.pop(each)
    assert first == second


@pytest.fixture(scope="module")
def make_sbom():
    loader = SourceFileLoader("make_sbom", str(ROOT / "scripts" / "make-sbom"))
    module = module_from_spec(spec_from_loader("make_sbom", loader))
    sys.modules["make_sbom"] = module  # dataclasses look there
    loader.exec_module(module)
    return module


LOCK = f"""\
one==1.0 ; sys_platform == 'linux' \\
    --hash=sha256:{"a" * 64}
    # via moltbot-operator (pyproject.toml)
two==2.0 \\
    --hash=sha256:{"b" * 64} \\
    --hash=sha256:{"c" * 64}
    # via
    #   moltbot-operator (pyproject.toml)
    #   one
"""


def test_the_bill_of_materials_says_what_needs_what(make_sbom):
    found = make_sbom.document(PROJECT, make_sbom.packages(LOCK))
    one, two = "pkg:pypi/one@1.0", "pkg:pypi/two@2.0"
    own = f"pkg:pypi/moltbot-operator@{PROJECT['version']}"
    assert {each["ref"]: each["dependsOn"] for each in found["dependencies"]} == {
        own: [one, two], one: [two], two: []
    }  # fmt: skip
    first, second = found["components"]
    assert first["properties"] == [{"name": "moltbot:marker", "value": "sys_platform == 'linux'"}]
    assert [each["content"][0] for each in second["externalReferences"][0]["hashes"]] == ["b", "c"]


def test_every_locked_package_is_in_it_and_equal_locks_give_equal_files(make_sbom):
    lock = (ROOT / "requirements.lock").read_text()
    found = make_sbom.document(PROJECT, make_sbom.packages(lock))
    named = {f"{each['name']}=={each['version']}" for each in found["components"]}
    assert named == set(re.findall(r"^[a-z0-9._-]+==[^ ;\\]+", lock, re.MULTILINE))
    assert found["serialNumber"].startswith("urn:uuid:")
    assert json.dumps(found) == json.dumps(make_sbom.document(PROJECT, make_sbom.packages(lock)))
    reached, ahead = set(), [found["metadata"]["component"]["bom-ref"]]
    needs = {each["ref"]: each["dependsOn"] for each in found["dependencies"]}
    while ahead:
        reached.add(ahead[-1])
        ahead += [each for each in needs[ahead.pop()] if each not in reached]
    assert reached == set(needs)
