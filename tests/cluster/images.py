"""Images of the bed: made from what is on this machine, kept in the cache, given to containerd.

There is no registry: every image a pod names must have been imported.
"""

import shutil
import subprocess
from pathlib import Path

import build
from archive import layer_of, write_image
from layout import CONTAINERD_SOCKET, IMAGE_NAMESPACE

PAUSE = "localhost/pause:3"
ADDONS = ("coredns", "metrics-server")
"""Static programs that are run as pods, from images localhost/NAME:VERSION."""

REDIS = "localhost/redis:machine"
REDIS_PROGRAMS = ("redis-server", "redis-cli", "sh", "cat")
"""Of this machine, for want of the public image that the chart names."""

IMPORT_SECONDS = 300


def folder() -> Path:
    return build.cache_dir() / "images"


def _pause_program() -> Path:
    source = Path(__file__).with_name("pause.c")
    target = folder() / "pause"
    if not target.exists() or target.stat().st_mtime < source.stat().st_mtime:
        target.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(["gcc", "-Os", "-static", "-s", "-o", str(target), str(source)], check=True)
    return target


def addon_tags() -> dict[str, str]:
    """Add-on -> tag of its image."""
    versions = {each.name: each.version for each in build.components()}
    return {name: f"localhost/{name}:{versions[name]}" for name in ADDONS}


def addon_archives() -> list[Path]:
    """Archives of the pause image and of the add-ons, written if they are not there yet."""
    wanted = {PAUSE: _pause_program()}
    wanted |= {tag: build.binaries()[name] for name, tag in addon_tags().items()}
    found = []
    for tag, program in wanted.items():
        archive = folder() / f"{tag.removeprefix('localhost/').replace(':', '-')}.tar"
        if not archive.exists() or archive.stat().st_mtime < program.stat().st_mtime:
            write_image(archive, tag, layer_of({program.name: program}), [f"/{program.name}"])
        found.append(archive)
    return found


def _libraries(program: Path) -> set[Path]:
    """What a dynamic program loads, its loader included."""
    said = subprocess.run(["ldd", str(program)], capture_output=True, text=True, check=True).stdout
    return {Path(word) for line in said.splitlines() for word in line.split() if word.startswith("/")}


def redis_archive() -> Path:
    """Archive of an image of this machine's own Redis with a shell, written if it is not there yet."""
    archive = folder() / "redis-machine.tar"
    found = {name: shutil.which(name) for name in REDIS_PROGRAMS}
    if missing := [name for name, path in found.items() if path is None]:
        raise RuntimeError(f"no {', '.join(missing)} on this machine: tests/cluster/install-packages has it")
    programs = {f"bin/{name}": Path(path).resolve() for name, path in found.items() if path}
    newest = max(program.stat().st_mtime for program in programs.values())
    if not archive.exists() or archive.stat().st_mtime < newest:
        libraries = {path for program in programs.values() for path in _libraries(program)}
        files = programs | {str(path).removeprefix("/"): path for path in libraries}
        write_image(archive, REDIS, layer_of(files), ["/bin/redis-server"])
    return archive


def ctr(*args: str) -> str:
    """Runs containerd's client on the bed's containerd and returns its output."""
    command = [str(build.binaries()["ctr"]), f"--address={CONTAINERD_SOCKET}"]
    command += [f"--namespace={IMAGE_NAMESPACE}", *args]
    done = subprocess.run(command, capture_output=True, text=True, timeout=IMPORT_SECONDS, check=False)
    if done.returncode:
        raise RuntimeError(f"ctr {' '.join(args)} failed: {done.stderr.strip()}")
    return done.stdout


def load(archives: list[Path]) -> None:
    """Gives images to the running bed."""
    for archive in archives:
        ctr("images", "import", str(archive))
