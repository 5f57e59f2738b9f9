"""The product's image and the simulated provider's, built from their Dockerfiles and given to the bed.

Nothing is done when nothing changed: the cache and the bed remember the hash of the inputs
of what they have.
"""

import hashlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import base_image
import build
import images
import store
from layout import RUNTIME
from pip_settings import build_volumes

REPOSITORY = Path(__file__).resolve().parents[2]
BUILD_SECONDS = 1200
_GENERATED = ("__pycache__", ".egg-info")


@dataclass(frozen=True)
class Image:
    """An image of this repository."""

    tag: str
    dockerfile: Path
    context: Path
    inputs: tuple[str, ...]
    """What it is made from, as paths of the repository."""
    on_base: bool = True
    """Its Dockerfile is given the base image made here; else it names an image of this repository."""


PRODUCT = Image(
    "localhost/moltbot:dev", REPOSITORY / "Dockerfile", REPOSITORY,
    ("Dockerfile", "pyproject.toml", "requirements.lock", "requirements-dev.lock", "README.md", "LICENSE",
     "operator"),
)  # fmt: skip
PROVIDER_FOLDER = REPOSITORY / "tests" / "provider"
# It stands on the product's image for the sake of the dependencies only, so an edit of the product leaves it.
PROVIDER = Image(
    "localhost/moltbot-provider:dev", PROVIDER_FOLDER / "Dockerfile", PROVIDER_FOLDER,
    ("tests/provider", "requirements.lock", "Dockerfile"), on_base=False,
)  # fmt: skip


def wanted() -> list[Image]:
    """In the order in which they build on each other."""
    return [PRODUCT, *([PROVIDER] if PROVIDER.dockerfile.exists() else [])]


def _files(image: Image) -> Iterable[Path]:
    for name in image.inputs:
        path = REPOSITORY / name
        found = [path] if path.is_file() else sorted(each for each in path.rglob("*") if each.is_file())
        yield from (each for each in found if not any(mark in str(each) for mark in _GENERATED))


def fingerprint(image: Image) -> str:
    """Hash of an image's inputs."""
    digest = hashlib.sha256()
    for path in _files(image):
        digest.update(f"{path.relative_to(REPOSITORY)}\0".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:16]


def _buildah(*args: str, timeout: float = BUILD_SECONDS, volumes: Mapping[str, Path] | None = None) -> str:
    """Runs buildah on a storage of its own, in a mount namespace that takes its mounts away again."""
    storage = build.cache_dir() / "buildah"
    command = ["unshare", "--mount", "buildah", f"--root={storage}/root", f"--runroot={storage}/run", args[0]]
    command += [f"--volume={path}:{place}:ro" for place, path in (volumes or {}).items()]
    done = subprocess.run([*command, *args[1:]], capture_output=True, text=True, timeout=timeout, check=False)
    if done.returncode:
        raise RuntimeError(f"buildah {args[0]} failed:\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
    return done.stdout


def _base() -> str:
    if base_image.TAG not in _buildah("images", "--format", "{{.Name}}:{{.Tag}}").split():
        _buildah("pull", f"docker-archive:{base_image.archive()}")
    return base_image.TAG


def _read(path: Path) -> dict[str, str]:
    """Tag -> fingerprint of what was built, or given to a bed."""
    found: dict[str, str] = json.loads(path.read_text()) if path.exists() else {}
    return found


def _build(image: Image, mark: str) -> None:
    """Builds the image into the store, if the one of these inputs is not there."""
    record = images.folder() / "built.json"
    built = _read(record)
    if built.get(image.tag) == mark:
        return
    print(f"building {image.tag} …", file=sys.stderr, flush=True)
    with tempfile.TemporaryDirectory(prefix="moltbot-image-") as scratch:
        _buildah(
            "bud", "--isolation=chroot", "--network=host", "--layers", "--pull-never",
            *([f"--build-arg=BASE={_base()}"] if image.on_base else []), f"--label=moltbot.inputs={mark}",
            f"--tag={image.tag}", f"--file={image.dockerfile}", str(image.context),
            volumes=build_volumes(Path(scratch)),
        )  # fmt: skip
    _buildah("push", "--disable-compression", image.tag, f"oci:{store.folder()}:{image.tag}")
    store.forget_unused()
    record.write_text(json.dumps({**built, image.tag: mark}))


def load_into_node() -> list[str]:
    """Builds what changed and gives the bed what it has not; returns a line for each image."""
    given = RUNTIME / "images.json"
    lines = []
    for image in wanted():
        mark = fingerprint(image)
        known = _read(given)
        if known.get(image.tag) == mark:
            lines.append(f"{image.tag} is unchanged ({mark})")
            continue
        _build(image, mark)
        store.load(image.tag)
        given.write_text(json.dumps({**known, image.tag: mark}))
        lines.append(f"{image.tag} is in the bed ({mark})")
    return lines


def build_with_docker() -> list[str]:
    """Builds with the Docker daemon, on the public base image; returns the tags."""
    for image in wanted():
        command = ["docker", "build", f"--tag={image.tag}", f"--file={image.dockerfile}", str(image.context)]
        subprocess.run(command, check=True, timeout=BUILD_SECONDS)
    return [image.tag for image in wanted()]
