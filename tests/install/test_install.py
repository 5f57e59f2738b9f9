"""install.sh in fresh roots, by a user without rights, from a bundle, without a network."""

import json
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "cluster"))

from base_image import fresh_root  # noqa: E402 - a folder of modules beside this one

PYTHONS = {"bookworm": "3.11", "trixie": "3.13", "ubuntu": "3.12", "aarch64": "3.11"}
"""Debian's releases and their Python, what Ubuntu 24.04 has, and bookworm for another processor."""

AARCH64 = [f"--platform=manylinux_2_{glibc}_aarch64" for glibc in (17, 26, 27, 28, 31, 34)]
"""Wheels' platforms that bookworm's glibc (2.36) takes."""

UBUNTU = {
    "NAME": "Ubuntu",
    "ID": "ubuntu",
    "ID_LIKE": "debian",
    "VERSION_ID": "24.04",
    "VERSION_CODENAME": "noble",
}
"""os-release(5) of a root like it: Ubuntu itself is not on Debian's mirrors."""

SUITES = os.environ.get("MOLTBOT_INSTALL_SUITES", "bookworm").split()
"""Which of them: each takes a minute."""

pytestmark = pytest.mark.e2e


def bundle(suite, folder):
    """Unpacked, with the sample file beside the installer."""
    folder.mkdir()
    archive = folder / "moltbot.tar.gz"
    platforms = AARCH64 if suite == "aarch64" else []
    subprocess.run(
        [sys.executable, ROOT / "scripts" / "make-bundle", f"--python={PYTHONS[suite]}", *platforms,
         "-o", archive],
        check=True, timeout=600,
    )  # fmt: skip
    with tarfile.open(archive) as packed:
        packed.extractall(folder, filter="data")
    (unpacked,) = (each for each in folder.iterdir() if each.is_dir())
    shutil.copy(ROOT / "examples" / "models.config.json", unpacked)
    return unpacked


@pytest.fixture(scope="session", params=SUITES)
def seen(request, tmp_path_factory):
    if os.geteuid() != 0 or sys.platform != "linux":
        pytest.skip("needs Linux and root, to make fresh roots")
    folder = tmp_path_factory.mktemp(request.param)
    root = folder / "root"
    if request.param == "ubuntu":
        ubuntu_like(root)
    elif request.param == "aarch64":
        fresh_root("bookworm", root, "arm64")
    else:
        fresh_root(request.param, root)
    (root / "bundle").mkdir()
    done = subprocess.run(
        ["unshare", "--mount", "--pid", "--net", "--fork", "--kill-child", sys.executable,
         Path(__file__).with_name("inside.py"), root, bundle(request.param, folder / "bundle")],
        stdout=subprocess.PIPE, text=True, check=True, timeout=1200,
        env={**os.environ, "PYTHONPATH": str(ROOT / "tests" / "provider")},
    )  # fmt: skip
    shutil.rmtree(root)
    emulated = request.param == "aarch64"
    return {**json.loads(done.stdout), "python": PYTHONS[request.param], "emulated": emulated}


def ubuntu_like(root):
    """Debian's newest with the name of Ubuntu, and this machine's Python 3.12 in the place of Debian's."""
    python = subprocess.run(
        ["python3.12", "-c", "import sys; print(sys.base_prefix)"], capture_output=True, text=True, check=True
    ).stdout.strip()
    fresh_root("trixie", root)
    (root / "etc/os-release").unlink()
    (root / "etc/os-release").write_text("".join(f'{key}="{value}"\n' for key, value in UBUNTU.items()))
    for each in (root / "usr/bin").glob("python3*"):
        each.unlink()
    unneeded = shutil.ignore_patterns("test", "tests", "__pycache__", "*.a", "share", "ensurepip")
    shutil.copytree(python, root / "usr/local", symlinks=True, dirs_exist_ok=True, ignore=unneeded)
    subprocess.run(["ldconfig", "-r", root], check=True)


def test_it_installs_without_root_and_says_what_it_did_and_how_to_undo_it(seen):
    assert seen["install"]["code"] == 0, seen["install"]
    for told in (
        "programs   /home/user/.local/share/moltbot",
        "command    /home/user/.local/bin/moltbot",
        "is not on your PATH; add it: export PATH=",
        "undo it    sh /home/user/.local/share/moltbot/install.sh uninstall",
        "caches are warm, Envoy runs",
    ):
        assert told in seen["install"]["out"]
    assert f"Python {seen['python']}." in seen["install"]["out"]
    assert seen["version"]["code"] == 0


def test_the_first_request_of_the_readme_is_answered(seen):
    assert seen["answer"]["status"] == 200, seen["answer"]
    assert seen["answer"]["backend"] in {"dialog-pro", "dialog-max"}
    assert seen["CPU seconds"] < (600 if seen["emulated"] else 60)


def test_installing_again_replaces_what_was_there(seen):
    assert seen["again"]["code"] == 0, seen["again"]
    assert seen["environments"] == 1


def test_uninstalling_leaves_nothing(seen):
    assert seen["uninstall"]["code"] == 0, seen["uninstall"]
    assert seen["left"] == []
    assert seen["uninstall again"]["code"] == 1
    assert "nothing is installed there" in seen["uninstall again"]["err"]


def test_a_check_changes_nothing(seen):
    assert seen["check"]["code"] == 0, seen["check"]
    assert "glibc" in seen["check"]["out"]
    assert seen["untouched"]


def test_a_system_that_can_not_run_envoy_is_told_so_and_offered_the_image(seen):
    assert seen["old glibc"]["code"] == 1
    assert "glibc 2.28 is too old, Envoy needs 2.31" in seen["old glibc"]["err"]
    assert "container image" in seen["old glibc"]["err"]


def test_wrong_usage_is_2(seen):
    assert seen["wrong option"]["code"] == 2
    assert "--bogus" in seen["wrong option"]["err"]
