"""The keys that were made, whatever the form of the API that made them."""

import hashlib
import secrets
import time
from dataclasses import dataclass, field

__all__ = ["Key", "Keys"]


@dataclass
class Key:
    """One key."""

    number: int
    name: str
    value: str
    made: float = field(default_factory=time.time)
    revoked: float | None = None

    @property
    def id(self) -> str:
        return f"key_{self.number}"

    @property
    def hash(self) -> str:
        """The identifier of those products that name a key by its hash."""
        return hashlib.sha256(self.value.encode()).hexdigest()

    @property
    def valid(self) -> bool:
        return self.revoked is None


class Keys:
    """All keys, oldest first."""

    def __init__(self) -> None:
        self.all: list[Key] = []

    def make(self, name: str) -> Key:
        key = Key(len(self.all) + 1, name, f"sk-test-{secrets.token_urlsafe(24)}")
        self.all.append(key)
        return key

    def valid(self) -> list[Key]:
        return [key for key in self.all if key.valid]

    def find(self, identifier: str) -> Key | None:
        """A valid key by its identifier, its hash or its value."""
        return next((key for key in self.valid() if identifier in {key.id, key.hash, key.value}), None)

    def revoke(self, key: Key) -> None:
        key.revoked = time.time()

    def accepts(self, value: str) -> bool:
        """Whether a provider takes the key."""
        return any(key.value == value for key in self.valid())
