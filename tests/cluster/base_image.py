"""A Debian image with Python, made from the machine's own package mirror: there is no registry.

It stands in for the public Python image that the Dockerfile names by default.
"""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import images
from archive import write_image

TAG = "localhost/moltbot-base:bookworm"
SUITE = "bookworm"
PACKAGES = "python3,python3-venv,ca-certificates"
DEFAULT_MIRROR = "http://deb.debian.org/debian"
BOOTSTRAP_SECONDS = 900

_UNWANTED = (
    "var/cache/apt",
    "var/lib/apt/lists",
    "var/log",
    "usr/share/doc",
    "usr/share/man",
    "usr/share/locale",
)
"""Folders whose content no program needs."""


def _mirror() -> str:
    """Where this machine's apt finds the suite; the public mirror if it is another suite's machine."""
    fields = "$(REPO_URI) $(RELEASE) $(COMPONENT)"
    listed = subprocess.run(
        ["apt-get", "indextargets", "--format", fields, "Created-By: Packages"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    rows = [line.split() for line in listed.splitlines()]
    return next((row[0] for row in rows if row[1:] == [SUITE, "main"]), DEFAULT_MIRROR)


def archive() -> Path:
    """The image's archive, made if it is not there yet (a minute or two)."""
    target = images.folder() / "moltbot-base-bookworm.tar"
    if target.exists():
        return target
    images.folder().mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=images.folder(), prefix="debootstrap-") as scratch:
        root, layer = Path(scratch, "root"), Path(scratch, "layer.tar")
        # In a mount namespace of its own: what debootstrap mounts goes with it.
        subprocess.run(
            ["unshare", "--mount", "debootstrap", "--variant=minbase", f"--include={PACKAGES}", SUITE,
             str(root), _mirror()],
            stdout=subprocess.DEVNULL, check=True, timeout=BOOTSTRAP_SECONDS,
        )  # fmt: skip
        for folder in _UNWANTED:
            for entry in os.scandir(root / folder):
                if entry.is_dir(follow_symlinks=False):
                    shutil.rmtree(entry.path)
                else:
                    Path(entry.path).unlink()
        subprocess.run(
            ["tar", "--create", "--sort=name", "--numeric-owner", "--one-file-system", "--file", str(layer),
             "--directory", str(root), "."],
            check=True,
        )  # fmt: skip
        write_image(target, TAG, layer.read_bytes(), ["python3"], user="0:0")
    return target


def fresh_root(suite: str, target: Path, machine: str = "") -> None:
    """A minimal root of a Debian release with Python in the new folder `target`; its archive is made once.

    `machine`: Debian's name of another architecture, whose programs the kernel can run (by qemu-user).
    """
    kept = images.folder() / f"{'-'.join(filter(None, ('root', suite, machine)))}.tar"
    architecture = [f"--arch={machine}"] if machine else []
    if not kept.exists():
        kept.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=kept.parent, prefix="debootstrap-") as scratch:
            root, part = Path(scratch, "root"), Path(scratch, "root.tar")
            subprocess.run(
                ["unshare", "--mount", "debootstrap", "--variant=minbase",
                 "--include=python3,ca-certificates", *architecture, suite, str(root), _mirror()],
                stdout=subprocess.DEVNULL, check=True, timeout=BOOTSTRAP_SECONDS,
            )  # fmt: skip
            for folder in ("var/cache/apt", "var/lib/apt/lists"):
                shutil.rmtree(root / folder)
            subprocess.run(
                ["tar", "--create", "--numeric-owner", "--one-file-system", "--file", str(part),
                 "--directory", str(root), "."],
                check=True,
            )  # fmt: skip
            part.rename(kept)
    target.mkdir(parents=True)
    subprocess.run(
        ["tar", "--extract", "--numeric-owner", "--file", str(kept), "--directory", str(target)], check=True
    )
    target.chmod(0o755)
