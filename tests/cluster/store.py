"""Built images in an OCI layout (a folder of blobs), and giving the bed only the blobs it has not.

An edit of the product changes one small layer: it should not cost the copying of all the others.
Format: OCI image layout specification 1.0.
"""

import io
import json
import os
import tarfile
import tempfile
from pathlib import Path
from typing import Any

import images

MANIFEST_NAME = "org.opencontainers.image.ref.name"
IMAGE_NAME = "io.containerd.image.name"
"""Annotation by which containerd names what it imports."""


def folder() -> Path:
    return images.folder() / "oci"


def _blob(digest: str) -> Path:
    return folder() / "blobs" / digest.replace(":", "/")


def _index() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder() / "index.json").read_text())
    # An image that another of the same tag has replaced stays in the index without a name.
    found["manifests"] = [each for each in found["manifests"] if MANIFEST_NAME in each.get("annotations", {})]
    return found


def _blobs_of(manifest: dict[str, Any]) -> list[str]:
    """Digests of an image: its manifest, configuration and layers."""
    content = json.loads(_blob(manifest["digest"]).read_text())
    return [manifest["digest"], *(each["digest"] for each in (content["config"], *content["layers"]))]


def load(tag: str) -> None:
    """Gives the image to the running bed."""
    manifest = next(each for each in _index()["manifests"] if each["annotations"][MANIFEST_NAME] == tag)
    known = set(images.ctr("content", "list", "--quiet").split())
    named = {**manifest, "annotations": {IMAGE_NAME: tag}}
    texts = {
        "oci-layout": {"imageLayoutVersion": "1.0.0"},
        "index.json": {"schemaVersion": 2, "manifests": [named]},
    }
    handle, name = tempfile.mkstemp(dir=images.folder(), suffix=".tar")
    try:
        with os.fdopen(handle, "wb") as file, tarfile.open(fileobj=file, mode="w") as archive:
            for member, value in texts.items():
                data = json.dumps(value).encode()
                entry = tarfile.TarInfo(member)
                entry.size = len(data)
                archive.addfile(entry, io.BytesIO(data))
            for digest in _blobs_of(manifest):
                if digest not in known or digest == manifest["digest"]:
                    archive.add(_blob(digest), f"blobs/{digest.replace(':', '/')}")
        images.load([Path(name)])
    finally:
        Path(name).unlink()


def forget_unused() -> None:
    """Removes images that have been replaced by newer ones of the same tag, with their blobs."""
    index = _index()
    (folder() / "index.json").write_text(json.dumps(index))
    used = {digest for manifest in index["manifests"] for digest in _blobs_of(manifest)}
    for path in (folder() / "blobs" / "sha256").iterdir():
        if f"sha256:{path.name}" not in used:
            path.unlink()
