"""Which files are served, and whether they changed: by looking, which works on every file system."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from moltbot_operator.errors import InvalidInput

__all__ = ["Signature", "expand", "signature"]

_ENDINGS: Final = (".yaml", ".yml", ".json")

Signature = tuple[tuple[str, int, int, int], ...]
"""Path, time of change (ns), size and inode of each file."""


def expand(given: Sequence[Path]) -> list[Path]:
    """Files as given, and the manifests of each folder in order of name, without its subfolders.

    InvalidInput where a folder holds none, or can't be read.
    """
    files = []
    for path in given:
        try:
            if not path.is_dir():
                files.append(path)
                continue
            found = sorted(each for each in path.iterdir() if each.suffix in _ENDINGS and _visible(each))
        except OSError as error:
            raise InvalidInput(f"{path}: can't be read: {error.strerror}") from error
        if not found:
            raise InvalidInput(
                f"{path}: the folder holds no file that ends in {', '.join(_ENDINGS)}: add one"
            )
        files += found
    return files


def _visible(path: Path) -> bool:
    """Editors and mounted ConfigMaps keep hidden files of their own."""
    return not path.name.startswith(".") and path.is_file()


def signature(given: Sequence[Path]) -> Signature:
    """Equal while nothing changed; what is missing is left out."""
    try:
        files = expand(given)
    except (InvalidInput, OSError):
        files = []
    found = []
    for path in files:
        try:
            seen = path.stat()
        except OSError:
            continue
        found.append((str(path), seen.st_mtime_ns, seen.st_size, seen.st_ino))
    return tuple(found)
