"""Implements the rotation's `Store` in a folder, which one server at a time may use.

::

    <keys>/<namespace>_<backend>.rotation/lock           held (flock) by the server that rotates
                                          uid            what tags at the issuer begin with; made once
                                          state.json     as `status.credential` in a cluster; nothing secret
                                          mounted.json   which versions gateways are given
                                          version-*.json one version with all that the issuer told

Each file is replaced whole and is on the disk before anything else happens, so a server that is killed
anywhere leaves what it wrote last, and at most a file whose name begins with a dot, which is removed.
"""

import fcntl
import os
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from pathlib import Path
from secrets import token_hex
from typing import Any, Final

import orjson

from moltbot_operator.errors import InvalidInput
from moltbot_operator.rotation import Credential
from moltbot_operator.rotation.state import Mounted, State
from moltbot_operator.rotation.status import read_state, written_state
from moltbot_operator.serve.state import write_whole

__all__ = ["FolderStore"]

_VERSION: Final = "version-"


async def _nobody() -> None:
    """Nobody wants to know."""


class FolderStore:
    """One backend's. `changed` is awaited after each write of the state or of what gateways are given."""

    def __init__(self, folder: Path, changed: Callable[[], Awaitable[None]] = _nobody) -> None:
        """InvalidInput where the folder can't be used, or another server uses it."""
        self.folder = folder
        self.changed = changed
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise self._unusable(error) from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for left in folder.glob(".*"):
                left.unlink()
            self.uid = self._uid()
            self._state = read_state(self._read("state.json") or {})
        except BlockingIOError:
            os.close(self._lock)
            raise InvalidInput(
                f"{folder}: another server rotates this credential: stop it, or give this one a folder of "
                "its own with --keys"
            ) from None
        except OSError as error:
            os.close(self._lock)
            raise self._unusable(error) from error
        except BaseException:
            os.close(self._lock)
            raise

    def close(self) -> None:
        """Let another server have it."""
        os.close(self._lock)

    @property
    def state(self) -> State:
        """As it was saved last."""
        return self._state

    def values(self) -> dict[str, str]:
        """What gateways are given, by `value` and `next`; empty until the credential was taken over."""
        mounted = self._mounted()
        if self._state.version is None or mounted.value is None:
            return {}
        named = {"value": mounted.value, "next": mounted.next}
        return {name: self._get(version).value for name, version in named.items() if version}  # type: ignore[union-attr]

    def credentials(self) -> dict[str, Credential]:
        """All stored versions."""
        names = sorted(each.stem.removeprefix(_VERSION) for each in self.folder.glob(f"{_VERSION}*.json"))
        return {version: found for version in names if (found := self._get(version)) is not None}

    async def load(self) -> State:
        """See `moltbot_operator.rotation.driver.Store`."""
        return self._state

    async def save(self, state: State) -> None:
        """Replace `state.json`."""
        self._write("state.json", written_state(state))
        self._state = read_state(written_state(state))
        await self.changed()

    async def versions(self) -> Mapping[str, datetime | None]:
        """By their files."""
        return {version: each.not_after for version, each in self.credentials().items()}

    async def get(self, version: str) -> Credential | None:
        """As it is in its file."""
        return self._get(version)

    async def put(self, version: str, credential: Credential) -> None:
        """Write its file; one that is there already stays."""
        if self._get(version) is not None:
            return
        content = {
            "id": credential.id,
            "tag": credential.tag,
            "value": credential.value,
            "kept": dict(credential.kept),
            "notAfter": credential.not_after and credential.not_after.isoformat(),
        }
        self._write(f"{_VERSION}{version}.json", content)

    async def drop(self, version: str) -> None:
        """Delete its file."""
        self._remove(f"{_VERSION}{version}.json")

    async def mounted(self) -> Mounted:
        """What gateways were given last, if it is still stored."""
        return self._mounted()

    async def mount(self, mounted: Mounted) -> None:
        """Replace `mounted.json`, then have gateways given what it says."""
        self._write("mounted.json", {"value": mounted.value, "next": mounted.next})
        await self.changed()

    def _mounted(self) -> Mounted:
        said = self._read("mounted.json") or {}
        mounted = Mounted(said.get("value"), said.get("next"))
        known = all(self._get(version) for version in (mounted.value, mounted.next) if version)
        return mounted if known else Mounted()

    def _get(self, version: str) -> Credential | None:
        found = self._read(f"{_VERSION}{version}.json")
        if found is None:
            return None
        end = found.get("notAfter")
        return Credential(
            found["id"], found["tag"], found["value"], found["kept"], end and datetime.fromisoformat(end)
        )

    def touched(self) -> bool:
        """Whether somebody else changed what is stored; nobody is to do that here."""
        return False

    def _remove(self, name: str) -> None:
        try:
            (self.folder / name).unlink(missing_ok=True)
        except OSError as error:
            raise self._unusable(error) from error

    def _uid(self) -> str:
        known = self.folder / "uid"
        if not known.exists():
            write_whole(known, token_hex(8).encode())
        return known.read_text("ascii")

    def _read(self, name: str) -> dict[str, Any] | None:
        path = self.folder / name
        try:
            found = orjson.loads(path.read_bytes())
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._unusable(error) from error
        except orjson.JSONDecodeError:
            found = None
        if not isinstance(found, dict):
            raise InvalidInput(f"{path} was changed by somebody and can't be read: move it away")
        return found

    def _write(self, name: str, content: Mapping[str, Any]) -> None:
        self._replace(name, orjson.dumps(content, option=orjson.OPT_INDENT_2))

    def _replace(self, name: str, content: bytes) -> None:
        try:
            write_whole(self.folder / name, content)
        except OSError as error:
            raise self._unusable(error) from error

    def _unusable(self, error: OSError) -> InvalidInput:
        return InvalidInput(
            f"{self.folder}: a rotated credential can't be kept: {error.strerror}; give another folder with "
            "--keys"
        )
