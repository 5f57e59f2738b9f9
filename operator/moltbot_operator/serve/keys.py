"""Managed signing keys of `moltbot serve`: on disk, made once, and their public halves beside them."""

import json
import os
import tempfile
from pathlib import Path

from moltbot_agent.signing import new_key, public_jwk
from moltbot_agent.sources import Unusable
from moltbot_operator.compile import BackendRef
from moltbot_operator.errors import InvalidInput

__all__ = ["default_folder", "key_files", "managed_key"]


def default_folder() -> Path:
    """Where keys are kept unless told otherwise: the service's state folder, else the user's.

    systemd.exec(5), STATE_DIRECTORY; XDG Base Directory.
    """
    if given := os.environ.get("STATE_DIRECTORY"):
        return Path(given, "keys")
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(state, "moltbot", "keys")


def key_files(folder: Path, ref: BackendRef, algorithm: str) -> tuple[Path, Path]:
    """Where a backend's private key and its JWKS are."""
    stem = f"{ref.namespace}_{ref.name}_{algorithm.lower()}"
    return folder / f"{stem}.pem", folder / f"{stem}.jwks.json"


def managed_key(folder: Path, ref: BackendRef, algorithm: str) -> tuple[bytes, Path]:
    """The backend's private key in PEM, made if there is none, and the file with its JWKS.

    InvalidInput where the folder can't be used or holds another kind of key under that name.
    """
    private, public = key_files(folder, ref, algorithm)
    try:
        if not private.exists():
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            _create(private, new_key(algorithm).encode())
        pem = private.read_bytes()
        jwks = {"keys": [public_jwk(pem.decode("ascii"), algorithm)]}
        public.write_text(json.dumps(jwks, indent=1) + "\n")
    except OSError as error:
        raise InvalidInput(
            f"{error.filename}: the signing key can't be kept: {error.strerror}; give another folder with "
            "--keys"
        ) from error
    except (Unusable, UnicodeDecodeError) as error:
        raise InvalidInput(f"{private} {error}; move it away to have a new one made") from error
    return pem, public


def _create(path: Path, content: bytes) -> None:
    """Whole and readable by the owner only, or not at all; one that came meanwhile stays."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent)  # mode 0600
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        Path(path).hardlink_to(temporary)
    except FileExistsError:
        pass
    finally:
        Path(temporary).unlink()
