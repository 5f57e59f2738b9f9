"""Container images written as archives (`docker save` form) without any tool.

For images that are one layer around files this machine has: a static program, or a whole root file
system. The same input gives the same archive.
"""

import hashlib
import io
import json
import os
import platform
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
NOBODY = "65532:65532"
EPOCH = "1970-01-01T00:00:00Z"


def _add_bytes(archive: tarfile.TarFile, name: str, data: bytes, mode: int = 0o644) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(data), mode
    archive.addfile(entry, io.BytesIO(data))


def layer_of(files: Mapping[str, Path]) -> bytes:
    """A layer (tar) of programs: name in the image -> file."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for name, path in sorted(files.items()):
            _add_bytes(archive, name, path.read_bytes(), 0o755)
    return buffer.getvalue()


def write_image(target: Path, tag: str, layer: bytes, entrypoint: Sequence[str], user: str = NOBODY) -> None:
    """Writes an image of one layer; `target` appears only whole."""
    digest = hashlib.sha256(layer).hexdigest()
    config = json.dumps(
        {
            "architecture": ARCHITECTURES[platform.machine()],
            "os": "linux",
            "config": {
                "Entrypoint": list(entrypoint),
                "User": user,
                "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
            },
            "history": [{"created": EPOCH, "created_by": "moltbot test bed"}],
            "created": EPOCH,
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
        }
    ).encode()
    config_name = f"{hashlib.sha256(config).hexdigest()}.json"
    manifest = [{"Config": config_name, "RepoTags": [tag], "Layers": ["layer.tar"]}]
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.{os.getpid()}")
    with tarfile.open(partial, "w") as archive:
        _add_bytes(archive, "layer.tar", layer)
        _add_bytes(archive, config_name, config)
        _add_bytes(archive, "manifest.json", json.dumps(manifest).encode())
    partial.rename(target)
