"""Writing files that Envoy watches, and reading the configuration's parts."""

import gzip
import os
from pathlib import Path
from typing import Any

from moltbot_agent.config import AgentConfig, unpack
from moltbot_agent.errors import ConfigUnreadable

__all__ = ["read_config", "write_if_different"]


def read_config(folder: Path) -> tuple[AgentConfig, dict[str, Any]]:
    """The agent's configuration and Envoy's bootstrap from all `part-NNN` files of `folder`.

    Raises ConfigUnreadable with the folder and the remedy.
    """
    try:
        parts = sorted(path for path in folder.iterdir() if path.name.startswith("part-"))
        contents = [path.read_bytes() for path in parts]
    except OSError as error:
        raise ConfigUnreadable(f"configuration folder {folder}: {error.strerror}; is it mounted?") from error
    if not contents:
        raise ConfigUnreadable(
            f"configuration folder {folder} has no file part-NNN; is the ConfigMap mounted?"
        )
    try:
        return unpack(contents)
    except (ValueError, KeyError, EOFError, gzip.BadGzipFile) as error:
        # ValueError covers pydantic's and orjson's errors; their texts hold no secret, but may be very long
        message = f"configuration in {folder} ({len(contents)} parts) is damaged or of another version"
        raise ConfigUnreadable(f"{message}: {type(error).__name__}: {str(error)[:500]}") from error


def write_if_different(path: Path, content: bytes) -> bool:
    """Replace `path` at once, readable by the owner only; returns False where it held `content` already.

    Envoy watches for a rename onto the path, so a file that is unchanged must not be touched: an agent that
    starts again beside a running Envoy then disturbs nothing. Raises OSError.
    """
    try:
        if path.read_bytes() == content:
            return False
    except FileNotFoundError:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            os.fchmod(stream.fileno(), 0o600)
            stream.write(content)
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    return True
