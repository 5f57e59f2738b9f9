"""Names of versions, and of consumers' keys where clients find them: in a Secret, or a folder.

::

    key             the key to send
    key-<version>   each key that is valid
"""

import re
from datetime import datetime
from secrets import token_hex
from typing import Final

__all__ = ["KEY", "fresh_version", "key_of", "version_in"]

KEY: Final = "key"
"""Name of the key that clients use."""

_KEY_OF: Final = re.compile(rf"{KEY}-([0-9]{{8}}-[0-9]{{6}}-[0-9a-f]{{4}})")


def fresh_version(now: datetime) -> str:
    """One that was never used before: the time, for people, and what tells it from another of that second."""
    return f"{now:%Y%m%d-%H%M%S}-{token_hex(2)}"


def key_of(version: str) -> str:
    """Name of a version's key."""
    return f"{KEY}-{version}"


def version_in(name: str) -> str | None:
    """The version whose key has this name; None for a name of somebody else's."""
    found = _KEY_OF.fullmatch(name)
    return found and found[1]
