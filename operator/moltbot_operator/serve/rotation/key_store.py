"""A store whose versions are keys of consumers, each in a file of its own, for clients to read.

::

    <keys>/<namespace>_<secret>.consumer/key             the key to send
                                         key-<version>   each key that is valid: one, and two until the
                                                         overlap is over; who removes one ends it at once
                                         lock, uid, state.json, mounted.json   as in `store`

The names are those in a cluster's Secret (docs/rotation.md). Which version clients use is told by the content
of `key` alone, so that a kill between two writes leaves nothing that contradicts it.
"""

from collections.abc import Awaitable, Callable
from pathlib import Path

from moltbot_operator.rotation import Credential
from moltbot_operator.rotation.state import Mounted
from moltbot_operator.rotation.versions import KEY, key_of, version_in
from moltbot_operator.serve.rotation.store import FolderStore

__all__ = ["KeyFolder"]


class KeyFolder(FolderStore):
    """One Secret's."""

    def __init__(self, folder: Path, changed: Callable[[], Awaitable[None]]) -> None:
        """See :class:`FolderStore`; `changed` is awaited after each change of the keys, too."""
        super().__init__(folder, changed)
        self._seen = self._signature()

    def values(self) -> dict[str, str]:
        """What gateways are given: all keys, in use or not."""
        return {key_of(version): each.value for version, each in self.credentials().items()}

    def credentials(self) -> dict[str, Credential]:
        """All valid keys."""
        try:
            names = sorted(each.name for each in self.folder.iterdir())
        except OSError as error:
            raise self._unusable(error) from error
        versions = filter(None, map(version_in, names))
        return {version: found for version in versions if (found := self._get(version)) is not None}

    async def put(self, version: str, credential: Credential) -> None:
        """Make a key valid."""
        if self._get(version) is None:
            self._replace(key_of(version), credential.value.encode())
        await self._told()

    async def drop(self, version: str) -> None:
        """End a key's validity."""
        self._remove(key_of(version))
        await self._told()

    async def mount(self, mounted: Mounted) -> None:
        """Have clients use this version."""
        self._write("mounted.json", {"next": mounted.next})
        found = None if mounted.value is None else self._get(mounted.value)
        if found is not None and self._text(KEY) != found.value:
            self._replace(KEY, found.value.encode())
        await self._told()

    def touched(self) -> bool:
        """Whether somebody else changed the keys since the last look, or since a write of our own."""
        before, self._seen = self._seen, self._signature()
        return before != self._seen

    async def _told(self) -> None:
        self._seen = self._signature()
        await self.changed()

    def _mounted(self) -> Mounted:
        keys, used = self.credentials(), self._text(KEY)
        version = next((version for version, each in keys.items() if each.value == used), None)
        coming = (self._read("mounted.json") or {}).get("next")
        return Mounted(version, coming if version is not None and coming in keys else None)

    def _get(self, version: str) -> Credential | None:
        value = self._text(key_of(version))
        return None if value is None else Credential("", "", value)

    def _text(self, name: str) -> str | None:
        try:
            return (self.folder / name).read_text(errors="replace").rstrip("\r\n")
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._unusable(error) from error

    def _signature(self) -> frozenset[tuple[str, int]]:
        """Names and times of change; none where the folder is gone or can't be read: told when it is used."""
        try:
            return frozenset(
                (each.name, each.stat().st_mtime_ns)
                for each in self.folder.iterdir()
                if each.name == KEY or version_in(each.name)
            )
        except OSError:
            return frozenset()
