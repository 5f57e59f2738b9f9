"""Reading mounted Secrets: upstream credentials and consumers' keys.

The kubelet swaps a Secret's files at once by renaming the link `..data`, so a folder is read through that
link where there is one: what is read then belongs to one version.
"""

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

__all__ = [
    "KeyFile",
    "Unusable",
    "file_signature",
    "folder_signature",
    "read_folder",
    "read_pem",
    "read_value",
]

_HEADER_VALUE: Final = re.compile(rb"[\x20-\x7e]+")
"""What a credential may consist of: it becomes a header's value (RFC 9110 §5.5 without obs-text)."""

LARGEST: Final = 64 * 1024
"""Bytes; no header that large passes any server."""


class Unusable(Exception):  # noqa: N818
    """A secret value that can't be used; the message says why, without the value."""


@dataclass(frozen=True)
class KeyFile:
    """One file of a folder, with its value or what is wrong with it."""

    name: str
    value: str | None = field(repr=False)
    problem: str | None = None


def read_value(path: Path) -> str:
    """The value in a file, without the newline at its end. Raises Unusable, OSError."""
    value = _read(path)
    if len(value) > LARGEST:
        raise Unusable(f"is longer than {LARGEST} bytes; a header can't carry it")
    if b"\n" in value or b"\r" in value:
        raise Unusable("has more than one line; keep the credential alone in the Secret's key")
    if not _HEADER_VALUE.fullmatch(value):
        raise Unusable("has characters outside printable ASCII, which a header can't carry")
    return value.decode("ascii")


def read_pem(path: Path) -> str:
    """A PEM document, without the newline at its end. Raises Unusable, OSError."""
    try:
        return _read(path).decode("ascii")
    except UnicodeDecodeError:
        raise Unusable("is no PEM; put a private key in PEM into the Secret") from None


def _read(path: Path) -> bytes:
    """At most a byte more than the largest value, without the newline at its end."""
    try:
        with path.open("rb") as stream:
            raw = stream.read(LARGEST + 1)
    except (FileNotFoundError, NotADirectoryError):
        raise Unusable("does not exist; create the Secret with this key") from None
    except IsADirectoryError:
        raise Unusable("is a folder, not a key of a Secret") from None
    value = raw.rstrip(b"\r\n")
    if not value:
        raise Unusable("is empty; put the credential into the Secret")
    return value


def read_folder(folder: Path) -> list[KeyFile]:
    """Every file of a folder in order of name; dotfiles are the kubelet's own. Raises OSError.

    Raises Unusable where the folder does not exist.
    """
    data = folder / "..data"
    inside = (data if data.is_symlink() else folder).resolve()
    try:
        names = sorted(
            entry.name for entry in os.scandir(inside) if not entry.name.startswith(".") and entry.is_file()
        )
    except (FileNotFoundError, NotADirectoryError):
        raise Unusable("does not exist; create the Secret") from None
    found = []
    for name in names:
        try:
            found.append(KeyFile(name, read_value(inside / name)))
        except Unusable as error:
            found.append(KeyFile(name, None, str(error)))
    return found


def file_signature(path: Path) -> tuple[object, ...]:
    """Changes whenever the file is replaced or rewritten."""
    return _link(path.parent) or _stamp(path)


def folder_signature(folder: Path) -> tuple[object, ...]:
    """Changes whenever a file of the folder comes, goes, is replaced or is rewritten."""
    linked = _link(folder)
    if linked:
        return linked
    try:
        with os.scandir(folder) as entries:
            return tuple(sorted((entry.name, *_stamp(entry.path)) for entry in entries))
    except OSError as error:
        return ("unreadable", error.errno)


def _link(folder: Path) -> tuple[object, ...]:
    """What `..data` points to, which tells all of the kubelet's folders by one system call; else nothing."""
    try:
        return (os.readlink(f"{folder}/..data"),)  # noqa: PTH115 -- called very often
    except OSError:
        return ()


def _stamp(path: "str | os.PathLike[str]") -> tuple[object, ...]:
    try:
        status = os.stat(path)  # noqa: PTH116
    except OSError as error:
        return ("unreadable", error.errno)
    return (status.st_ino, status.st_mtime_ns, status.st_size)
