"""Reads the files that a person names: manifests, a models.config.json. What can't be one is told at once."""

import os
from pathlib import Path
from typing import Final

from moltbot_operator.errors import InvalidInput

__all__ = ["LARGEST", "read_text"]

LARGEST: Final = 4 * 2**20
"""Bytes of one file. An object of Kubernetes has 1.5 MiB at most (etcd's --max-request-bytes)."""


def read_text(file: Path) -> str:
    """Its text, without a byte order mark. InvalidInput where it can not be read, is no UTF-8, or larger.

    A pipe that nobody writes to is empty: who reads must not wait for ever.
    """
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        os.set_blocking(descriptor, True)
        with open(descriptor, "rb") as stream:  # noqa: PTH123 - Path.open waits for a pipe's writer
            content = stream.read(LARGEST + 1)
    except OSError as error:
        raise InvalidInput(f"{file}: can't be read: {error.strerror}") from error
    if len(content) > LARGEST:
        raise InvalidInput(f"{file}: can't be read: it is larger than {LARGEST >> 20} MiB; split it")
    try:
        return content.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{file}: can't be read: it is no UTF-8 (byte {error.start + 1})") from error
